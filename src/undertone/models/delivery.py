"""Features of an utterance as a whole: its pace and pauses, and the course of its frames.

pace     of each tier: mean and deviation of log frames a segment; between words: length of the pauses
contour  over frames weighted by attention: mean, deviation, and slope from beginning to end

Attention matters: pitch exists in voiced frames only, so that its deviation and slope over all frames would
mostly depend on which of them are voiced.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from undertone.models.batch import Batch, Segments
from undertone.models.layers import masked_mean, masked_softmax
from undertone.types import Tier

__all__ = ["Delivery", "contour", "pace", "pace_width"]

_SHARP = 4.0
"""Factor of the scores: attention starts nearly even, and a small corpus gives few steps to change that."""
_SLOPE = 3.0
"""Makes the slope of a steady rise about as large as its deviation (√3 would make it equal)."""
_FRAMES = 2.0
"""About the mean log frames of a segment, subtracted."""


class Delivery(nn.Module):
    """Frames (B, T, D) to a vector of pace and contour (B, 4 D); zeros where speech is missing."""

    def __init__(self, width: int, tiers: Sequence[Tier]) -> None:
        super().__init__()
        self.tiers = tuple(tiers)
        self.score = nn.Linear(width, 1, bias=False)
        self.pace = nn.Linear(pace_width(self.tiers), width, bias=False)

    def forward(self, frames: Tensor, batch: Batch) -> Tensor:
        weights = masked_softmax(_SHARP * self.score(frames)[..., 0], batch.speech_mask).to(frames.dtype)
        projected = self.pace(pace(batch, self.tiers).to(frames.dtype))
        return torch.cat([*contour(frames, weights, batch.speech_mask), projected], -1)


def contour(frames: Tensor, weights: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(B, D) each: mean, deviation and slope of the frames under weights (B, T) that sum to 1."""
    weight = weights[..., None]
    mean = (weight * frames).sum(1)
    centred = frames - mean[:, None]
    nonempty = mask.any(1, keepdim=True)
    deviation = ((weight * centred * centred).sum(1) + 1e-6).sqrt() * nonempty  # 1e-6 bounds the gradient
    count = mask.sum(1, keepdim=True).clamp(min=1)
    time = (2 * torch.arange(mask.shape[1], device=mask.device) + 1 - count) / count  # -1 to 1
    time = time - (weights * time).sum(1, keepdim=True)
    return mean, deviation, _SLOPE * (weight * centred * time[..., None]).sum(1)


def pace_width(tiers: Sequence[Tier]) -> int:
    """How many features ``pace`` has."""
    return 2 * len(tiers) + 2


def pace(batch: Batch, tiers: Sequence[Tier]) -> Tensor:
    """(B, 2 tiers + 2) features of the speaking rate; zeros for a tier that an utterance lacks."""
    features = [_of_tier(batch, name, _lengths) for name in tiers]
    return torch.cat([*features, _of_tier(batch, "word", _pauses)], 1)


def _of_tier(batch: Batch, name: Tier, features: Callable[[Segments], tuple[Tensor, Tensor]]) -> Tensor:
    tier = batch.segments.get(name)
    if tier is None:
        return batch.speech_lengths.new_zeros(len(batch), 2, dtype=torch.float)
    known = (tier.lengths > 0) & batch.present[:, 0]
    return torch.stack(features(tier), 1) * known[:, None]


def _lengths(tier: Segments) -> tuple[Tensor, Tensor]:
    """Mean and deviation of log frames a segment."""
    log = (tier.spans[..., 1] - tier.spans[..., 0]).clamp(min=1).float().log()[..., None]
    mean = masked_mean(log, tier.mask)
    deviation = (masked_mean((log - mean[:, None]) ** 2, tier.mask) + 1e-6).sqrt()
    return mean[:, 0] - _FRAMES, deviation[:, 0]


def _pauses(tier: Segments) -> tuple[Tensor, Tensor]:
    """Log frames a pause, and log of all pauses over all words; one frame is added to the pauses."""
    first, last = tier.spans[:, 0, 0], tier.spans[..., 1].amax(1)
    spoken = ((tier.spans[..., 1] - tier.spans[..., 0]) * tier.mask).sum(1)
    pauses = (last - first - spoken).clamp(min=0).float() + 1.0
    return (pauses / tier.lengths.clamp(min=1)).log(), (pauses / (spoken + 1.0)).log() + _FRAMES
