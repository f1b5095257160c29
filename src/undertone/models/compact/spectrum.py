"""The mel levels and prosody of a clip, denoised, levelled and cropped; and statistics over a mask.

    frames (B, T, D)   mel columns, then energy, pitch, voicing, as ``features.acoustic`` makes them
      │ denoised       steady noise, the level of each band in the clip's quiet frames, is subtracted
      │ levelled       levels relative to the clip's own loud frames: gain and silence do not matter
      ▼ cropped        from the first to the last active frame: silence around the speech does not matter
    Spectrum           either; noise as strong as in the clip's quiet frames counts as silence

A clip is processed by itself: nothing is taken from other clips.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from undertone.models.batch import mask_from
from undertone.models.layers import masked_mean

__all__ = [
    "PROSODY",
    "SPREAD",
    "Spectrum",
    "correlation",
    "moments",
    "quantiles",
    "slopes",
    "spectrum",
    "trend",
]

PROSODY = 3
"""Energy, pitch and voicing follow the mel columns."""
SPREAD = 3.0
"""Nepers in one unit of the level columns."""
AUDIBLE = 6.9 / SPREAD
"""A frame further below the loudest frame is no speech: 30 dB."""
FLOOR = 8.0 / SPREAD
"""The range of a band below the clip's level; all below is silence: 35 dB."""
DECIBEL = math.log(10.0) / 10.0 / SPREAD
"""One decibel in units of the level columns."""
QUIET = 0.1
"""The share of a clip's frames that its noise is estimated from."""
ABOVE = 3.0 * DECIBEL
"""A frame no more than this above the quiet frames is noise …"""
LOUD = 12.0 * DECIBEL
"""… unless it is within this of the loudest: a clip may have no quiet frames."""
DEEPEST = 0.1
"""At least this share of a band's power remains when noise is subtracted."""
MARGIN = 5
"""Frames kept before and after the active ones."""
QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)


@dataclass(frozen=True)
class Spectrum:
    """A batch of clips, levelled and cropped; zeros beyond each clip's length."""

    mel: Tensor
    """(B, T, M) relative to the clip's own level, from -FLOOR up; 0 at the floor."""
    prosody: Tensor
    """(B, T, 4): energy, pitch where voiced, pitch relative to the clip's mean, voicing."""
    lengths: Tensor
    """(B,)"""
    first: Tensor
    """(B,): the index of the clip's frame that is kept first."""


def spectrum(frames: Tensor, lengths: Tensor) -> Spectrum:
    """The spectrum of ``frames (B, T, D)``: steady noise subtracted, levelled, cropped."""
    real = mask_from(lengths, frames.shape[1])
    frames = torch.where(real[..., None], frames, 0.0)
    mels = frames.shape[2] - PROSODY
    top = frames[..., mels].masked_fill(~real, -1e4).amax(1, keepdim=True)
    loudness = ((frames[..., mels] - top) * SPREAD).clamp(-30.0, 0.0).exp() * real
    loudness = loudness / loudness.sum(1, keepdim=True).clamp(min=1e-6)  # (B, T), sums to 1
    noise = _noise(frames[..., : mels + 1], real)
    active = frames[..., mels] > torch.maximum(
        top - AUDIBLE, torch.minimum(noise[..., mels] + ABOVE, top - LOUD)
    )
    levels = _denoised(frames[..., : mels + 1], noise)
    mel, energy = levels[..., :mels], levels[..., mels]
    level = (mel.mean(-1) * loudness).sum(1)[:, None]
    mel = (mel - level[..., None] + FLOOR).clamp(min=0.0, max=2 * FLOOR)
    energy = (energy - (energy * loudness).sum(1, keepdim=True)).clamp(min=-FLOOR)
    pitch, voicing = frames[..., mels + 1], frames[..., mels + 2]
    voiced = ((voicing > 0.5) & real).to(frames.dtype)
    usual = (pitch * voiced).sum(1, keepdim=True) / voiced.sum(1, keepdim=True).clamp(min=1.0)
    prosody = torch.stack([energy, pitch * voiced, (pitch - usual) * voiced, voicing], -1)
    return _cropped(mel, prosody, active & real, lengths)


