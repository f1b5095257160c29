"""Heads of targets on a detached trunk, solved at the end for the trunk that the class has ended with.

Trained along with it, step by step, they follow a trunk that moves, by noisy estimates of CCC from small
batches. Their losses over the whole training part with a penalty on the weights have a minimum of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor

from undertone.models.system import System
from undertone.models.targets import TargetHeads, TargetKind, minimise, target_loss, truth_of
from undertone.training.batching import evaluation_batches
from undertone.training.dataset import Dataset

__all__ = ["solve_heads"]

STRENGTH = 0.1
"""Inverse of the penalty, as of the probe; 0.03 to 1 are about as good on the demo's validation parts."""


def solve_heads(system: System, train: Dataset, size: int) -> None:
    """Set every head to the minimum of its losses over the training part, read as in evaluation."""
    rows, truth = _read(system, train, size)
    for name, heads in system.aimed().items():
        known = {kind: truth[name, kind] for kind in system.target.further if (name, kind) in truth}
        minimise(heads, partial(_loss, system, heads, rows[name], known), len(rows[name]), STRENGTH)


def _loss(system: System, heads: TargetHeads, rows: Tensor, known: Mapping[TargetKind, Tensor]) -> Tensor:
    made = heads(rows)
    losses = [
        system.weights[f"{kind} target"] * target_loss(system, kind, made, known[kind])
        for kind in system.target.further
        if kind in known
    ]
    return torch.stack(losses).sum()


@torch.no_grad()
def _read(
    system: System, train: Dataset, size: int
) -> tuple[dict[str, Tensor], dict[tuple[str, str], Tensor]]:
    """By member what its heads take (n, D), and by target what they should give (n, …)."""
    rows: dict[str, list[Tensor]] = {}
    truth: dict[tuple[str, str], list[Tensor]] = {}
    system.eval()
    for part in evaluation_batches(train.lengths, size):
        batch = train.batch(part).to(system.temperature.device)
        output = system(batch)
        for name in output.targets:
            rows.setdefault(name, []).append(output.extra[f"heads {name}"].float().flatten(0, -2))
            for kind in system.target.further:
                wanted = truth_of(system, output, batch, name, kind)
                if wanted is not None:
                    truth.setdefault((name, kind), []).append(wanted.flatten(0, -2))
    return {k: torch.cat(v) for k, v in rows.items()}, {k: torch.cat(v) for k, v in truth.items()}
