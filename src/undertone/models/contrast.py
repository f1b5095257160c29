"""Bringing matched speech and text together: distances of distributions, contrastive losses, hard negatives.

Matrices are (n, n): row i is the speech of utterance i, column j the text of utterance j; only the
diagonal is matched.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from undertone.models.example import IGNORE

__all__ = [
    "contrast",
    "entropy_floor",
    "hard_negatives",
    "negatives",
    "of_equal_labels",
    "products",
    "wasserstein",
]


def wasserstein(mean_a: Tensor, std_a: Tensor, mean_b: Tensor, std_b: Tensor) -> Tensor:
    """(n, m) squared 2-Wasserstein distances between diagonal Gaussians a (n, D) and b (m, D).

    ‖μ - μ'‖² + ‖σ - σ'‖²: the general formula for diagonal covariances.
    """
    with torch.autocast(mean_a.device.type, enabled=False):
        a, b = _full(torch.cat([mean_a, std_a], -1)), _full(torch.cat([mean_b, std_b], -1))
        squares = (a**2).sum(-1)[:, None] + (b**2).sum(-1)[None, :]
        return (squares - 2 * a @ b.T).clamp(min=0.0)


def products(a: Tensor, b: Tensor) -> Tensor:
    """(n, m) scalar products of the rows of a (n, D) and b (m, D), in single precision under autocast too."""
    with torch.autocast(a.device.type, enabled=False):
        return _full(a) @ _full(b).T


def _full(x: Tensor) -> Tensor:
    """At least single precision. Autocast would undo a cast: it turns a product of such vectors into bf16."""
    return x if x.dtype == torch.float64 else x.float()


def negatives(labels: Tensor, label_aware: bool) -> Tensor:
    """(n, n) bool: which pairs are negatives: all that are not matched, or those of another label."""
    others = ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    if not label_aware:
        return others
    same = (labels[:, None] == labels[None, :]) & (labels != IGNORE)[:, None]
    return others & ~same


def contrast(similarity: Tensor, against: Tensor) -> Tensor:
    """Symmetric contrastive loss, ½ [CE(rows, diagonal) + CE(columns, diagonal)], over the pairs ``against``.

    0, with a gradient of 0, for an empty batch; a row without negatives contributes 0.
    """
    n = len(similarity)
    if n == 0:
        return similarity.sum()
    allowed = against | torch.eye(n, dtype=torch.bool, device=similarity.device)
    scores = _full(similarity).masked_fill(~allowed, float("-inf"))
    target = torch.arange(n, device=similarity.device)
    return 0.5 * (F.cross_entropy(scores, target) + F.cross_entropy(scores.T, target))


def of_equal_labels(vectors: Tensor, labels: Tensor, temperature: float, published: bool = False) -> Tensor:
    """Supervised contrast: -log P of the rows (n, D) of equal labels, P a softmax over each row's products.

    Clean: cosines over the temperature, no row with itself, the mean over each row's equals and then over the
    rows that have any. ``published`` (2203.16794): products, P over all with the row itself, log P divided by
    the temperature, and the mean over all pairs of equal labels, each row with itself among them.
    """
    vectors, labels = vectors[labels != IGNORE], labels[labels != IGNORE]
    itself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    equal = labels[:, None] == labels[None, :]
    if published:
        logs = products(vectors, vectors).log_softmax(-1) / temperature
        return -(logs * equal).sum() / equal.sum().clamp(min=1)
    normed = F.normalize(_full(vectors), dim=-1)
    scores = (products(normed, normed) / temperature).masked_fill(itself, float("-inf"))
    equal = equal & ~itself
    logs = torch.where(equal, scores - scores.logsumexp(-1, keepdim=True), 0.0)
    each = -logs.sum(-1) / equal.sum(-1).clamp(min=1)
    return each.sum() / equal.any(-1).sum().clamp(min=1)


def hard_negatives(
    similarity: Tensor, against: Tensor, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """For each row that has any, one column of ``against``, drawn with softmax of the similarity.

    Returns the rows (k,) and their columns (k,).
    """
    rows = against.any(1).nonzero()[:, 0]
    if len(rows) == 0:
        return rows, rows
    scores = similarity.detach().float().masked_fill(~against, float("-inf"))[rows]
    return rows, torch.multinomial(scores.softmax(-1), 1, generator=generator)[:, 0]


def entropy_floor(log_std: Tensor, floor: float) -> Tensor:
    """How far the Gaussians' mean log deviation (n, D) is below ``floor``: 0 above it."""
    return (floor - log_std.float().mean(-1)).clamp(min=0.0).mean() if len(log_std) else log_std.sum()
