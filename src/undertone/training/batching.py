"""Which utterances make up each step of an epoch.

A batch holds utterances of similar length, so that little of it is padding: the shuffled order is cut into
pools of some batches, each pool is sorted by length and cut into batches, and the batches are shuffled
again. The plan depends on the seed and the epoch alone, so every process of a distributed run and every
resumed run makes the same one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from undertone.models.example import IGNORE

if TYPE_CHECKING:
    from undertone.training.config import Sampling

__all__ = ["TrainingStep", "deal", "evaluation_batches", "plan_epoch"]

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class TrainingStep:
    """One step of one process."""

    parts: tuple[Indices, ...]
    """The utterances of each forward pass, none empty."""
    whole: Indices
    """The utterances of the step over all processes and parts."""


def plan_epoch(
    lengths: NDArray[np.int64],
    labels: NDArray[np.int64],
    *,
    batch: int,
    pool: int = 16,
    sampling: Sampling = "shuffle",
    seed: int = 0,
    epoch: int = 0,
) -> list[Indices]:
    """The batches of an epoch, as indices into ``lengths (n,)``; with ``shuffle`` each index occurs once."""
    random = np.random.default_rng([seed, epoch])
    order = _ORDERS[sampling](labels, random)
    batches: list[Indices] = []
    for start in range(0, len(order), batch * pool):
        members = order[start : start + batch * pool]
        if pool > 1:
            members = members[np.argsort(lengths[members], kind="stable")]
        batches += [members[i : i + batch] for i in range(0, len(members), batch)]
    return [batches[i] for i in random.permutation(len(batches))]


def _shuffled(labels: NDArray[np.int64], random: np.random.Generator) -> Indices:
    return random.permutation(len(labels))


def _balanced(labels: NDArray[np.int64], random: np.random.Generator) -> Indices:
    """As many draws as there are utterances, every class equally likely."""
    _, inverse, counts = np.unique(labels, return_inverse=True, return_counts=True)
    chance = 1.0 / counts[inverse]
    return random.choice(len(labels), size=len(labels), p=chance / chance.sum())


def _undersampled(labels: NDArray[np.int64], random: np.random.Generator) -> Indices:
    """Of each class as many as the rarest has, and at most as many without one; none twice."""
    classes, counts = np.unique(labels, return_counts=True)
    size = counts[classes != IGNORE].min(initial=len(labels))
    drawn = [random.permutation(np.flatnonzero(labels == name))[:size] for name in classes]
    return random.permutation(np.concatenate(drawn))


_ORDERS = {"shuffle": _shuffled, "balanced": _balanced, "undersampled": _undersampled}


def deal(
    batches: Sequence[Indices], *, rank: int = 0, processes: int = 1, parts: int = 1
) -> Iterator[TrainingStep]:
    """This process' share of each batch, cut into parts; batches too small for all processes are left out.

    Utterances of similar length go to different processes, so that none waits for another.
    """
    for whole in batches:
        share = whole[rank::processes]
        if len(whole) < processes:
            continue
        count = min(parts, len(whole) // processes)
        yield TrainingStep(tuple(part for part in np.array_split(share, count) if len(part)), whole)


def evaluation_batches(lengths: NDArray[np.int64], batch: int) -> list[Indices]:
    """Every index once, in batches of similar length, the longest first so that memory fails early."""
    order = np.argsort(-lengths, kind="stable")
    return [order[i : i + batch] for i in range(0, len(order), batch)]
