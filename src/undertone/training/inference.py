"""A system's outputs for a dataset, in the dataset's order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from undertone.models.batch import Batch
from undertone.models.system import Output, System
from undertone.models.targets import target_asides
from undertone.training.batching import evaluation_batches
from undertone.training.dataset import Dataset

__all__ = ["Outputs", "infer", "softmax"]

Matrix = NDArray[np.float32]


@dataclass(frozen=True)
class Outputs:
    """Logits of all n that are scored, in the order of ``Dataset.turns``."""

    ids: list[str]
    labels: NDArray[np.int64]
    """(n,), IGNORE where there is none"""
    logits: Matrix
    """(n, C): the fused perspective"""
    branches: dict[str, Matrix] = field(default_factory=dict)
    """(n, C) of ``speech`` and ``text``, where the system has them"""
    members: dict[str, Matrix] = field(default_factory=dict)
    """(n, C) by member; of a system of one, its logits under the empty name"""
    targets: dict[str, dict[str, Matrix]] = field(default_factory=dict)
    """By member what the heads of targets beside the class give"""
    asides: dict[str, Matrix] = field(default_factory=dict)
    """What all of them give together, by ``targets.target_asides``"""
    fused: Matrix | None = None
    """(n, D) pooled vectors for the embedding map, where the system has them"""

    @property
    def posteriors(self) -> Matrix:
        """(n, C)"""
        return softmax(self.logits)


def softmax(logits: Matrix) -> Matrix:
    """Rows that sum to 1."""
    shifted = np.exp(logits - logits.max(-1, keepdims=True))
    posteriors: Matrix = shifted / shifted.sum(-1, keepdims=True)
    return posteriors


def infer(system: System, dataset: Dataset, batch: int = 64) -> Outputs:
    """The outputs for every example, in evaluation mode; the system's mode is restored."""
    training = system.training
    system.eval()
    try:
        with torch.inference_mode():
            pieces = [_piece(system, *pair) for pair in _run(system, dataset, batch)]
    finally:
        system.train(training)
    return _in_order(pieces, dataset)


def _run(system: System, dataset: Dataset, size: int) -> Iterator[tuple[Batch, Output]]:
    device = system.speech_mean.device
    for indices in evaluation_batches(dataset.lengths, size):
        batch = dataset.batch(indices).to(device)
        yield batch, system(batch)


@dataclass
class _Piece:
    """One batch's outputs, a row for everything scored."""

    ids: list[str]
    columns: dict[str, Matrix]


def _piece(system: System, batch: Batch, output: Output) -> _Piece:
    values = {"logits": output.logits, **{f"member {k}": v for k, v in output.members.items()}}
    values |= {f"branch {name}": v for name, v in output.sides().items() if name != "fused"}
    values |= {f"target {m}/{kind}": v for m, made in output.targets.items() for kind, v in made.items()}
    values |= {f"aside {name}": v for name, v in target_asides(system, output).items()}
    if "fused" in output.vectors:
        values["fused"] = output.vectors["fused"]
    if not batch.turns:
        return _Piece(list(batch.ids), {k: _numpy(v) for k, v in values.items()})
    lengths = [len(t) for t in batch.turns]
    rows = {
        k: np.concatenate([_numpy(v[i, :n]) for i, n in enumerate(lengths)])
        for k, v in values.items()
        if v.ndim == 3  # (B, U, C); what a dialogue has once belongs to no turn
    }
    return _Piece([turn for turns in batch.turns for turn in turns], rows)


def _in_order(pieces: list[_Piece], dataset: Dataset) -> Outputs:
    ids = [name for piece in pieces for name in piece.ids]
    place = {name: i for i, name in enumerate(ids)}
    turns = dataset.turns
    assert len(place) == len(turns), "ids must be unique within a dataset"
    order = np.array([place[name] for name in turns])
    columns = {key: np.concatenate([p.columns[key] for p in pieces])[order] for key in pieces[0].columns}
    members = {k.removeprefix("member "): v for k, v in columns.items() if k.startswith("member ")}
    targets: dict[str, dict[str, Matrix]] = {}
    for key, values in columns.items():
        if key.startswith("target "):
            member, _, kind = key.removeprefix("target ").rpartition("/")
            targets.setdefault(member, {})[kind] = values
    return Outputs(
        ids=turns,
        targets=targets,
        asides={k.removeprefix("aside "): v for k, v in columns.items() if k.startswith("aside ")},
        labels=dataset.targets,
        logits=columns["logits"],
        branches={k.removeprefix("branch "): v for k, v in columns.items() if k.startswith("branch ")},
        members=members or {"": columns["logits"]},
        fused=columns.get("fused"),
    )


def _numpy(tensor: Tensor) -> Matrix:
    array: Matrix = tensor.detach().float().cpu().numpy()
    return array
