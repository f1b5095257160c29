"""GRUs over sequences of different lengths."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from undertone.models.by_hand import walk, worthwhile

__all__ = ["BiGRU"]


class BiGRU(nn.Module):
    """A GRU over each sequence's real part, forwards and (unless ``causal``) backwards.

    The backward half runs forwards over the sequence turned round within its length, so that no
    padding is ever before something real and no per-step bookkeeping is needed.
    """

    def __init__(self, inputs: int, width: int, causal: bool = False) -> None:
        super().__init__()
        size = width if causal else width // 2
        self.ahead = nn.GRU(inputs, size, batch_first=True)
        self.back = None if causal else nn.GRU(inputs, width - size, batch_first=True)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """(B, T, width); zeros on padding."""
        places = torch.arange(x.shape[1], device=x.device)
        real = places < lengths[:, None]
        halves, views, turned = [self.ahead], [x], None
        if self.back is not None:
            turned = torch.where(real, lengths[:, None] - 1 - places, places)  # its own inverse
            halves, views = [self.ahead, self.back], [x, _reorder(x, turned)]
        states = self._states(halves, views)
        if turned is not None:
            states[1] = _reorder(states[1], turned)
        return torch.cat(states, -1) * real[..., None]

    def _states(self, halves: list[nn.GRU], views: list[Tensor]) -> list[Tensor]:
        alike = len({half.hidden_size for half in halves}) == 1
        if alike and worthwhile(views[0]):
            return list(_side_by_side(halves, views))
        return [half(view)[0] for half, view in zip(halves, views, strict=True)]


def _reorder(x: Tensor, places: Tensor) -> Tensor:
    return x.gather(1, places[..., None].expand(-1, -1, x.shape[-1]))


def _side_by_side(halves: list[nn.GRU], views: list[Tensor]) -> tuple[Tensor, ...]:
    """The states (B, T, H) of each half, all halves walked at once."""

    def of(half: nn.GRU, kind: str) -> Tensor:
        return half.get_parameter(f"{kind}_l0")

    first = [
        F.linear(view.transpose(0, 1), of(half, "weight_ih"), of(half, "bias_ih"))
        for half, view in zip(halves, views, strict=True)
    ]
    weight = torch.stack([of(half, "weight_hh") for half in halves])
    bias = torch.stack([of(half, "bias_hh") for half in halves])
    return walk(torch.stack(first), weight, bias).transpose(1, 2).unbind(0)
