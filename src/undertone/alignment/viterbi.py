"""The best path through a lattice of scores: pure arithmetic, every state of a step at once.

    time →      t-1        t
    state j   (j) ────────(j)     previous[j] lists the states from which j can be
                 ╲       ╱        entered, itself among them if it may last;
    state i   (i)──╲────╱         arcs[j] what each of these steps weighs (log)

Hidden Markov models and CTC are both this with other ``previous``. Where a state's time matters,
``best_lasting_path`` asks how long it has lasted: state j is then a row of cells, one a step,

    enter → [1] → [2] → … → [n]⟲     each may be left with its own weight
             ↓     ↓         ↓
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["NONE", "Durations", "Topology", "best_lasting_path", "best_path", "best_paths"]

NONE = -1
"""Where a state has fewer predecessors than others."""


@dataclass(frozen=True)
class Topology:
    """Which state may follow which. S states, at most K predecessors each."""

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
    """How long states last: weights of going on and of leaving after 1, 2 … n steps or more."""

    stay: NDArray[np.float32]
    """``(S, n)`` log weights; the last column is the self loop of all longer times."""
    leave: NDArray[np.float32]
    """``(S, n)``"""


def best_path(scores: NDArray[Any], topology: Topology) -> tuple[NDArray[np.int64], float]:
    """The states ``(T,)`` of the best path through ``scores (T, S)``, and its score.

    The score is ``-inf``, and the path empty, where no path fits into T steps.
    """
    (path,), (score,) = best_paths([scores], [topology])
    return path, float(score)


def best_paths(
    scores: Sequence[NDArray[Any]], topologies: Sequence[Topology]
) -> tuple[list[NDArray[np.int64]], NDArray[np.float64]]:
    """``best_path`` of several lattices at once, the same whatever its neighbours."""
    batch = len(scores)
    lengths = np.array([len(s) for s in scores], int)
    steps, width = max(lengths, default=0), max((t.states for t in topologies), default=0)
    if steps == 0 or width == 0:
        return [np.zeros(0, np.int64) for _ in scores], np.full(batch, -np.inf)
    emissions = np.full((batch, steps, width), -np.inf, np.float32)
    for b, (own, topology) in enumerate(zip(scores, topologies, strict=True)):
        emissions[b, : len(own), : topology.states] = own
    previous, arcs, alive = _padded(topologies, width)
    alive[:, :width] += emissions[:, 0]
    rows = np.arange(batch)[:, None, None]
    choices = np.zeros((steps, batch, width), np.uint8)
    final = alive.copy()
    for t in range(1, steps):
        candidates = alive[rows, previous] + arcs
        choices[t] = choice = candidates.argmax(2)
        alive[:, :width] = np.take_along_axis(candidates, choice[..., None], 2)[..., 0] + emissions[:, t]
        final[t < lengths] = alive[t < lengths]
    for b, topology in enumerate(topologies):
        final[b, : topology.states] += topology.last
    ends = final[:, :width].argmax(1)
    best = np.where(lengths > 0, final[np.arange(batch), ends].astype(float), -np.inf)
    paths = []
    for b in range(batch):
        reached = bool(np.isfinite(best[b]))
        paths.append(_trace(choices[: lengths[b], b], previous[b], int(ends[b])) if reached else ends[:0])
    return paths, best


def _padded(
    topologies: Sequence[Topology], width: int
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.float32]]:
    """Predecessors and arcs ``(B, S, K)`` and the scores before the first step ``(B, S + 1)``.

    State S is where nobody is: a missing predecessor points there.
    """
    most = max(t.previous.shape[1] for t in topologies)
    previous = np.full((len(topologies), width, most), width, np.int64)
    arcs = np.full(previous.shape, -np.inf, np.float32)
    alive = np.full((len(topologies), width + 1), -np.inf, np.float32)
    for b, topology in enumerate(topologies):
        states, k = topology.previous.shape
        previous[b, :states, :k] = np.where(topology.previous == NONE, width, topology.previous)
        arcs[b, :states, :k] = topology.arcs
        alive[b, :states] = topology.first
    return previous, arcs, alive


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
    """The best path when each state's time has a weight; ``previous`` then lists no state itself.

    ``(T,)`` states and the score; empty and ``-inf`` where no path fits.
    """
    steps, states = scores.shape
    cells = durations.leave.shape[1]
    own = np.arange(states)
    previous, arcs, begin = (a[0] for a in _padded([topology], states))
    alive = np.full((states, cells), -np.inf, np.float32)
    leaving = np.full(states + 1, -np.inf, np.float32)  # the last one is where nobody is
    came = np.zeros((steps, states), np.uint8)  # which predecessor a state was entered from
    left = np.zeros((steps, states), np.uint8)  # from which cell a state was left after this step
    looped = np.zeros((steps, states), bool)  # whether the last cell held itself
    for t in range(steps):
        if t == 0:
            alive[:, 0] = begin[:states]
        else:
            candidates = leaving[previous] + arcs
            came[t] = choice = candidates.argmax(1)
            loop = alive[:, -1] + durations.stay[:, -1]
            alive[:, 1:] = alive[:, :-1] + durations.stay[:, :-1]
            alive[:, 0] = candidates[own, choice]
            looped[t] = loop > alive[:, -1]
            np.maximum(alive[:, -1], loop, out=alive[:, -1])
        alive += scores[t][:, None]
        going = alive + durations.leave
        left[t] = cell = going.argmax(1)
        leaving[:states] = going[own, cell]
    final = leaving[:states] + topology.last
    end = int(final.argmax()) if steps else 0
    if not steps or not np.isfinite(final[end]):
        return np.zeros(0, np.int64), float("-inf")
    path = np.empty(steps, np.int64)
    state, cell_now = end, int(left[-1, end])
    for t in range(steps - 1, -1, -1):
        path[t] = state
        if looped[t, state] and cell_now == cells - 1:
            continue
        if cell_now > 0:
            cell_now -= 1
        elif t:
            state = int(previous[state, came[t, state]])
            cell_now = int(left[t - 1, state])
    return path, float(final[end])
