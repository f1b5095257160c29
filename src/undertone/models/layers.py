"""The parts systems are built of: pooling, segments, heads; attention has a file of its own.

Dimension names are those of ``models/batch.py``. Every sequence comes with its mask (True = real). Padding
has no influence: no output at a real position depends on it, and the output of a row of padding is zeros.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from undertone.features.pooling import attend, pool
from undertone.models.batch import Batch, Segments
from undertone.types import TIERS

__all__ = [
    "Head",
    "Level",
    "Pooling",
    "PoolingKind",
    "SegmentPool",
    "SegmentPooling",
    "by_hand",
    "frame_words",
    "masked_mean",
    "masked_softmax",
    "tier_of",
]

Level = Literal["frame", "phone", "syllable", "word"]
"""The granularities of speech, from fine to coarse."""
PoolingKind = Literal["mean", "mean_std", "max", "attention"]
SegmentPooling = Literal["mean", "max", "attention"]


# -- sequences to vectors ---------------------------------------------------------------------------


def masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    """(B, D): the mean of ``x (B, S, D)`` over real positions; zeros where there is none."""
    kept = mask[..., None].to(x.dtype)
    return (x * kept).sum(1) / kept.sum(1).clamp(min=1.0)


def _masked_std(x: Tensor, mask: Tensor, mean: Tensor) -> Tensor:
    kept = mask[..., None].to(x.dtype)
    squares = x - mean[:, None]
    if torch.is_grad_enabled():
        squares = squares**2 * kept
    else:  # long clips' frames are most of what is in memory
        squares.square_().mul_(kept)
    variance = squares.sum(1) / kept.sum(1).clamp(min=1.0)
    return (variance + 1e-6).sqrt() * mask.any(1, keepdim=True)  # 1e-6 bounds the gradient at 0


class Pooling(nn.Module):
    """A sequence (B, S, D) to one vector (B, ``width``)."""

    def __init__(self, width: int, kind: PoolingKind = "mean_std") -> None:
        super().__init__()
        self.kind = kind
        self.width = 2 * width if kind == "mean_std" else width
        self.score = nn.Linear(width, 1, bias=False) if kind == "attention" else None

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        if self.kind == "max":
            largest = x.masked_fill(~mask[..., None], float("-inf")).amax(1)
            return torch.where(mask.any(1, keepdim=True), largest, 0.0)
        if self.kind == "attention":
            return (self.weights(x, mask)[..., None].to(x.dtype) * x).sum(1)
        mean = masked_mean(x, mask)
        if self.kind == "mean":
            return mean
        return torch.cat([mean, _masked_std(x, mask, mean)], -1)

    def weights(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, S): the weight of each position; sums to 1 where a position is real. With ``max`` it is the
        share of the dimensions in which a position is the largest."""
        if self.kind == "max":
            masked = x.masked_fill(~mask[..., None], float("-inf"))
            return F.one_hot(masked.argmax(1), x.shape[1]).to(x.dtype).mean(1) * mask
        if self.score is None:
            return mask / mask.sum(1, keepdim=True).clamp(min=1)
        return masked_softmax(self.score(x)[..., 0], mask)


def masked_softmax(scores: Tensor, mask: Tensor) -> Tensor:
    """Softmax over the last dimension within the mask; zeros where no position is real."""
    masked = scores.float().masked_fill(~mask, float("-inf"))
    return torch.where(mask.any(-1, keepdim=True), masked, 0.0).softmax(-1) * mask


def by_hand(x: Tensor) -> bool:
    """Whether gradients worked out by hand are used: where one is wanted, on a processor, and the network is
    not being compiled or traced. They are faster than autograd's there."""
    traced = torch.compiler.is_compiling() or torch.jit.is_tracing()  # type: ignore[attr-defined,no-untyped-call]
    return torch.is_grad_enabled() and x.device.type == "cpu" and not traced


def tier_of(batch: Batch, tier: str) -> Segments:
    """A tier's segments; an utterance that has none, though it has speech, is one segment, of no word."""
    assert tier in TIERS, tier
    B = len(batch)
    segments = batch.segments.get(tier)
    if segments is None:
        zeros = batch.speech_lengths.new_zeros
        segments = Segments(zeros(B, 1, 2), zeros(B), zeros(B, 1) - 1)
    lengths = segments.lengths * batch.present[:, 0]
    whole = (lengths == 0) & batch.present[:, 0]
    if not bool(whole.any()):
        return Segments(segments.spans, lengths, segments.word)
    spans = segments.spans.clone()
    spans[:, 0, 1] = torch.where(whole, batch.speech_lengths, spans[:, 0, 1])
    return Segments(spans, lengths + whole.long(), segments.word)


def frame_words(batch: Batch) -> Tensor:
    """(B, T): the word each frame belongs to, -1 for none."""
    tier = batch.segments.get("word")
    size = batch.speech_mask.shape[1]
    if tier is None:
        return batch.labels.new_full((len(batch), size), -1)
    places = torch.arange(size, device=tier.spans.device)
    start, end = tier.spans[..., :1], tier.spans[..., 1:]  # (B, S, 1)
    inside = (places >= start) & (places < end) & tier.mask[..., None]  # (B, S, T)
    return torch.where(inside, tier.word[..., None], -1).amax(1)


class SegmentPool(nn.Module):
    """Frames (B, T, D) to segments (B, S, D)."""

    def __init__(self, width: int, kind: SegmentPooling = "mean") -> None:
        super().__init__()
        self.kind = kind
        self.score = nn.Linear(width, 1, bias=False) if kind == "attention" else None

    def forward(self, frames: Tensor, segments: Segments) -> Tensor:
        if self.score is not None:
            return attend(frames, self.score(frames)[..., 0], segments.spans, segments.lengths)
        how: Literal["mean", "max"] = "max" if self.kind == "max" else "mean"
        return pool(frames, segments.spans, segments.lengths, how)


# -- to classes -------------------------------------------------------------------------------------


class Head(nn.Module):
    """Pooled vector → dropout → MLP → C logits; ``hidden`` is the vector before the last map."""

    def __init__(self, inputs: int, width: int, classes: int, dropout: float, norm: bool = True) -> None:
        super().__init__()
        self.hidden = nn.Sequential(
            nn.LayerNorm(inputs) if norm else nn.Identity(),
            nn.Dropout(dropout),
            nn.Linear(inputs, width),
            nn.GELU(),
            nn.Dropout(dropout),
        )
        self.last = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.last(self.hidden(x))
        return logits
