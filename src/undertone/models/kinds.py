"""Kinds of speech and their classes, and the distance of a clip from all speech that was learned from.

Two kinds may be one class (calm is a kind of neutral), a kind may be none of the classes (surprise), and one
may be no emotional speech at all (music, an empty room).
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = [
    "NONE",
    "OTHER",
    "KindClassifier",
    "NoiseShare",
    "SpeechDistance",
    "View",
    "class_scores",
    "reject_nonspeech",
]

NONE, OTHER = -1, -2
"""In place of a kind's class: no emotional speech at all; emotional speech of none of the classes."""
CLIPPED = 4.0
"""Standard deviations beyond which a feature is clipped for the classifiers."""
FARTHEST = 8.0
"""The same for the distance from speech."""
LEAST = 0.05
"""Variance that a direction has at least: in some, speech hardly varies."""
EDGE = 0.08
"""The width, in nepers of distance, of the step from speech to no speech."""

View = Literal["upper", "means", "all", "linear"]
"""What a classifier gets: the mean of the uppermost hidden state, of all states, or deviations too;
``linear``: as ``upper``, without a hidden layer."""


class KindClassifier(nn.Module):
    """Pooled frames (B, 2 K D), the means of K hidden states and their deviations, to logits of kinds."""

    mean: Tensor
    std: Tensor

    def __init__(self, states: int, size: int, view: View, outputs: int, hidden: int, dropout: float) -> None:
        """``size``: D."""
        super().__init__()
        first = (states - 1) * size if view in ("upper", "linear") else 0
        self.columns = slice(first, states * size * (2 if view == "all" else 1))
        width = self.columns.stop - first
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("std", torch.ones(width))
        self.before, self.dropout = nn.Dropout(dropout / 2), nn.Dropout(dropout)
        self.hidden = None if view == "linear" else nn.Linear(width, hidden)
        self.last = nn.Linear(width if self.hidden is None else hidden, outputs)

    def standardise(self, mean: Tensor, std: Tensor) -> None:
        """From now on pooled frames are shifted by ``mean (2 K D)`` and divided by ``std``."""
        self.mean.copy_(mean[self.columns])
        self.std.copy_(std[self.columns])

    def forward(self, pooled: Tensor) -> Tensor:
        x = self.before(((pooled[:, self.columns] - self.mean) / self.std).clamp(-CLIPPED, CLIPPED))
        if self.hidden is not None:
            x = self.dropout(F.gelu(self.hidden(x)))
        logits: Tensor = self.last(x)
        return logits


class NoiseShare(nn.Module):
    """How likely pooled frames (B, n) are of speech in noise: a logistic regression."""

    mean: Tensor
    std: Tensor
    weight: Tensor
    bias: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("std", torch.ones(size))
        self.register_buffer("weight", torch.zeros(size))
        self.register_buffer("bias", torch.zeros(1))

    def learn(self, pooled: Tensor, noisy: Tensor, drawn: Tensor, pull: float = 0.03) -> None:
        """Fit to the frames ``(m, n)``, ``noisy (m,)`` or not; each counts as much as ``drawn (m,)`` says."""
        self.mean.copy_(pooled.mean(0))
        self.std.copy_(pooled.std(0) + 1e-3)
        x = self._scaled(pooled)
        weight, bias = torch.zeros_like(self.weight), torch.zeros_like(self.bias)
        free = [weight.requires_grad_(), bias.requires_grad_()]
        solver = torch.optim.LBFGS(free, max_iter=60, line_search_fn="strong_wolfe")

        def loss() -> Tensor:
            solver.zero_grad()
            each = F.binary_cross_entropy_with_logits(x @ weight + bias, noisy, reduction="none")
            value = (each * drawn / drawn.sum()).sum() + pull * weight.square().sum()
            torch.autograd.backward(value)
            return value

        solver.step(loss)  # type: ignore[no-untyped-call]
        self.weight.copy_(weight.detach())
        self.bias.copy_(bias.detach())

    def forward(self, pooled: Tensor) -> Tensor:
        """(B,): from 0 to 1."""
        return torch.sigmoid(self._scaled(pooled) @ self.weight + self.bias)

    def _scaled(self, pooled: Tensor) -> Tensor:
        return ((pooled - self.mean) / self.std).clamp(-CLIPPED, CLIPPED)


