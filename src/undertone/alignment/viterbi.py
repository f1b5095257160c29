"""The best path through a lattice of scores: pure arithmetic, all states of a step at once.

    time →      t-1        t
    state j   (j) ────────(j)     previous[j]: the states from which j can be
                 ╲       ╱        entered, itself among them if it may last;
    state i   (i)──╲────╱         arcs[j]: the log weight of each of these steps

Hidden Markov models and CTC differ in ``previous`` only. Where the duration of a state has a weight,
``best_lasting_path`` counts it: state j is then a row of cells, one a step,

    enter → [1] → [2] → … → [n]⟲     each is left with a weight of its own
             ↓     ↓         ↓
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["NONE", "Durations", "Topology", "best_lasting_path", "best_path"]

NONE = -1
"""In place of a predecessor, where a state has fewer than others."""


@dataclass(frozen=True)
class Topology:
    """Which state may follow which: S states, at most K predecessors each."""

    previous: NDArray[np.int64]
    """``(S, K)``: predecessors, ``-1`` for none."""
    arcs: NDArray[np.float32]
    """``(S, K)``: log weights of those steps."""
    first: NDArray[np.float32]
    """``(S,)``: log weight of beginning here, ``-inf`` where a path cannot."""
    last: NDArray[np.float32]
    """``(S,)``: log weight of ending here."""

    @property
    def states(self) -> int:
        return len(self.first)


@dataclass(frozen=True)
class Durations:
    """Weights of staying in a state and of leaving it after 1, 2 … n steps or more."""

    stay: NDArray[np.float32]
    """``(S, n)`` log weights; the last column is the self loop of all longer durations."""
    leave: NDArray[np.float32]
    """``(S, n)`` log weights."""


def best_path(scores: NDArray[Any], topology: Topology) -> tuple[NDArray[np.int64], float]:
    """The states ``(T,)`` of the best path through ``scores (T, S)``, and its score.

    The score is ``-inf``, and the path empty, where no path fits into T steps.
    """
    emissions = scores.astype(np.float32)
    steps, states = emissions.shape
    if not steps:
        return _no_path()
    own = np.arange(states)
    previous, arcs, alive = _padded(topology)
    alive[:states] += emissions[0]
    choices = np.zeros((steps, states), np.uint8)
    for t in range(1, steps):
        candidates = alive[previous] + arcs
        choices[t] = choice = candidates.argmax(1)
        alive[:states] = candidates[own, choice] + emissions[t]
    final = alive[:states] + topology.last
    end = int(final.argmax())
    if not np.isfinite(final[end]):
        return _no_path()
    return _trace(choices, previous, end), float(final[end])


def _no_path() -> tuple[NDArray[np.int64], float]:
    return np.zeros(0, np.int64), float("-inf")


def _padded(topology: Topology) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.float32]]:
    """Predecessors and arcs ``(S, K)``, and the scores before the first step ``(S + 1,)``.

    State S does not exist and scores ``-inf``: missing predecessors point to it.
    """
    missing = topology.previous == NONE
    previous = np.where(missing, topology.states, topology.previous)
    arcs = np.where(missing, -np.inf, topology.arcs).astype(np.float32)
    return previous, arcs, np.append(topology.first, -np.inf).astype(np.float32)


def _trace(choices: NDArray[np.uint8], previous: NDArray[np.int64], end: int) -> NDArray[np.int64]:
    path = np.empty(len(choices), np.int64)
    state = end
    for t in range(len(choices) - 1, -1, -1):
        path[t] = state
        state = int(previous[state, choices[t, state]])
    return path


def best_lasting_path(
    scores: NDArray[Any], topology: Topology, durations: Durations
) -> tuple[NDArray[np.int64], float]:
    """The states ``(T,)`` of the best path with weighted durations, and its score.

    Where no path fits they are empty and ``-inf``. No state of ``topology`` is its own predecessor:
    its loop is in ``durations``.
    """
    steps, states = scores.shape
    cells = durations.leave.shape[1]
    own = np.arange(states)
    previous, arcs, begin = _padded(topology)
    alive = np.full((states, cells), -np.inf, np.float32)
    leaving = np.full(states + 1, -np.inf, np.float32)  # the last one does not exist
    entered = np.zeros((steps, states), np.uint8)  # from which predecessor a state was entered
    left = np.zeros((steps, states), np.uint8)  # from which cell a state was left after this step
    looped = np.zeros((steps, states), bool)  # whether the last cell was kept
    for t in range(steps):
        if t == 0:
            alive[:, 0] = begin[:states]
        else:
            candidates = leaving[previous] + arcs
            entered[t] = choice = candidates.argmax(1)
            loop = alive[:, -1] + durations.stay[:, -1]
            alive[:, 1:] = alive[:, :-1] + durations.stay[:, :-1]
            alive[:, 0] = candidates[own, choice]
            looped[t] = loop > alive[:, -1]
            np.maximum(alive[:, -1], loop, out=alive[:, -1])
        alive += scores[t][:, None]
        exits = alive + durations.leave
        left[t] = cell = exits.argmax(1)
        leaving[:states] = exits[own, cell]
    final = leaving[:states] + topology.last
    end = int(final.argmax()) if steps else 0
    if not steps or not np.isfinite(final[end]):
        return _no_path()
    path = np.empty(steps, np.int64)
    state, cell_now = end, int(left[-1, end])
    for t in range(steps - 1, -1, -1):
        path[t] = state
        if looped[t, state] and cell_now == cells - 1:
            continue
        if cell_now > 0:
            cell_now -= 1
        elif t:
            state = int(previous[state, entered[t, state]])
            cell_now = int(left[t - 1, state])
    return path, float(final[end])
