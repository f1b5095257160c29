"""Waves as the world delivers them: louder, noisier, through a telephone, or a second of them only.

All of it is the same for the same clip: random numbers are drawn from its name.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from undertone.audio.noise import active, active_span, levels, mixed, telephone

if TYPE_CHECKING:
    from undertone.types import Wave

__all__ = ["drawn", "gained", "noisy", "one_second", "snr", "telephone"]


def drawn(*names: object) -> np.random.Generator:
    """Random numbers of their own for these names, the same on every machine."""
    digest = hashlib.sha256("\0".join(map(str, names)).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "little"))


def gained(wave: Wave, name: str, most: float = 12.0) -> Wave:
    """The wave at another level, ±``most`` dB, cut off at full scale as a sound file would."""
    factor = 10 ** (drawn("gain", name).uniform(-most, most) / 20)
    louder: Wave = np.clip(wave * np.float32(factor), -1.0, 1.0)
    return louder


def noisy(wave: Wave, name: str, rate: int, decibels: float = 10.0) -> Wave:
    """With white noise ``decibels`` below the active speech."""
    return mixed(wave, drawn("noise", name).standard_normal(len(wave)), decibels, rate)


def one_second(wave: Wave, name: str, draw: int, rate: int) -> Wave:
    """A second from inside the speech, wherever the draw falls; all of a shorter clip."""
    first, last = active_span(wave, rate)
    latest = max(first, last - rate)
    start = min(int(drawn("crop", draw, name).integers(first, latest + 1)), max(0, len(wave) - rate))
    return wave[start : start + rate]


def snr(wave: Wave, rate: int) -> float:
    """Decibels of the active speech over the quietest tenth of the frames, an estimate."""
    frames = np.sort(levels(wave, rate))
    quiet = np.mean(10 ** (frames[: max(1, len(frames) // 10)] / 10))
    speech = np.square(wave[active(wave, rate)], dtype=np.float64).mean() + 1e-12
    return float(10 * np.log10(speech / quiet))
