"""Mel cepstra like those that the English model of pocketsphinx was trained on.

Pre-emphasis, 25.6 ms Hamming windows every 10 ms, 25 triangular mel filters from 130 to 6800 Hz,
noise removed by tracking each band's floor, logarithm, DCT, lifter; the mean over the utterance
is subtracted (in ``search``); first and second differences are appended.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from undertone.types import FrameClock, Wave

__all__ = ["RATE", "HOP", "WINDOW", "cepstra", "clock", "differences", "mel_energies", "remove_noise"]

RATE = 16_000
HOP = 160
WINDOW = 410
FFT = 512
FILTERS = 25
LOWEST, HIGHEST = 130.0, 6800.0
CEPSTRA = 13
LIFTER = 22
PRE_EMPHASIS = 0.97
SILENT = 1e-6
"""Least power of a frame: digital silence has none."""
FULL_SCALE = 32768.0
"""The model's samples are 16-bit integers."""


def clock() -> FrameClock:
    """The frames' times: 10 ms apart, the first centred on its window."""
    from undertone.types import FrameClock

    return FrameClock(hop=HOP / RATE, offset=WINDOW / 2 / RATE)


def mel_energies(wave: Wave) -> NDArray[np.float32]:
    """``(T, 25)`` band powers of a mono wave at 16 kHz; one frame at least."""
    samples = np.asarray(wave, np.float32) * FULL_SCALE
    if len(samples) < WINDOW:
        samples = np.pad(samples, (0, WINDOW - len(samples)))
    emphasised = samples.copy()
    emphasised[1:] -= PRE_EMPHASIS * samples[:-1]
    frames = np.lib.stride_tricks.sliding_window_view(emphasised, WINDOW)[::HOP]
    spectrum = np.fft.rfft(frames * _hamming(), FFT, axis=1)
    power = (spectrum.real**2 + spectrum.imag**2).astype(np.float32)
    return power @ _filters()


@functools.cache
def _hamming() -> NDArray[np.float32]:
    return np.hamming(WINDOW).astype(np.float32)


@functools.cache
def _filters() -> NDArray[np.float32]:
    """``(257, 25)``: triangles of unit area whose corners lie on FFT bins."""
    mel = 2595 * np.log10(1 + np.array([LOWEST, HIGHEST]) / 700)
    hertz = 700 * (10 ** (np.linspace(mel[0], mel[1], FILTERS + 2) / 2595) - 1)
    bin_width = RATE / FFT
    corners = np.floor(hertz / bin_width + 0.5) * bin_width
    low, centre, high = corners[:-2], corners[1:-1], corners[2:]
    bins = np.arange(FFT // 2 + 1)[:, None] * bin_width
    triangles = np.minimum((bins - low) / (centre - low), (high - bins) / (high - centre))
    return (np.maximum(triangles, 0) * 2 / (high - low)).astype(np.float32)


def remove_noise(power: NDArray[np.float32]) -> NDArray[np.float32]:
    """Band powers with each band's noise floor suppressed, as in the model's training.

    The floor follows the smoothed power slowly upwards and fast downwards (Doblinger 1995); what
    is masked by a recent peak is lowered (Kim & Stern 2012); gains are smoothed over bands.
    """
    smooth, noise, floor = power[0].copy(), power[0] / 20, power[0] / 20
    peak = np.zeros_like(smooth)
    gains = np.empty_like(power)
    for t, now in enumerate(power):
        smooth = 0.7 * smooth + 0.3 * now
        noise = _lower_envelope(smooth, noise)
        signal = np.maximum(smooth - noise, 1.0)
        floor = _lower_envelope(signal, floor)
        peak *= 0.85
        masked = np.where(signal < 0.85 * peak, 0.2 * peak, signal)
        peak = np.maximum(peak, signal)
        gains[t] = np.maximum(masked, floor) / np.maximum(smooth, SILENT)
    return power * (np.clip(gains, 1 / 20, 20) @ _band_smoothing())


def _lower_envelope(value: NDArray[np.float32], envelope: NDArray[np.float32]) -> NDArray[np.float32]:
    keep = np.where(value >= envelope, np.float32(0.995), np.float32(0.5))
    return np.asarray(keep * envelope + (1 - keep) * value, np.float32)


@functools.cache
def _band_smoothing() -> NDArray[np.float32]:
    """``(25, 25)``: the mean over four bands below and above."""
    near = abs(np.arange(FILTERS)[:, None] - np.arange(FILTERS)) <= 4
    return np.asarray(near / near.sum(0), np.float32)


def cepstra(power: NDArray[np.float32]) -> NDArray[np.float32]:
    """``(T, 13)`` liftered cepstra of band powers."""
    values: NDArray[np.float32] = np.log(power + 1e-4) @ _dct()
    return values


@functools.cache
def _dct() -> NDArray[np.float32]:
    order, band = np.arange(CEPSTRA), np.arange(FILTERS)[:, None]
    basis = np.cos(np.pi / FILTERS * order * (band + 0.5)) * np.sqrt(np.where(order, 2, 1) / FILTERS)
    return (basis * (1 + LIFTER / 2 * np.sin(order * np.pi / LIFTER))).astype(np.float32)


def differences(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """``(3, T, 13)``: the features, their first and their second differences; edge frames are repeated."""
    padded = np.pad(features, ((3, 3), (0, 0)), mode="edge")
    first = padded[4:] - padded[:-4]  # x[t + 2] - x[t - 2], from one frame before to one behind
    return np.stack([features, first[1:-1], first[2:] - first[:-2]])
