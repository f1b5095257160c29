"""What the final model takes from the folds: epochs, the weights of members, and the temperature."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from undertone.errors import TrainingError
from undertone.files import whole
from undertone.models.example import IGNORE
from undertone.models.system import System
from undertone.training.inference import softmax
from undertone.training.loop import Fitted

__all__ = ["FoldResult", "combine_from", "combine_like", "fold_metrics", "median_epochs", "read_folds"]

STATE = "state.safetensors"
VALIDATION = "validation.npz"


@dataclass(frozen=True)
class FoldResult:
    """A finished fold: its metrics, and what was predicted of its validation part."""

    name: str
    seed: int
    metrics: dict[str, Any]
    members: dict[str, NDArray[np.float32]]
    """Validation posteriors (n, C) by member."""
    labels: NDArray[np.int64]
    temperature: float


def write_validation(folder: Path, fitted: Fitted) -> None:
    """Keep the members' posteriors of the validation part, for the final model's combination."""
    outputs = fitted.validation
    assert outputs is not None
    known = outputs.labels != IGNORE
    arrays: dict[str, Any] = {
        f"member/{name}": softmax(logits[known]) for name, logits in outputs.members.items()
    }
    arrays |= {"labels": outputs.labels[known], "temperature": np.array(float(fitted.system.temperature))}
    with whole(folder / VALIDATION) as part:
        np.savez(part, **arrays)


def read_folds(run: Path, folds: Sequence[str], seeds: int) -> list[FoldResult]:
    """The folds of a run that are finished; at least one is needed."""
    results = [
        _read(run / fold / str(seed), fold, seed)
        for fold in folds
        for seed in range(seeds)
        if (run / fold / str(seed) / "metrics.json").is_file()
    ]
    if not results:
        raise TrainingError(f"{run}: no fold was finished, so there is nothing to base a final model on")
    return results


def _read(folder: Path, fold: str, seed: int) -> FoldResult:
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    with np.load(folder / VALIDATION, allow_pickle=False) as kept:
        members = {k.removeprefix("member/"): kept[k] for k in kept.files if k.startswith("member/")}
        return FoldResult(fold, seed, metrics, members, kept["labels"], float(kept["temperature"]))


def median_epochs(folds: Sequence[FoldResult]) -> dict[str, int]:
    """By member: the median of the folds' best epochs."""
    names = folds[0].metrics["best_epoch"]
    return {name: round(median(f.metrics["best_epoch"][name] for f in folds)) for name in names}


def middle_temperature(folds: Sequence[FoldResult]) -> float:
    """The geometric mean of the folds' temperatures."""
    return float(np.exp(np.mean(np.log([f.temperature for f in folds]))))


def combine_from(system: System, folds: Sequence[FoldResult]) -> None:
    """Weight the members by the folds' posteriors of their validation parts, all taken together."""
    labels = torch.from_numpy(np.concatenate([f.labels for f in folds]))
    members = {
        name: torch.from_numpy(np.concatenate([f.members[name] for f in folds])) for name in folds[0].members
    }
    system.fit_combination(members, labels)


def combine_like(system: System, fitted: Sequence[Fitted]) -> None:
    """Weight the members by the posteriors of the validation parts of finished fits."""
    outputs = [f.validation for f in fitted if f.validation is not None]
    known = [o.labels != IGNORE for o in outputs]
    labels = torch.from_numpy(np.concatenate([o.labels[k] for o, k in zip(outputs, known, strict=True)]))
    members = {
        name: torch.from_numpy(
            np.concatenate([softmax(o.members[name][k]) for o, k in zip(outputs, known, strict=True)])
        )
        for name in outputs[0].members
    }
    system.fit_combination(members, labels)


def fold_metrics(folds: Sequence[FoldResult]) -> Mapping[str, Any]:
    """The folds' headline metrics, for the final model's card: it has no test part of its own."""
    names = ("wa", "ua", "macro_f1", "weighted_f1")
    return {
        "mean": {name: fmean(f.metrics[name] for f in folds) for name in names},
        "each": [
            {"fold": f.name, "seed": f.seed, **{name: f.metrics[name] for name in names}} for f in folds
        ],
    }
