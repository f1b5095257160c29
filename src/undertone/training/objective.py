"""The loss: the terms that a system names, weighted and summed.

Over several processes and accumulated parts the gradient must be that of the whole batch. Processes
average their gradients, so a *mean* over this part's labels counts by its share of all labels, a *sum*
counts once per process, and a term over *gathered* vectors, which every process computes alike,
by this part's share of the step.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from undertone.models.batch import Batch
from undertone.models.example import IGNORE
from undertone.models.system import Output, System
from undertone.models.targets import soft_cross_entropy, target_terms

if TYPE_CHECKING:
    from undertone.training.config import TrainingConfig
    from undertone.training.dataset import Dataset

__all__ = [
    "Loss",
    "Objective",
    "Share",
    "class_weights",
    "classification_loss",
    "label_counts",
    "losses",
    "margins",
    "set_criteria",
]


class Share(NamedTuple):
    """How large a part of the whole step a forward pass is."""

    labels: float = 1.0
    """Its labels over those of the whole step, times the number of processes."""
    processes: int = 1
    parts: int = 1


class Loss(NamedTuple):
    """The total to differentiate, and each term unweighted and unscaled, for the record."""

    total: Tensor
    terms: dict[str, Tensor]


def losses(system: System, batch: Batch) -> dict[str, Tensor]:
    """The terms of a batch, unweighted, after a second pass over another view where the system has one."""
    output: Output = system(batch)
    further = target_terms(system, output, batch)
    if "class" not in system.target.weights:
        return further
    output.second = system.second_view(output, batch)
    return system.terms(output, batch) | further


class Objective(nn.Module):
    """A system with its loss, as one module, so that a wrapper for several processes holds both."""

    def __init__(self, system: System) -> None:
        super().__init__()
        self.system = system

    def forward(self, batch: Batch, share: Share) -> Loss:
        """The loss of one part of a step."""
        terms = losses(self.system, batch)
        weights = {name: self.system.weights.get(name, 1.0) for name in terms}
        total = sum(
            (
                weights[name] * self._scale(name, share) * term
                for name, term in terms.items()
                if weights[name]
            ),
            start=torch.zeros((), device=batch.labels.device),
        )
        return Loss(total, {name: term.detach() for name, term in terms.items()})

    def _scale(self, name: str, share: Share) -> float:
        match self.system.reductions.get(name, "mean"):
            case "sum":
                return float(share.processes)
            case "gathered":
                return 1.0 / share.parts
            case _:
                return share.labels


def classification_loss(
    logits: Tensor,
    labels: Tensor,
    weight: Tensor | None = None,
    focal: float = 0.0,
    smoothing: float = 0.0,
    scale: Tensor | None = None,
    shift: Tensor | None = None,
) -> Tensor:
    """Cross-entropy of ``logits (…, C)`` with class weights (C,), focal gamma and label smoothing.

    The mean over what is labelled; 0, with a gradient, where nothing is. Logits are multiplied by
    ``scale (C,)`` and ``shift (C,)`` is added, in training alone, so that rare classes get a margin.
    """
    known = labels != IGNORE
    moved = logits[known].float()
    moved = moved if scale is None else moved * scale.to(moved.device)
    moved = moved if shift is None else moved + shift.to(moved.device)
    scores, target = moved.log_softmax(-1), labels[known]  # (n, C), (n,)
    if not len(target):
        return logits.sum() * 0.0
    loss = F.nll_loss(scores, target, reduction="none")
    if smoothing:
        loss = (1 - smoothing) * loss - smoothing * scores.mean(-1)
    if focal:
        loss = loss * (1 - scores.gather(-1, target[:, None])[:, 0].exp()) ** focal
    if weight is not None:
        loss = loss * weight.to(loss.device)[target]
    return loss.mean()


def class_weights(counts: Tensor, effective: float = 1.0, power: float = 1.0) -> Tensor:
    """(C,) inverse frequencies to a ``power``, scaled so that their mean over the labels is 1; 0 for a class
    without any. ``counts (C,)``: how often each class is a label, or the sums of votes.

    ``effective`` below 1: the inverse of (1 - β^n) / (1 - β), the number of samples that are not copies of
    others (Cui et al., CVPR 2019), in place of the number n.
    """
    seen = counts > 0
    numbers = torch.where(seen, counts, 1.0)  # sums of votes may be below 1
    if effective < 1.0:
        numbers = (1.0 - effective**numbers) / (1.0 - effective)
    weights = torch.where(seen, numbers**-power, 0.0)
    return weights * counts.sum() / (weights * counts).sum().clamp(min=1e-12)


def label_counts(labels: Tensor, classes: int) -> Tensor:
    """(C,) how often each class is a label."""
    return torch.bincount(labels[labels != IGNORE], minlength=classes).float()


def margins(counts: Tensor, adjustment: float, scaling: float) -> tuple[Tensor | None, Tensor | None]:
    """The factors and the summands (C,) of logits in training, None where there are none.

    ``adjustment`` τ adds τ log of the class' share (logit adjustment, Menon et al., ICLR 2021); ``scaling`` γ
    multiplies by (n / largest n)^γ (vector scaling, Kini et al., NeurIPS 2021).
    """
    numbers = counts.clamp(min=1.0)
    scale = (numbers / numbers.max()) ** scaling if scaling else None
    return scale, adjustment * (numbers / numbers.sum()).log() if adjustment else None


def set_criteria(system: System, train: Dataset, config: TrainingConfig, weighted: bool) -> None:
    """Give a system the losses of its labels and votes; ``weighted`` by the classes of the training part, by
    the sums of votes where these are what is learned in place of the class."""
    if not (
        weighted
        or config.class_weights
        or config.focal
        or config.smoothing
        or config.adjustment
        or config.scaling
    ):
        return
    counts = label_counts(torch.from_numpy(train.targets), train.dimensions.classes)
    votes = None if "class" in system.target.weights else train.rated("votes")
    summed = counts if votes is None else torch.from_numpy(votes).nansum(0)
    weight = class_weights(summed, config.effective, config.weight_power) if weighted else None
    scale, shift = margins(counts, config.adjustment, config.scaling)
    system.criterion = partial(
        classification_loss,
        weight=weight,
        focal=config.focal,
        smoothing=config.smoothing,
        scale=scale,
        shift=shift,
    )
    system.soft_criterion = partial(soft_cross_entropy, weight=weight, smoothing=config.smoothing)