def moments(x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation, (B, D) each, of ``x (B, T, D)``."""
    mean = masked_mean(x, mask)
    return mean, masked_mean((x - mean[:, None]) ** 2, mask).clamp(min=1e-6).sqrt()


def slopes(x: Tensor, mask: Tensor) -> Tensor:
    """(B, T - 1, D): from each frame to the next, zeros where one of the two is masked."""
    return (x[:, 1:] - x[:, :-1]) * (mask[:, 1:] & mask[:, :-1])[..., None]


def quantiles(x: Tensor, mask: Tensor) -> Tensor:
    """(B, 5, D) over the mask; zeros where the mask is empty."""
    count = mask.sum(1)
    ordered = x.masked_fill(~mask[..., None], 1e4).sort(1).values
    values = []
    for share in QUANTILES:
        place = share * (count - 1).clamp(min=0).to(x.dtype)
        low = place.floor().long()
        high = torch.minimum(low + 1, (count - 1).clamp(min=0))
        part = (place - low)[:, None]
        below, above = _row(ordered, low), _row(ordered, high)
        values.append((below + part * (above - below)) * (count > 0)[:, None])
    return torch.stack(values, 1)


def trend(x: Tensor, mask: Tensor) -> Tensor:
    """(B,): the slope of the line through ``x (B, T)`` over the mask, in units a second of 50 frames."""
    kept = mask.to(x.dtype)
    count = kept.sum(1, keepdim=True).clamp(min=1.0)
    times = (torch.arange(x.shape[1], device=x.device, dtype=x.dtype) / 50.0)[None].expand_as(x)
    times = (times - (times * kept).sum(1, keepdim=True) / count) * kept
    return (times * x).sum(1) / (times.square().sum(1) + 0.05)


def correlation(x: Tensor, y: Tensor, mask: Tensor) -> Tensor:
    """(B,): the correlation of ``x`` and ``y (B, T)`` over the mask; near 0 where neither varies."""
    centred = [(v - masked_mean(v[..., None], mask)) * mask for v in (x, y)]
    sizes = [v.square().sum(1) for v in centred]
    return (centred[0] * centred[1]).sum(1) / (sizes[0] * sizes[1] + 1e-3).sqrt()


def _row(x: Tensor, index: Tensor) -> Tensor:
    return x.gather(1, index[:, None, None].expand(-1, 1, x.shape[2]))[:, 0]


def _noise(levels: Tensor, real: Tensor) -> Tensor:
    """(B, 1, D): the level of each column of ``levels (B, T, D)`` in the clip's quiet frames."""
    ordered = levels.masked_fill(~real[..., None], 1e4).sort(1).values
    place = (QUIET * (real.sum(1) - 1).clamp(min=0)).round().long()
    return ordered.gather(1, place[:, None, None].expand(-1, 1, levels.shape[2]))


def _denoised(levels: Tensor, noise: Tensor) -> Tensor:
    """Logarithmic ``levels`` less the power of the ``noise``, down to DEEPEST."""
    rest = 1.0 - ((noise - levels) * SPREAD).exp()
    return levels + rest.clamp(min=DEEPEST).log() / SPREAD


def _cropped(mel: Tensor, prosody: Tensor, active: Tensor, lengths: Tensor) -> Spectrum:
    """From the first to the last ``active (B, T)`` frame, and a margin."""
    size = active.shape[1]
    places = torch.arange(size, device=active.device)
    some = active.any(1)
    first = torch.where(active, places, size).amin(1).clamp(max=size - 1)
    first = (first - MARGIN).clamp(min=0)
    last = torch.where(active, places, -1).amax(1) + 1
    last = torch.minimum(last + MARGIN, lengths)
    lengths = torch.where(some, last - first, 0)
    longest = max(1, int(lengths.max()))
    index = (first[:, None] + torch.arange(longest, device=active.device)).clamp(max=size - 1)
    kept = mask_from(lengths, longest)[..., None]

    def take(x: Tensor) -> Tensor:
        return x.gather(1, index[..., None].expand(-1, -1, x.shape[-1])) * kept

    return Spectrum(take(mel), take(prosody), lengths, first)
