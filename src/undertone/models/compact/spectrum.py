"""What ``compact`` hears of a clip: its mel levels and prosody, cleared, levelled and cropped.

    frames (B, T, D)   mel columns, then energy, pitch, voicing, as ``features.acoustic`` makes them
      │ cleared        steady noise, what each band holds in the clip's quiet frames, is taken off
      │ levelled       levels against the clip's own loud moments, so that gain and silence do not matter
      ▼ cropped        from the first to the last active frame, so that silence around the speech goes
    Spectrum           too; noise that is as strong in the clip's quiet moments counts as silence

A clip is judged by itself: nothing is taken from other clips.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from undertone.models.batch import mask_from

__all__ = ["PROSODY", "SPREAD", "Spectrum", "spectrum"]

PROSODY = 3
"""Energy, pitch and voicing stand behind the mel columns."""
SPREAD = 3.0
"""Nepers in one unit of the level columns."""
AUDIBLE = 6.9 / SPREAD
"""What lies further below the loudest frame is not speech: 30 dB."""
FLOOR = 8.0 / SPREAD
"""How far below the clip's level a band is still told from silence: 35 dB."""
DECIBEL = math.log(10.0) / 10.0 / SPREAD
"""One of them in units of the level columns."""
QUIET = 0.1
"""The share of a clip's frames that tell its noise."""
ABOVE = 3.0 * DECIBEL
"""What is no more than this above the quiet frames is noise …"""
LOUD = 12.0 * DECIBEL
"""… unless it is within this of the loudest: a clip may have no quiet frames."""
DEEPEST = 0.1
"""Of the power of a band, at least this share stays when noise is taken off."""
MARGIN = 5
"""Frames kept before and after what is active."""


@dataclass(frozen=True)
class Spectrum:
    """A batch of clips, levelled and cropped; zeros beyond each clip's length."""

    mel: Tensor
    """(B, T, M) against the clip's own level, from -FLOOR up; 0 at the floor."""
    prosody: Tensor
    """(B, T, 4): energy, pitch where voiced, pitch against the clip's own, voicing."""
    lengths: Tensor
    """(B,)"""
    first: Tensor
    """(B,): the frame of the clip that stands first."""


def spectrum(frames: Tensor, lengths: Tensor) -> Spectrum:
    """Take steady noise off ``frames (B, T, D)``, level and crop them."""
    real = mask_from(lengths, frames.shape[1])
    frames = torch.where(real[..., None], frames, 0.0)
    mels = frames.shape[2] - PROSODY
    top = frames[..., mels].masked_fill(~real, -1e4).amax(1, keepdim=True)
    loudness = ((frames[..., mels] - top) * SPREAD).clamp(-30.0, 0.0).exp() * real
    loudness = loudness / loudness.sum(1, keepdim=True).clamp(min=1e-6)  # (B, T), sums to 1
    noise = _quiet(frames[..., : mels + 1], real)
    heard = frames[..., mels] > torch.maximum(
        top - AUDIBLE, torch.minimum(noise[..., mels] + ABOVE, top - LOUD)
    )
    levels = _without(frames[..., : mels + 1], noise)
    mel, energy = levels[..., :mels], levels[..., mels]
    level = (mel.mean(-1) * loudness).sum(1)[:, None]
    mel = (mel - level[..., None] + FLOOR).clamp(min=0.0, max=2 * FLOOR)
    energy = (energy - (energy * loudness).sum(1, keepdim=True)).clamp(min=-FLOOR)
    pitch, voicing = frames[..., mels + 1], frames[..., mels + 2]
    voiced = ((voicing > 0.5) & real).to(frames.dtype)
    usual = (pitch * voiced).sum(1, keepdim=True) / voiced.sum(1, keepdim=True).clamp(min=1.0)
    prosody = torch.stack([energy, pitch * voiced, (pitch - usual) * voiced, voicing], -1)
    return _cropped(mel, prosody, heard & real, lengths)


def _quiet(levels: Tensor, real: Tensor) -> Tensor:
    """(B, 1, D): what each column of ``levels (B, T, D)`` is at in the clip's quiet frames."""
    ordered = levels.masked_fill(~real[..., None], 1e4).sort(1).values
    place = (QUIET * (real.sum(1) - 1).clamp(min=0)).round().long()
    return ordered.gather(1, place[:, None, None].expand(-1, 1, levels.shape[2]))


def _without(levels: Tensor, noise: Tensor) -> Tensor:
    """Logarithmic ``levels`` less the power of the ``noise``, but for a rest."""
    rest = 1.0 - ((noise - levels) * SPREAD).exp()
    return levels + rest.clamp(min=DEEPEST).log() / SPREAD


def _cropped(mel: Tensor, prosody: Tensor, heard: Tensor, lengths: Tensor) -> Spectrum:
    """From the first to the last frame that is ``heard (B, T)``, and a margin."""
    size = heard.shape[1]
    places = torch.arange(size, device=heard.device)
    some = heard.any(1)
    first = torch.where(heard, places, size).amin(1).clamp(max=size - 1)
    first = (first - MARGIN).clamp(min=0)
    last = torch.where(heard, places, -1).amax(1) + 1
    last = torch.minimum(last + MARGIN, lengths)
    lengths = torch.where(some, last - first, 0)
    longest = max(1, int(lengths.max()))
    index = (first[:, None] + torch.arange(longest, device=heard.device)).clamp(max=size - 1)
    kept = mask_from(lengths, longest)[..., None]

    def take(x: Tensor) -> Tensor:
        return x.gather(1, index[..., None].expand(-1, -1, x.shape[-1])) * kept

    return Spectrum(take(mel), take(prosody), lengths, first)
