"""How the spectrum moves: ripples over bands and time, rising or falling, by how fast and how fine they are.

    levels ─▶ smoothed in eight places of the spectrum ──▶ four rates of ups and downs
           ─▶ rippled over the bands, coarse to fine ──▶ standing, four rates rising, four falling

Each is the size of a complex filter's answer (a Gabor filter: a wave under a bell), its mean and deviation
over the clip, in eight places. Speakers differ in where their formants are; how fast and which way they go is
told by these, as the ear's own cortex is thought to do (Chi, Ru, Shamma 2005).
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import Tensor

from undertone.models.batch import mask_from
from undertone.models.compact.spectrum import Spectrum
from undertone.models.compact.statistics import moments
from undertone.models.layers import masked_mean

__all__ = ["modulation"]

FRAMES = 50.0
"""A second."""
RATES = (2.0, 4.0, 8.0, 16.0)
"""Hertz of ups and downs."""
STANDING = 1.0
"""Hertz within which a ripple stands still."""
RIPPLES = (8 / 3, 16 / 3, 32 / 3)
"""Over the whole spectrum."""
PLACES = 8
"""Of the spectrum, evenly spaced, in which each filter is asked."""
TAIL = 64
"""Frames after which the slowest filter has died away, six of its deviations."""


def modulation(found: Spectrum) -> Tensor:
    """(B, n) figures of each clip."""
    mel, mask = found.mel, mask_from(found.lengths, found.mel.shape[1])
    smooth, ripples = (_constant(filters, mel) for filters in _over_bands(mel.shape[2]))
    size = 1 << (mel.shape[1] + TAIL - 1).bit_length()
    rates = _constant(_over_time(size), mel)
    still = (mel - masked_mean(mel, mask)[:, None]) * mask[..., None]
    shape = (mel - mel.mean(-1, keepdim=True)) * mask[..., None]
    # of the smoothed levels, which are real, what rises is what falls; and what stands is their mean
    parts = (
        _answers(still @ smooth, rates[1 : 1 + len(RATES)]),
        _answers(shape.to(ripples.dtype) @ ripples, rates),
    )
    sizes = torch.cat([part[:, : mask.shape[1]] for part in parts], -1) * mask[..., None]
    return torch.cat(moments(sizes, mask), 1)


def _answers(levels: Tensor, rates: Tensor) -> Tensor:
    """(B, size, R F): how strongly each rate answers to each column of ``levels (B, T, F)``."""
    waves = torch.fft.fft(levels, rates.shape[1], dim=1)[:, :, None] * rates.T[..., None]  # (B, size, R, F)
    answer = torch.fft.ifft(waves, dim=1)
    # |x|, with a gradient where it is 0
    size: Tensor = (answer.real.square() + answer.imag.square() + 1e-12).sqrt()
    return size.flatten(2)


def _constant(x: np.ndarray, like: Tensor) -> Tensor:
    return torch.from_numpy(x).to(like.device)


@cache
def _over_bands(bands: int) -> tuple[np.ndarray, np.ndarray]:
    """A bell in every place (bands, PLACES), and ripples under bells (bands, RIPPLES PLACES)."""
    apart = bands / PLACES
    centres = (np.arange(PLACES) + 0.5) * apart - 0.5
    distance = np.arange(bands)[:, None] - centres[None]
    bell = np.exp(-0.5 * (distance / (0.8 * apart)) ** 2)
    smooth, found = bell / bell.sum(0), []
    for ripple in RIPPLES:
        bell = np.exp(-0.5 * (distance / (0.5 * bands / ripple)) ** 2)
        bell /= bell.sum(0)
        wave = bell * np.exp(2j * np.pi * ripple / bands * distance)
        found.append(wave - bell * wave.sum(0))  # level alone is no ripple
    return smooth.astype(np.float32), np.concatenate(found, 1).astype(np.complex64)


@cache
def _over_time(size: int) -> np.ndarray:
    """(1 + 2 RATES, size): what of each frequency passes; standing, then up in time, then down."""
    hertz = np.fft.fftfreq(size, 1 / FRAMES) + FRAMES * np.arange(-1, 2)[:, None]

    def bell(centre: float, width: float) -> np.ndarray:
        """Over frequency, which begins anew every ``FRAMES`` hertz."""
        return np.asarray(np.exp(-0.5 * ((hertz - centre) / width) ** 2).sum(0))

    moving = [bell(sign * rate, 0.4 * rate) for sign in (1.0, -1.0) for rate in RATES]
    return np.stack([bell(0.0, STANDING), *moving]).astype(np.float32)
