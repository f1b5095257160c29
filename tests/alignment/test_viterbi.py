"""The fast search against slow obvious ones, and planted paths found again."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from undertone.alignment.viterbi import Durations, Topology, best_lasting_path, best_path


def chain(states: int, skips: list[bool] | None = None) -> Topology:
    """States one after the other, each lasting as long as it likes; ``skips[j]`` allows ``j - 2 → j``."""
    j = np.arange(states)
    skip = np.zeros(states, bool) if skips is None else np.asarray(skips, bool)
    previous = np.stack([j, j - 1, np.where(skip, j - 2, -1)], 1)
    previous[previous < 0] = -1
    first, last = np.full((2, states), -np.inf, np.float32)
    first[:1], last[-1:] = 0, 0
    return Topology(previous, np.zeros(previous.shape, np.float32), first, last)


def slow_best(scores: np.ndarray, topology: Topology) -> float:
    """Every sequence of states, one by one."""
    steps, states = scores.shape
    arc = np.full((states, states), -np.inf)
    for j, k in itertools.product(range(states), range(topology.previous.shape[1])):
        if topology.previous[j, k] >= 0:
            arc[topology.previous[j, k], j] = topology.arcs[j, k]
    best = -np.inf
    for path in itertools.product(range(states), repeat=steps):
        total = topology.first[path[0]] + topology.last[path[-1]]
        total += sum(scores[t, s] for t, s in enumerate(path))
        total += sum(arc[a, b] for a, b in itertools.pairwise(path))
        best = max(best, total)
    return float(best)


def score_of(path: np.ndarray, scores: np.ndarray, topology: Topology) -> float:
    total = topology.first[path[0]] + topology.last[path[-1]] + scores[np.arange(len(path)), path].sum()
    for a, b in itertools.pairwise(path):
        total += topology.arcs[b][topology.previous[b] == a].max()
    return float(total)


def random_topology(rng: np.random.Generator, states: int) -> Topology:
    previous = np.stack([rng.permutation(states)[: min(3, states)] for _ in range(states)])
    previous[rng.random(previous.shape) < 0.3] = -1
    first, last = rng.normal(size=(2, states)).astype(np.float32)
    return Topology(previous, rng.normal(size=previous.shape).astype(np.float32), first, last)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 5), st.integers(1, 4), st.integers(0, 10**6))
def test_the_best_path_is_the_best_of_all(steps: int, states: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores, topology = rng.normal(size=(steps, states)).astype(np.float32), random_topology(rng, states)
    path, score = best_path(scores, topology)
    assert score == pytest.approx(slow_best(scores, topology), abs=1e-4)
    if len(path):
        assert score_of(path, scores, topology) == pytest.approx(score, abs=1e-4)


def slow_lasting(scores: np.ndarray, topology: Topology, durations: Durations) -> float:
    """Cell by cell, one state at a time, in plain Python."""
    steps, states = scores.shape
    cells = durations.leave.shape[1]
    alive = {(s, 0): float(topology.first[s] + scores[0, s]) for s in range(states)}
    for t in range(1, steps):
        new: dict[tuple[int, int], float] = {}
        for (s, c), score in alive.items():
            ways = [((s, min(c + 1, cells - 1)), score + durations.stay[s, c])]
            for j, k in zip(*np.nonzero(topology.previous == s), strict=True):
                ways.append(((int(j), 0), score + durations.leave[s, c] + topology.arcs[j, k]))
            for (state, cell), value in ways:
                new[state, cell] = max(new.get((state, cell), -np.inf), float(value + scores[t, state]))
        alive = new
    ends = [score + durations.leave[s, c] + topology.last[s] for (s, c), score in alive.items()]
    return float(max(ends, default=-np.inf))


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 9), st.integers(1, 4), st.integers(1, 4), st.integers(0, 10**6))
def test_the_best_lasting_path_is_what_counting_cells_finds(
    steps: int, states: int, cells: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(steps, states)).astype(np.float32)
    topology = random_topology(rng, states)
    topology.previous[topology.previous == np.arange(states)[:, None]] = -1  # no state follows itself
    durations = Durations(*rng.normal(size=(2, states, cells)).astype(np.float32))
    path, score = best_lasting_path(scores, topology, durations)
    assert score == pytest.approx(slow_lasting(scores, topology, durations), abs=1e-4)
    if len(path):
        total = topology.first[path[0]] + topology.last[path[-1]] + scores[np.arange(steps), path].sum()
        runs = [(s, len(list(g))) for s, g in itertools.groupby(path.tolist())]
        for state, length in runs:
            held = [min(i, cells - 1) for i in range(length)]
            total += sum(durations.stay[state, c] for c in held[:-1]) + durations.leave[state, held[-1]]
        for (a, _), (b, _) in itertools.pairwise(runs):
            total += topology.arcs[b][topology.previous[b] == a].max()
        assert float(total) == pytest.approx(score, abs=1e-4)


def test_a_planted_path_is_found() -> None:
    rng = np.random.default_rng(3)
    planted = np.repeat(np.arange(20), rng.integers(1, 9, 20))
    scores = rng.normal(size=(len(planted), 20))
    scores[np.arange(len(planted)), planted] += 12
    assert best_path(scores, chain(20))[0].tolist() == planted.tolist()


def test_no_path_fits_into_too_few_steps() -> None:
    path, score = best_path(np.zeros((3, 5)), chain(5))
    assert len(path) == 0 and score == -np.inf
    assert best_path(np.zeros((0, 2)), chain(2))[1] == -np.inf


def test_skips_are_taken_only_where_allowed() -> None:
    scores = np.full((2, 3), -10.0)
    scores[0, 0] = scores[1, 2] = 0
    assert best_path(scores, chain(3))[1] == -np.inf
    assert best_path(scores, chain(3, [False, False, True]))[0].tolist() == [0, 2]
