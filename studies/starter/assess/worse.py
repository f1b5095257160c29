"""Waves as the world delivers them: louder, noisier, through a telephone, or a second of them only.

All of it is the same for the same clip: random numbers are drawn from its name.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from undertone.types import Wave

__all__ = ["active", "active_span", "drawn", "gained", "noisy", "one_second", "snr", "telephone"]

STEP = 0.01
"""Seconds of a frame in which a clip is called active or not."""
DYNAMICS = 30.0
"""Decibels below a clip's loud frames down to which it counts as speech."""
LOUD = 0.95
"""The quantile of the frames' levels that stands for loud."""
BAND = (300.0, 3400.0)
"""What a telephone lets through, in hertz."""


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
    """White noise ``decibels`` below the power of the *active* speech: pauses don't make it quieter."""
    speech = np.square(wave[active(wave, rate)], dtype=np.float64).mean()
    noise = drawn("noise", name).standard_normal(len(wave))
    mixed: Wave = (wave + noise * np.sqrt(speech / 10 ** (decibels / 10))).astype(np.float32)
    return mixed


def telephone(wave: Wave, rate: int) -> Wave:
    """What is left between 300 and 3400 Hz (Butterworth, 24 dB an octave on either side)."""
    from scipy.signal import butter, sosfilt

    filtered: Wave = sosfilt(butter(4, BAND, "bandpass", fs=rate, output="sos"), wave).astype(np.float32)
    return filtered


def one_second(wave: Wave, name: str, draw: int, rate: int) -> Wave:
    """A second from inside the speech, wherever the draw falls; all of a shorter clip."""
    first, last = active_span(wave, rate)
    latest = max(first, last - rate)
    start = min(int(drawn("crop", draw, name).integers(first, latest + 1)), max(0, len(wave) - rate))
    return wave[start : start + rate]


def active(wave: Wave, rate: int) -> NDArray[np.bool_]:
    """``(N,)``: which samples lie in frames that are as loud as speech; all of them in a silent wave."""
    size = round(STEP * rate)
    levels = _levels(wave, size)
    loud = levels >= np.quantile(levels, LOUD) - DYNAMICS
    return np.repeat(loud, size)[: len(wave)]


def active_span(wave: Wave, rate: int) -> tuple[int, int]:
    """Samples from the first active one to behind the last."""
    heard = np.flatnonzero(active(wave, rate))
    return int(heard[0]), int(heard[-1]) + 1


def snr(wave: Wave, rate: int) -> float:
    """Decibels of the active speech over the quietest tenth of the frames: an estimate by ear alone."""
    levels = _levels(wave, round(STEP * rate))
    quiet = np.mean(10 ** (np.sort(levels)[: max(1, len(levels) // 10)] / 10))
    speech = np.square(wave[active(wave, rate)], dtype=np.float64).mean() + 1e-12
    return float(10 * np.log10(speech / quiet))


def _levels(wave: Wave, size: int) -> NDArray[np.float64]:
    """Mean power of each frame in dB, the last one perhaps shorter."""
    starts = np.arange(0, len(wave), size)
    power = np.add.reduceat(np.square(wave, dtype=np.float64), starts)
    counts = np.minimum(size, len(wave) - starts)
    decibels: NDArray[np.float64] = 10 * np.log10(power / counts + 1e-12)
    return decibels
