"""The second voice of ``compact``'s speech side: one layer over what a phonetician would measure of a clip.

Some four hundred figures of the cleared, levelled and cropped clip: mean, spread and quantiles of bands, how
fast they change, the cepstrum, voiced and unvoiced spectrum, the rhythm of loudness in six ranges, and of
pitch, voicing and energy their level, range, unrest and slope. With a thousand clips to learn from, that is
worth more than convolutions, errs elsewhere, and takes no time.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from undertone.models.batch import mask_from
from undertone.models.compact_speech import PROSODY, Spectrum
from undertone.models.layers import masked_mean

__all__ = ["Whole", "figures"]

CEPSTRA = 20
GROUP = 4
"""Mel columns to a band."""
QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
RHYTHM = 128
"""Frames in which rhythm is looked for."""
RANGES = ((1, 3), (3, 6), (6, 10), (10, 16), (16, 26), (26, 45))
"""Of the rhythm's spectrum: 50 frames a second over 128 places are 0.39 Hz a place."""
CLIPPED = 4.0
"""Standard deviations beyond which a figure says no more."""


class Whole(nn.Module):
    """Figures to scores."""

    mean: Tensor
    std: Tensor

    def __init__(self, columns: int, outputs: int, dropout: float, hidden: int = 0) -> None:
        super().__init__()
        size = _size(columns - PROSODY)
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("std", torch.ones(size))
        self.dropout = nn.Dropout(dropout)
        self.hidden = nn.Linear(size, hidden) if hidden else None
        self.last = nn.Linear(hidden or size, outputs)

    def standardise(self, mean: Tensor, std: Tensor) -> None:
        """From now on figures are shifted by ``mean`` and divided by ``std``, those of the training side."""
        self.mean.copy_(mean)
        self.std.copy_(std)

    def scores(self, found: Spectrum) -> Tensor:
        """Scores (B, outputs)."""
        return self.judge(figures(found))

    def judge(self, told: Tensor) -> Tensor:
        """Scores (B, outputs) of figures (B, n)."""
        x = ((told - self.mean) / self.std).clamp(-CLIPPED, CLIPPED)
        x = self.dropout(x)
        if self.hidden is not None:
            x = self.dropout(F.gelu(self.hidden(x)))
        scores: Tensor = self.last(x)
        return scores


def _size(mels: int) -> int:
    with torch.no_grad():
        empty = Spectrum(torch.zeros(1, 8, mels), torch.zeros(1, 8, 4), torch.tensor([8]), torch.tensor([0]))
        return figures(empty).shape[1]


def figures(found: Spectrum) -> Tensor:
    """(B, n) of each clip as a whole."""
    mel, prosody, lengths = found.mel, found.prosody, found.lengths
    mask = mask_from(lengths, mel.shape[1])
    energy, pitch, voicing = prosody[..., 0], prosody[..., 1], prosody[..., 3]
    voiced = mask & (voicing > 0.5)
    bands = F.avg_pool1d(mel, min(GROUP, mel.shape[2]), ceil_mode=True)
    cepstra = mel @ _cosines(mel.shape[2], mel)
    slopes, bends = _slopes(mel, mask), _slopes(cepstra, mask)
    inner = mask[:, 1:] & mask[:, :-1]
    parts = [
        *_moments(mel, mask),
        masked_mean(slopes.abs(), inner),
        _quantiles(bands, mask),
        *_moments(cepstra, mask),
        masked_mean(bends.abs(), inner),
        masked_mean(bands, voiced),
        masked_mean(bands, mask & ~voiced),
        _rhythm(torch.cat([energy[..., None], _quarters(mel)], -1), mask),
        *_thirds(torch.cat([bands, energy[..., None], pitch[..., None]], -1), lengths),
        _melody(pitch, voiced),
        *_moments(torch.stack([energy, voicing], -1), mask),
        _quantiles(energy[..., None], mask),
        masked_mean(_slopes(energy[..., None], mask).abs(), inner),
        _trend(energy, mask)[:, None],
        masked_mean(voiced[..., None].to(mel.dtype), mask),
        _onsets(voiced, lengths)[:, None],
        lengths[:, None].to(mel.dtype) / 100.0,
        lengths[:, None].clamp(min=1).to(mel.dtype).log(),
    ]
    return torch.cat([part.flatten(1) for part in parts], 1)


def _moments(x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    mean = masked_mean(x, mask)
    return mean, masked_mean((x - mean[:, None]) ** 2, mask).clamp(min=1e-6).sqrt()


def _slopes(x: Tensor, mask: Tensor) -> Tensor:
    """(B, T - 1, D): from each frame to the next, zeros where one of them is not real."""
    return (x[:, 1:] - x[:, :-1]) * (mask[:, 1:] & mask[:, :-1])[..., None]


def _quantiles(x: Tensor, mask: Tensor) -> Tensor:
    """(B, 5, D) of what is real; zeros where nothing is."""
    count = mask.sum(1)
    ordered = x.masked_fill(~mask[..., None], 1e4).sort(1).values
    found = []
    for share in QUANTILES:
        place = share * (count - 1).clamp(min=0).to(x.dtype)
        low = place.floor().long()
        high = torch.minimum(low + 1, (count - 1).clamp(min=0))
        part = (place - low)[:, None]
        below, above = _row(ordered, low), _row(ordered, high)
        found.append((below + part * (above - below)) * (count > 0)[:, None])
    return torch.stack(found, 1)


def _row(x: Tensor, index: Tensor) -> Tensor:
    return x.gather(1, index[:, None, None].expand(-1, 1, x.shape[2]))[:, 0]


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
    mean, spread = _moments(column, voiced)
    quantiles = _quantiles(column, voiced)[..., 0]
    both = voiced[:, 1:] & voiced[:, :-1]
    steps = pitch[:, 1:] - pitch[:, :-1]
    restless, uneven = _moments(steps[..., None].abs(), both)
    reach = (quantiles[:, 4] - quantiles[:, 0])[:, None]
    return torch.cat([mean, spread, quantiles, reach, restless, uneven, _trend(pitch, voiced)[:, None]], 1)


def _trend(x: Tensor, mask: Tensor) -> Tensor:
    """(B,): the slope of the line through what is real, in units a second of 50 frames."""
    kept = mask.to(x.dtype)
    count = kept.sum(1, keepdim=True).clamp(min=1.0)
    times = (torch.arange(x.shape[1], device=x.device, dtype=x.dtype) / 50.0)[None].expand_as(x)
    times = (times - (times * kept).sum(1, keepdim=True) / count) * kept
    return (times * x).sum(1) / (times.square().sum(1) + 0.05)


def _onsets(voiced: Tensor, lengths: Tensor) -> Tensor:
    """(B,): how often a second the voice sets in."""
    begins = voiced[:, 1:] & ~voiced[:, :-1]
    return begins.sum(1) * 50.0 / lengths.clamp(min=1)
