"""Waves as the world delivers them: noisier, through a telephone or a codec, louder, a second of them only.

All of it is the same for the same clip: random numbers are drawn from its name.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from undertone.audio.noise import active_span, mixed, telephone

if TYPE_CHECKING:
    from undertone.types import Wave

__all__ = ["CONDITIONS", "beside_voices", "drawn", "gained", "joined", "noisy", "one_second"]


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


def beside_voices(others: Sequence[Wave], decibels: float = 10.0) -> Callable[[Wave, str, int], Wave]:
    """Puts two of the other recordings, repeated as long as a wave lasts, ``decibels`` below its speech."""

    def change(wave: Wave, name: str, rate: int) -> Wave:
        dice = drawn("voices", name)
        background = np.zeros(len(wave))
        for index in dice.choice(len(others), min(2, len(others)), replace=False):
            background += np.roll(np.resize(others[index], len(wave)), int(dice.integers(len(wave))))
        return mixed(wave, background, decibels, rate)

    return change


def joined(first: Wave, second: Wave, name: str, rate: int) -> Wave:
    """Two recordings with a second of each one's own room between them, and half a second around."""
    hiss = 1e-4 * drawn("pause", name).standard_normal(2 * rate).astype(np.float32)
    quiet, pause = hiss[: rate // 2], hiss[rate // 2 : rate // 2 + rate]
    return np.concatenate([quiet, first, pause, second, quiet])


def opus(wave: Wave, name: str, rate: int) -> Wave:  # noqa: ARG001
    """Coded as Opus at about 16 kbit/s, and decoded."""
    return _coded(wave, "OGG", "OPUS", 0.95)


def mp3(wave: Wave, name: str, rate: int) -> Wave:  # noqa: ARG001
    """Coded as MP3 at 32 kbit/s or less, and decoded."""
    return _coded(wave, "MP3", "MPEG_LAYER_III", 0.55)


def _coded(wave: Wave, container: str, kind: str, compression: float) -> Wave:
    import soundfile

    file = io.BytesIO()
    given = np.clip(wave, -1.0, 1.0)
    soundfile.write(file, given, 16_000, format=container, subtype=kind, compression_level=compression)
    file.seek(0)
    heard: Wave = soundfile.read(file, dtype="float32")[0]
    return heard


def one_second(wave: Wave, name: str, draw: int, rate: int) -> Wave:
    """A second from inside the speech, wherever the draw falls; all of a shorter clip."""
    first, last = active_span(wave, rate)
    latest = max(first, last - rate)
    start = min(int(drawn("crop", draw, name).integers(first, latest + 1)), max(0, len(wave) - rate))
    return wave[start : start + rate]


CONDITIONS: dict[str, Callable[[Wave, str, int], Wave]] = {
    "noise": noisy,
    "noise-20": lambda wave, name, rate: noisy(wave, name, rate, 20.0),
    "noise-0": lambda wave, name, rate: noisy(wave, name, rate, 0.0),
    "telephone": lambda wave, _name, rate: telephone(wave, rate),
    "opus": opus,
    "mp3-32": mp3,
    "gain": lambda wave, name, _rate: gained(wave, name),
    "second": lambda wave, name, rate: one_second(wave, name, 0, rate),
}
"""What is done to a recording, by name."""
