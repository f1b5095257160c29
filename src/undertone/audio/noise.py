"""Active speech, and noise at a stated level below it: the one meaning of "noise at n dB".

The level of the speech is its mean power over the active frames, so that pauses and silence around it do not
change how strong the noise is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from undertone.types import Wave

__all__ = ["active", "active_span", "levels", "mixed", "telephone"]

BAND = (300.0, 3400.0)
"""What a telephone lets through, in hertz."""

STEP = 0.01
"""Seconds of a frame that is active or not."""
DYNAMICS = 30.0
"""Decibels below a clip's loud frames down to which a frame is active."""
LOUD = 0.95
"""The quantile of the frames' levels that stands for loud."""


def mixed(speech: Wave, noise: NDArray[np.floating[Any]], snr_db: float, rate: int) -> Wave:
    """``(N,)``: the speech with noise ``(N,)`` whose mean power is ``snr_db`` below the active speech's."""
    power = np.square(speech[active(speech, rate)], dtype=np.float64).mean()
    given = max(float(np.square(noise, dtype=np.float64).mean()), 1e-12)
    both: Wave = (speech + noise * np.sqrt(power / given / 10 ** (snr_db / 10))).astype(np.float32)
    return both


def active(wave: Wave, rate: int) -> NDArray[np.bool_]:
    """``(N,)``: which samples lie in active frames; all of them in a silent wave."""
    values = levels(wave, rate)
    loud = values >= np.quantile(values, LOUD) - DYNAMICS
    return np.repeat(loud, round(STEP * rate))[: len(wave)]


def active_span(wave: Wave, rate: int) -> tuple[int, int]:
    """The first active sample, and the one behind the last."""
    places = np.flatnonzero(active(wave, rate))
    return int(places[0]), int(places[-1]) + 1


def levels(wave: Wave, rate: int) -> NDArray[np.float64]:
    """Mean power of each frame of 10 ms in dB; the last frame may be shorter."""
    size = round(STEP * rate)
    starts = np.arange(0, len(wave), size)
    power = np.add.reduceat(np.square(wave, dtype=np.float64), starts)
    counts = np.minimum(size, len(wave) - starts)
    decibels: NDArray[np.float64] = 10 * np.log10(power / counts + 1e-12)
    return decibels


def telephone(wave: Wave, rate: int) -> Wave:
    """What is left between 300 and 3400 Hz (Butterworth, 24 dB an octave on either side)."""
    from scipy.signal import butter, sosfilt

    filtered: Wave = sosfilt(butter(4, BAND, "bandpass", fs=rate, output="sos"), wave).astype(np.float32)
    return filtered
