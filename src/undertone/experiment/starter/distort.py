"""Frames bent in ways that leave the feeling: pace, vocal tract, microphone, noise floor, gaps, cuts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from undertone.config import Config

__all__ = ["DistortConfig", "distorted"]

Frames = NDArray[np.float32]
PROSODY = 3
"""Energy, pitch and voicing stand behind the mel columns."""


class DistortConfig(Config):
    """How often and how much."""

    pace: float = Field(0.15, ge=0.0, lt=1.0)
    """Longer or shorter by up to this share, pitch as it was."""
    tract: float = Field(0.06, ge=0.0, lt=1.0)
    """Spectrum stretched or squeezed by up to this share."""
    microphone: float = Field(0.25, ge=0.0)
    """Spread of a smooth curve over the bands, in thirds of a neper … units of the level columns."""
    floor: float = Field(0.3, ge=0.0, le=1.0)
    """Share of clips whose quiet places fill with noise."""
    bands: int = Field(10, ge=0)
    """Widest gap over the bands; two a clip."""
    gaps: int = Field(12, ge=0)
    """Longest gap in time, in frames; two a clip."""
    cut: float = Field(0.3, ge=0.0, le=1.0)
    """Share of clips of which only a stretch of a second or more is heard."""
    shortest: int = Field(40, ge=2)
    """Frames of the shortest stretch."""


def distorted(frames: Frames, config: DistortConfig, rng: np.random.Generator) -> Frames:
    """A bent copy of ``frames (T, D)``; its length may change."""
    x = frames.astype(np.float32, copy=True)
    if rng.random() < config.cut and len(x) > config.shortest:
        size = int(rng.integers(config.shortest, len(x) + 1))
        at = int(rng.integers(0, len(x) - size + 1))
        x = x[at : at + size]
    if rng.random() < 0.6:
        x = _at(
            x,
            np.linspace(0, len(x) - 1, max(8, round(len(x) * rng.uniform(1 - config.pace, 1 + config.pace)))),
        )
    mels = x.shape[1] - PROSODY
    mel = x[:, :mels]
    if rng.random() < 0.6:
        places = np.arange(mels) * rng.uniform(1 - config.tract, 1 + config.tract)
        mel[:] = _at(np.ascontiguousarray(mel.T), places.clip(0, mels - 1)).T
    curve = np.interp(np.arange(mels), np.linspace(0, mels - 1, 4), rng.normal(0, config.microphone, 4))
    mel += curve.astype(np.float32)
    if rng.random() < config.floor:
        level = np.quantile(mel, 0.95) - rng.uniform(0.7, 2.6)
        tilt = np.linspace(0.0, rng.uniform(-1.0, 0.5), mels, dtype=np.float32)
        noise = rng.normal(0.0, 0.13, mel.shape).astype(np.float32)
        mel[:] = np.logaddexp(3 * mel, 3 * (level + tilt + noise)) / 3
    quiet = float(mel.mean())
    for _ in range(2):
        width = int(rng.integers(0, config.bands + 1))
        at = int(rng.integers(0, max(1, mels - width)))
        mel[:, at : at + width] = quiet
        width = int(rng.integers(0, max(1, min(config.gaps + 1, len(x) // 6))))
        at = int(rng.integers(0, max(1, len(x) - width)))
        mel[at : at + width] = quiet
    return x


def _at(x: Frames, places: NDArray[np.float64]) -> Frames:
    """``x (T, D)`` read between its rows."""
    low = np.floor(places).astype(np.int64)
    high = np.minimum(low + 1, len(x) - 1)
    part = (places - low).astype(np.float32)[:, None]
    return np.asarray((1 - part) * x[low] + part * x[high], np.float32)
