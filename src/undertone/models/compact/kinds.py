"""What speech is told apart by, and which class each kind is.

Two kinds may be one class (calm is a kind of neutral), a kind may be none of the classes (a surprised voice),
and one may be no emotional speech at all (music, an empty room).
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["NONE", "OTHER", "class_scores", "estranged"]

NONE, OTHER = -1, -2
EDGE = 0.08
"""How sharply, in nepers of distance, the familiar ends."""


def class_scores(
    kinds: Tensor,
    belongs: tuple[int, ...],
    temperature: Tensor | float = 1.0,
    lean: Tensor | float = 0.0,
) -> Tensor:
    """Log posterior of the classes (B, C) from scores of their kinds (B, K), ``lean (C,)`` added to them.

    The share of what is no emotional speech at all is dealt out to the classes evenly.
    """
    of = torch.tensor(belongs, device=kinds.device)
    count = int(of.max()) + 1
    parts = [kinds[:, of == label].logsumexp(-1) for label in range(count)]
    spoken = (torch.stack(parts, -1) / temperature + lean).log_softmax(-1)
    if not bool((of == NONE).any()):
        return spoken
    nothing = kinds[:, of == NONE].logsumexp(-1) - kinds.logsumexp(-1)  # (B,) log probability
    something = kinds[:, of != NONE].logsumexp(-1) - kinds.logsumexp(-1)
    even = nothing[:, None] - torch.log(torch.tensor(float(count)))
    return torch.logaddexp(spoken + something[:, None], even.expand_as(spoken))


def estranged(kinds: Tensor, belongs: tuple[int, ...], distance: Tensor, limit: Tensor | float) -> Tensor:
    """Log posteriors (B, K) of the kinds, where what is further from all speech than ``limit`` is none.

    That it is speech must be said twice: by the kinds, and by the ``distance (B,)``.
    """
    of = torch.tensor(belongs, device=kinds.device)
    logs = kinds.log_softmax(-1)
    if not bool((of == NONE).any()):
        return logs
    near = torch.sigmoid(-((distance.clamp(min=1e-6) / limit).log() / EDGE))[:, None]
    nothing = logs.exp() * near + (1 - near) / (of == NONE).sum()
    return torch.where(of == NONE, nothing.clamp(min=1e-12).log(), logs + near.clamp(min=1e-12).log())
