"""Classifiers of a clip's functionals into kinds of speech, their distance from all speech, and the classes.

Two kinds may be one class (calm is a kind of neutral), a kind may be none of the classes (surprise), and one
may be no emotional speech at all (music, an empty room).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from undertone.models.compact.functionals import VIEWS, View
from undertone.models.compact.spectrum import PROSODY, Spectrum

__all__ = [
    "NONE",
    "OTHER",
    "FunctionalsClassifier",
    "SpeechDistance",
    "class_scores",
    "reject_nonspeech",
    "size_of",
]

NONE, OTHER = -1, -2
"""In place of a kind's class: no emotional speech at all; emotional speech of none of the classes."""
CLIPPED = 4.0
"""Standard deviations beyond which a functional is clipped for the classifiers."""
FARTHEST = 8.0
"""The same for the distance from speech."""
LEAST = 0.05
"""Variance that a direction has at least: in some, speech hardly varies."""
EDGE = 0.08
"""The width, in nepers of distance, of the step from speech to no speech."""


def size_of(columns: int, views: Sequence[View]) -> int:
    """The number of functionals of these views for frames of so many columns."""
    with torch.no_grad():
        empty = Spectrum(
            torch.zeros(1, 8, columns - PROSODY), torch.zeros(1, 8, 4), torch.tensor([8]), torch.tensor([0])
        )
        return sum(VIEWS[view](empty).shape[1] for view in views)


class FunctionalsClassifier(nn.Module):
    """Functionals (B, n) of some views to logits: one hidden layer."""

    mean: Tensor
    std: Tensor

    def __init__(
        self, columns: int, views: Sequence[View], outputs: int, hidden: int, dropout: float
    ) -> None:
        super().__init__()
        self.views = tuple(views)
        size = size_of(columns, views)
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("std", torch.ones(size))
        self.dropout = nn.Dropout(dropout)
        self.hidden = nn.Linear(size, hidden)
        self.last = nn.Linear(hidden, outputs)

    def standardise(self, mean: Tensor, std: Tensor) -> None:
        """From now on functionals are shifted by ``mean`` and divided by ``std``."""
        self.mean.copy_(mean)
        self.std.copy_(std)

    def forward(self, functionals: Tensor) -> Tensor:
        x = self.dropout(((functionals - self.mean) / self.std).clamp(-CLIPPED, CLIPPED))
        logits: Tensor = self.last(self.dropout(F.gelu(self.hidden(x))))
        return logits


class SpeechDistance(nn.Module):
    """The distance of functionals from all speech of the training part, whatever its words and emotion.

    The squared distance under a Gaussian (Mahalanobis), along the axes on which speech varies most; what
    is left beside them is divided by the mean variance that speech has there. Below 1 for most speech.
    """

    mean: Tensor
    std: Tensor
    axes: Tensor
    """(axes, n), orthonormal."""
    variance: Tensor
    """(axes + 1,): along each axis, and on average beside them."""

    def __init__(self, columns: int, axes: int) -> None:
        super().__init__()
        size = size_of(columns, tuple(VIEWS))
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("std", torch.ones(size))
        self.register_buffer("axes", torch.zeros(axes, size))
        self.register_buffer("variance", torch.ones(axes + 1))

    def learn(self, functionals: Tensor) -> None:
        """Set everything by the functionals ``(m, n)`` of speech."""
        self.mean.copy_(functionals.mean(0))
        self.std.copy_(functionals.std(0) + 1e-3)
        covariance = self._scaled(functionals).double().T.cov()
        values, vectors = torch.linalg.eigh(covariance)  # ascending
        count = len(self.axes)
        self.axes.copy_(vectors[:, -count:].T)
        self.variance.copy_(torch.cat([values[-count:], values[:-count].mean()[None]]))

    def forward(self, functionals: Tensor) -> Tensor:
        """(B,): the distance."""
        x = self._scaled(functionals)
        along = (x @ self.axes.T).square()  # (B, axes)
        beside = (x.square().sum(1) - along.sum(1)).clamp(min=0)
        size = self.variance + LEAST
        distance: Tensor = (along / size[:-1]).sum(1) + beside / size[-1]
        return distance / x.shape[1]

    def _scaled(self, functionals: Tensor) -> Tensor:
        return ((functionals - self.mean) / self.std).clamp(-FARTHEST, FARTHEST)


def class_scores(
    kinds: Tensor,
    belongs: tuple[int, ...],
    temperature: Tensor | float = 1.0,
    lean: Tensor | float = 0.0,
) -> Tensor:
    """Log posterior of the classes (B, C) from scores of their kinds (B, K), ``lean (C,)`` added to them.

    The share of NONE is divided evenly among the classes.
    """
    of = torch.tensor(belongs, device=kinds.device)
    count = int(of.max()) + 1
    parts = [kinds[:, of == label].logsumexp(-1) for label in range(count)]
    speech = (torch.stack(parts, -1) / temperature + lean).log_softmax(-1)
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