class SpeechDistance(nn.Module):
    """The distance of pooled frames from all speech of the training part, whatever its words and emotion.

    The squared distance under a Gaussian (Mahalanobis), along the axes on which speech varies most; what
    is left beside them is divided by the mean variance that speech has there. Below 1 for most speech.
    """

    mean: Tensor
    std: Tensor
    axes: Tensor
    """(axes, n), orthonormal."""
    variance: Tensor
    """(axes + 1,): along each axis, and on average beside them."""

    def __init__(self, size: int, axes: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("std", torch.ones(size))
        self.register_buffer("axes", torch.zeros(axes, size))
        self.register_buffer("variance", torch.ones(axes + 1))

    def learn(self, pooled: Tensor) -> None:
        """Set everything by the pooled frames ``(m, n)`` of speech."""
        self.mean.copy_(pooled.mean(0))
        self.std.copy_(pooled.std(0) + 1e-3)
        covariance = self._scaled(pooled).double().T.cov()
        values, vectors = torch.linalg.eigh(covariance)  # ascending
        count = len(self.axes)
        self.axes.copy_(vectors[:, -count:].T)
        self.variance.copy_(torch.cat([values[-count:], values[:-count].mean()[None]]))

    def forward(self, pooled: Tensor) -> Tensor:
        """(B,): the distance."""
        x = self._scaled(pooled)
        along = (x @ self.axes.T).square()  # (B, axes)
        beside = (x.square().sum(1) - along.sum(1)).clamp(min=0)
        size = self.variance + LEAST
        distance: Tensor = (along / size[:-1]).sum(1) + beside / size[-1]
        return distance / x.shape[1]

    def _scaled(self, pooled: Tensor) -> Tensor:
        return ((pooled - self.mean) / self.std).clamp(-FARTHEST, FARTHEST)


def class_scores(kinds: Tensor, belongs: tuple[int, ...], temperature: Tensor | float = 1.0) -> Tensor:
    """Log posterior of the classes (B, C) from scores of their kinds (B, K).

    ``temperature``: one, or one a row (B, 1). The share of NONE is divided evenly among the classes.
    """
    of = torch.tensor(belongs, device=kinds.device)
    count = int(of.max()) + 1
    parts = [kinds[:, of == label].logsumexp(-1) for label in range(count)]
    speech = (torch.stack(parts, -1) / temperature).log_softmax(-1)
    if not bool((of == NONE).any()):
        return speech
    nothing = kinds[:, of == NONE].logsumexp(-1) - kinds.logsumexp(-1)  # (B,) log probability
    something = kinds[:, of != NONE].logsumexp(-1) - kinds.logsumexp(-1)
    even = nothing[:, None] - torch.log(torch.tensor(float(count)))
    return torch.logaddexp(speech + something[:, None], even.expand_as(speech))


def reject_nonspeech(
    kinds: Tensor, belongs: tuple[int, ...], distance: Tensor, limit: Tensor | float
) -> Tensor:
    """Log posteriors (B, K) of the kinds, moved to NONE where ``distance (B,)`` is beyond ``limit``.

    A clip counts as speech only if both the kinds and the distance make it so.
    """
    of = torch.tensor(belongs, device=kinds.device)
    logs = kinds.log_softmax(-1)
    if not bool((of == NONE).any()):
        return logs
    near = torch.sigmoid(-((distance.clamp(min=1e-6) / limit).log() / EDGE))[:, None]
    nothing = logs.exp() * near + (1 - near) / (of == NONE).sum()
    return torch.where(of == NONE, nothing.clamp(min=1e-12).log(), logs + near.clamp(min=1e-12).log())
