"""Which epoch each member ends at: its best on the validation part, and on no other part."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from undertone.labels.rated import ccc
from undertone.models.example import IGNORE
from undertone.models.system import System
from undertone.models.targets import target_loss
from undertone.training.dataset import Dataset
from undertone.training.inference import Outputs, infer, softmax
from undertone.training.state import Progress, Weights

__all__ = ["Score", "combine", "keep_best", "keep_planned", "restore"]

Score = Callable[[NDArray[np.int64], NDArray[np.float32]], float]
"""Labels (n,) and posteriors (n, C) to one number, the higher the better."""


def keep_best(
    system: System,
    validation: Dataset,
    score: Score,
    progress: Progress,
    best: dict[str, Weights],
    always: bool = False,
) -> dict[str, float]:
    """Keep the weights of each member that has never been better, or ``always``; returns the validation
    metrics."""
    outputs = infer(system, validation)
    known = outputs.labels != IGNORE
    labels = outputs.labels[known]
    progress.stale += 1
    for name, member in system.members().items():
        if system.target.judged == "class":
            posteriors = softmax(outputs.members[name][known])
            merit = (score(labels, posteriors), -_loss(labels, posteriors))
        else:
            merit = (_rated(system, validation, outputs.targets[name]), 0.0)
        if always or name not in progress.best or merit > progress.best[name]:
            progress.best[name], progress.best_epoch[name] = merit, progress.epoch
            progress.stale = 0
            best[name] = {k: v.detach().clone() for k, v in member.state_dict().items()}
    record = {}
    if known.any():
        fused = softmax(outputs.logits[known])
        record = {"validation_ua": score(labels, fused), "validation_loss": _loss(labels, fused)}
    if system.target.judged != "class":
        record["validation_target"] = float(
            np.mean([_rated(system, validation, t) for t in outputs.targets.values()])
        )
    return record


def _rated(system: System, validation: Dataset, made: Mapping[str, NDArray[np.float32]]) -> float:
    """How well a member's heads do where the class is no target, the higher the better: of votes minus the
    divergence or the binary cross-entropy, of dimensions alone their mean CCC."""
    kind = system.target.judged
    truth = validation.rated("ratings" if kind is None else "votes")
    if truth is None:
        return 0.0
    known = np.isfinite(truth)
    if kind is None:
        columns = range(truth.shape[1])
        values = [ccc(truth[known[:, c], c], made["dimensions"][known[:, c], c]) for c in columns]
        return float(np.nan_to_num(values).mean())
    rows = known.all(1)
    loss = target_loss(
        system, kind, {kind: torch.from_numpy(made[kind][rows])}, torch.from_numpy(truth[rows])
    )
    return -float(loss)


def keep_planned(
    system: System, ends: Mapping[str, int], progress: Progress, best: dict[str, Weights]
) -> None:
    """Keep the weights of each member whose last epoch this is."""
    for name, member in system.members().items():
        if ends[name] == progress.epoch:
            progress.best_epoch[name] = progress.epoch
            best[name] = {k: v.detach().clone() for k, v in member.state_dict().items()}


def restore(system: System, best: dict[str, Weights]) -> None:
    """Give every member its kept weights."""
    members: dict[str, Any] = dict(system.members())
    for name, weights in best.items():
        members[name].load_state_dict(weights)


def combine(system: System, validation: Dataset) -> Outputs:
    """Fit the members' weights on the validation part; returns the combined outputs for it."""
    outputs = infer(system, validation)
    known = outputs.labels != IGNORE
    posteriors = {name: torch.from_numpy(softmax(x[known])) for name, x in outputs.members.items()}
    if system.target.judged == "class":
        system.fit_combination(posteriors, torch.from_numpy(outputs.labels[known]))
    return infer(system, validation) if len(posteriors) > 1 else outputs


def _loss(labels: NDArray[np.int64], posteriors: NDArray[np.float32]) -> float:
    """Mean negative log posterior of the labels."""
    return float(-np.log(np.maximum(posteriors[np.arange(len(labels)), labels], 1e-12)).mean())
