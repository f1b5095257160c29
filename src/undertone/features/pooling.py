"""Frames into segments, the whole batch at once. Pure, differentiable; see ``models/batch.py`` for B T S D.

    frames  (B, T, D)   what an encoder gives
    spans   (B, S, 2)   half-open [first, last) frames of each segment; (0, 0) on padding
    lengths (B,)        how many segments are real

Every (segment, frame) pair is laid out once, segment by segment, so that a segment is a stretch of
rows; overlapping segments and frames in none cost nothing special. Padding comes out as zeros.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["How", "attend", "gather", "pool"]

How = Literal["mean", "max"]


def pool(frames: Tensor, spans: Tensor, lengths: Tensor, how: How = "mean") -> Tensor:
    """(B, S, D): the mean or the maximum of each segment's frames."""
    B, S, _ = spans.shape
    if torch.compiler.is_compiling() or torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]
        return _pool_for_export(frames, spans, lengths, how)
    rows, counts = _layout(frames, spans, lengths)
    flat = frames.reshape(-1, frames.shape[-1])
    if how == "mean":
        pooled = functional.embedding_bag(rows, flat, counts.cumsum(0) - counts, mode="mean")
    else:
        pooled = torch.segment_reduce(flat[rows], "max", lengths=counts, axis=0, unsafe=True)
        pooled = torch.where(counts[:, None] > 0, pooled, 0.0)
    return pooled.reshape(B, S, -1)


def _pool_for_export(frames: Tensor, spans: Tensor, lengths: Tensor, how: How) -> Tensor:
    """The same with sizes that do not depend on the spans: more work, but a graph can hold it."""
    steps = torch.arange(frames.shape[1], device=frames.device)
    inside = (steps >= spans[..., :1]) & (steps < spans[..., 1:])  # (B, S, T)
    inside = inside & (torch.arange(spans.shape[1], device=spans.device) < lengths[:, None])[..., None]
    if how == "mean":
        weights = inside.to(frames.dtype)
        return (weights @ frames) / weights.sum(-1, keepdim=True).clamp(min=1)
    masked = frames[:, None].masked_fill(~inside[..., None], float("-inf")).amax(2)
    return masked.masked_fill(~inside.any(-1)[..., None], 0.0)


def attend(frames: Tensor, scores: Tensor, spans: Tensor, lengths: Tensor) -> Tensor:
    """(B, S, D): each segment's frames weighted by the softmax of their scores (B, T) within it."""
    inside, mask = gather(torch.cat([frames, scores[..., None]], -1), spans, lengths)
    weights = inside[..., -1].masked_fill(~mask, float("-inf"))
    weights = torch.where(mask.any(-1, keepdim=True), weights, 0.0).softmax(-1) * mask
    return (weights[..., None] * inside[..., :-1]).sum(2)


def gather(frames: Tensor, spans: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Frames by segment, padded: (B, S, F, D) with their mask (B, S, F), F the longest segment."""
    B, T, _ = frames.shape
    counts = _counts(spans, lengths)  # (B, S)
    size = max(1, int(counts.max())) if counts.numel() else 1
    steps = torch.arange(size, device=frames.device)
    mask = steps < counts[..., None]  # (B, S, F)
    index = (spans[..., :1] + steps).clamp(max=T - 1) * mask
    batch = torch.arange(B, device=frames.device)[:, None, None]
    return frames[batch, index] * mask[..., None], mask


def _counts(spans: Tensor, lengths: Tensor) -> Tensor:
    real = torch.arange(spans.shape[1], device=spans.device) < lengths[:, None]
    return (spans[..., 1] - spans[..., 0]).clamp(min=0) * real


def _layout(frames: Tensor, spans: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Row of the flattened (B*T, D) frames for each pair (segment by segment), and pairs a segment."""
    B, T, _ = frames.shape
    counts = _counts(spans, lengths).reshape(-1)  # (B*S)
    starts = (spans[..., 0] + torch.arange(B, device=spans.device)[:, None] * T).reshape(-1)
    before = counts.cumsum(0) - counts
    rows = torch.repeat_interleave(starts - before, counts)
    return rows + torch.arange(len(rows), device=rows.device), counts
