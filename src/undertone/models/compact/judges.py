"""Who judges the figures of a clip: small networks, and a measure of how unlike any speech they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from undertone.models.compact.bands import bands
from undertone.models.compact.contour import contour
from undertone.models.compact.modulation import modulation
from undertone.models.compact.spectrum import PROSODY, Spectrum

__all__ = ["VIEWS", "Judge", "Known", "View", "size_of"]

View = Literal["bands", "modulation", "contour"]
VIEWS: dict[View, Callable[[Spectrum], Tensor]] = {
    "bands": bands,
    "modulation": modulation,
    "contour": contour,
}
"""The ways of summing up a clip, each (B, n)."""
CLIPPED = 4.0
"""Standard deviations beyond which a figure tells a network no more."""
FARTHEST = 8.0
"""The same, for how unlike speech a clip is."""
LEAST = 0.05
"""Variance that a direction has at least: in some, speech hardly moves."""


def size_of(columns: int, views: Sequence[View]) -> int:
    """How many figures these views tell of frames with so many columns."""
    with torch.no_grad():
        empty = Spectrum(
            torch.zeros(1, 8, columns - PROSODY), torch.zeros(1, 8, 4), torch.tensor([8]), torch.tensor([0])
        )
        return sum(VIEWS[view](empty).shape[1] for view in views)


class Judge(nn.Module):
    """Figures (B, n) of some views to scores: one hidden layer."""

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
        """From now on figures are shifted by ``mean`` and divided by ``std``, those of the training side."""
        self.mean.copy_(mean)
        self.std.copy_(std)

    def forward(self, figures: Tensor) -> Tensor:
        x = self.dropout(((figures - self.mean) / self.std).clamp(-CLIPPED, CLIPPED))
        scores: Tensor = self.last(self.dropout(F.gelu(self.hidden(x))))
        return scores


class Known(nn.Module):
    """How far figures are from all speech that was met, whatever was said and felt.

    The squared distance under a Gaussian (Mahalanobis), along the axes on which speech varies most; what
    is left beside them counts by the variance that speech has there. Below 1 for most speech.
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

    def learn(self, figures: Tensor) -> None:
        """Set everything by the figures ``(m, n)`` of speech."""
        self.mean.copy_(figures.mean(0))
        self.std.copy_(figures.std(0) + 1e-3)
        covariance = self._scaled(figures).double().T.cov()
        values, vectors = torch.linalg.eigh(covariance)  # ascending
        count = len(self.axes)
        self.axes.copy_(vectors[:, -count:].T)
        self.variance.copy_(torch.cat([values[-count:], values[:-count].mean()[None]]))

    def forward(self, figures: Tensor) -> Tensor:
        """(B,): the distance."""
        x = self._scaled(figures)
        along = (x @ self.axes.T).square()  # (B, axes)
        beside = (x.square().sum(1) - along.sum(1)).clamp(min=0)
        size = self.variance + LEAST
        distance: Tensor = (along / size[:-1]).sum(1) + beside / size[-1]
        return distance / x.shape[1]

    def _scaled(self, figures: Tensor) -> Tensor:
        return ((figures - self.mean) / self.std).clamp(-FARTHEST, FARTHEST)
