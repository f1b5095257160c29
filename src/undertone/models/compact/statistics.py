"""What is told of a sequence over a mask, and nothing of its padding."""

from __future__ import annotations

import torch
from torch import Tensor

from undertone.models.layers import masked_mean

__all__ = ["correlation", "moments", "quantiles", "slopes", "trend"]

QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)


def moments(x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation, (B, D) each, of ``x (B, T, D)``."""
    mean = masked_mean(x, mask)
    return mean, masked_mean((x - mean[:, None]) ** 2, mask).clamp(min=1e-6).sqrt()


def slopes(x: Tensor, mask: Tensor) -> Tensor:
    """(B, T - 1, D): from each frame to the next, zeros where one of them is not real."""
    return (x[:, 1:] - x[:, :-1]) * (mask[:, 1:] & mask[:, :-1])[..., None]


def quantiles(x: Tensor, mask: Tensor) -> Tensor:
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


def trend(x: Tensor, mask: Tensor) -> Tensor:
    """(B,): the slope of the line through what is real of ``x (B, T)``, in units a second of 50 frames."""
    kept = mask.to(x.dtype)
    count = kept.sum(1, keepdim=True).clamp(min=1.0)
    times = (torch.arange(x.shape[1], device=x.device, dtype=x.dtype) / 50.0)[None].expand_as(x)
    times = (times - (times * kept).sum(1, keepdim=True) / count) * kept
    return (times * x).sum(1) / (times.square().sum(1) + 0.05)


def correlation(x: Tensor, y: Tensor, mask: Tensor) -> Tensor:
    """(B,): how far ``x`` and ``y (B, T)`` go together; near 0 where neither moves."""
    apart = [(v - masked_mean(v[..., None], mask)) * mask for v in (x, y)]
    sizes = [v.square().sum(1) for v in apart]
    return (apart[0] * apart[1]).sum(1) / (sizes[0] * sizes[1] + 1e-3).sqrt()
