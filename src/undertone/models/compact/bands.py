"""What the bands of the spectrum hold, as a phonetician would sum up a clip.

Some four hundred figures of the cleared, levelled and cropped clip: mean, spread and quantiles of bands, how
fast they change, the cepstrum, voiced and unvoiced spectrum, the rhythm of loudness in six ranges, and of
pitch, voicing and energy their level, range, unrest and slope.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from undertone.models.batch import mask_from
from undertone.models.compact.spectrum import Spectrum
from undertone.models.compact.statistics import moments, quantiles, slopes, trend
from undertone.models.layers import masked_mean

__all__ = ["bands"]

CEPSTRA = 20
GROUP = 4
"""Mel columns to a band."""
RHYTHM = 128
"""Frames in which rhythm is looked for."""
RANGES = ((1, 3), (3, 6), (6, 10), (10, 16), (16, 26), (26, 45))
"""Of the rhythm's spectrum: 50 frames a second over 128 places are 0.39 Hz a place."""


def bands(found: Spectrum) -> Tensor:
    """(B, n) of each clip as a whole."""
    mel, prosody, lengths = found.mel, found.prosody, found.lengths
    mask = mask_from(lengths, mel.shape[1])
    energy, pitch, voicing = prosody[..., 0], prosody[..., 1], prosody[..., 3]
    voiced = mask & (voicing > 0.5)
    broad = F.avg_pool1d(mel, min(GROUP, mel.shape[2]), ceil_mode=True)
    cepstra = mel @ _cosines(mel.shape[2], mel)
    moves, bends = slopes(mel, mask), slopes(cepstra, mask)
    inner = mask[:, 1:] & mask[:, :-1]
    parts = [
        *moments(mel, mask),
        masked_mean(moves.abs(), inner),
        quantiles(broad, mask),
        *moments(cepstra, mask),
        masked_mean(bends.abs(), inner),
        masked_mean(broad, voiced),
        masked_mean(broad, mask & ~voiced),
        _rhythm(torch.cat([energy[..., None], _quarters(mel)], -1), mask),
        *_thirds(torch.cat([broad, energy[..., None], pitch[..., None]], -1), lengths),
        _melody(pitch, voiced),
        *moments(torch.stack([energy, voicing], -1), mask),
        quantiles(energy[..., None], mask),
        masked_mean(slopes(energy[..., None], mask).abs(), inner),
        trend(energy, mask)[:, None],
        masked_mean(voiced[..., None].to(mel.dtype), mask),
        _onsets(voiced, lengths)[:, None],
        lengths[:, None].to(mel.dtype) / 100.0,
        lengths[:, None].clamp(min=1).to(mel.dtype).log(),
    ]
    return torch.cat([part.flatten(1) for part in parts], 1)


def _cosines(size: int, like: Tensor) -> Tensor:
    """(size, CEPSTRA): the cosine transform."""
    places = torch.arange(size, device=like.device) + 0.5
    orders = torch.arange(min(CEPSTRA, size), device=like.device)
    return (math.pi / size * places[:, None] * orders).cos().to(like.dtype) * math.sqrt(2.0 / size)


def _quarters(mel: Tensor) -> Tensor:
    """(B, T, 4): the spectrum in four broad bands."""
    return F.adaptive_avg_pool1d(mel, 4)


def _rhythm(x: Tensor, mask: Tensor) -> Tensor:
    """(B, 6, D): how much of each column's ups and downs are of each range."""
    mean = masked_mean(x, mask)
    still = ((x - mean[:, None]) * mask[..., None])[:, :RHYTHM]
    spectrum = (
        torch.fft.rfft(still.float(), RHYTHM, dim=1).abs() / mask.sum(1).clamp(min=1).sqrt()[:, None, None]
    )
    return torch.stack([spectrum[:, low:high].mean(1) for low, high in RANGES], 1)


def _thirds(x: Tensor, lengths: Tensor) -> list[Tensor]:
    """The mean (B, D) of the first, the middle and the last third."""
    places = torch.arange(x.shape[1], device=x.device)[None]
    part = places * 3 // lengths.clamp(min=1)[:, None]
    return [masked_mean(x, (part == third) & (places < lengths[:, None])) for third in range(3)]


def _melody(pitch: Tensor, voiced: Tensor) -> Tensor:
    """(B, 12) of pitch where voiced: level, range, unrest and trend."""
    column = pitch[..., None]
    mean, spread = moments(column, voiced)
    spots = quantiles(column, voiced)[..., 0]
    both = voiced[:, 1:] & voiced[:, :-1]
    steps = pitch[:, 1:] - pitch[:, :-1]
    restless, uneven = moments(steps[..., None].abs(), both)
    reach = (spots[:, 4] - spots[:, 0])[:, None]
    return torch.cat([mean, spread, spots, reach, restless, uneven, trend(pitch, voiced)[:, None]], 1)


def _onsets(voiced: Tensor, lengths: Tensor) -> Tensor:
    """(B,): how often a second the voice sets in."""
    begins = voiced[:, 1:] & ~voiced[:, :-1]
    return begins.sum(1) * 50.0 / lengths.clamp(min=1)
