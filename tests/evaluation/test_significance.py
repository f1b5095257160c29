"""Intervals hold what was planted, tests are exact, and nothing is more certain than its speakers allow."""

from __future__ import annotations

import importlib.util
import itertools
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from undertone.errors import ProtocolError
from undertone.evaluation.significance import holm, interval, mcnemar, paired, sign_flip, statistic, tally


def _simulation() -> ModuleType:
    path = Path(__file__).parents[2] / "benchmarks" / "coverage.py"
    spec = importlib.util.spec_from_file_location("coverage_simulation", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("units", [5, 8, 10, 18])
@pytest.mark.parametrize(("name", "effect"), [("ua", "even"), ("ua", "speakers"), ("wa", "wild")])
def test_an_interval_holds_the_planted_value_as_often_as_it_says(name: str, effect: str, units: int) -> None:
    held = _simulation().coverage(name, effect, units, repeats=500, seed=7, opponents=False)
    assert 0.92 <= held["ours"] <= 0.98


def test_the_usual_bootstraps_would_not() -> None:
    held = _simulation().coverage("ua", "speakers", 5, repeats=200)
    assert held["percentile"] < 0.9
    assert held["utterances"] < 0.7


def test_in_dyads_sessions_hold_what_speakers_as_units_do_not() -> None:
    units = _simulation().in_dyads("sessions", 5, repeats=400, seed=3)
    assert units["session"]["coverage"] >= 0.92 and units["session"]["size"] <= 0.075
    assert units["speaker"]["coverage"] < 0.9 and units["speaker"]["size"] > 0.09


def _random(seed: int, seeds: int = 3, size: int = 300) -> tuple[np.ndarray, np.ndarray, list[str]]:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 4, size)
    said = np.where(rng.random((seeds, size)) < 0.6, truth, rng.integers(-1, 4, (seeds, size)))
    return truth, said, [f"s{i}" for i in rng.integers(0, 9, size)]


def test_a_tally_of_one_seed_is_the_confusion_matrix_of_each_unit() -> None:
    truth, said, units = _random(0)
    tallies = tally(truth, said[0], units, 4)
    for row, unit in zip(tallies, sorted(set(units)), strict=True):
        mine = np.array(units) == unit
        assert (
            row[:, :4].tolist() == sk.confusion_matrix(truth[mine], said[0][mine], labels=range(4)).tolist()
        )
        assert row[:, 4].sum() == np.sum(said[0][mine] == -1)


def test_seeds_are_averaged_within_an_utterance() -> None:
    truth, said, units = _random(1)
    both = tally(truth, said, units, 4)
    assert both == pytest.approx(sum(tally(truth, one, units, 4) for one in said) / 3)
    for name in ("wa", "ua"):
        alone = [statistic(name)(tally(truth, one, units, 4).sum(axis=0)) for one in said]
        assert statistic(name)(both.sum(axis=0)) == pytest.approx(np.mean(alone))


@settings(deadline=None)
@given(st.integers(0, 10_000))
def test_the_statistics_are_scikit_learns(seed: int) -> None:
    truth, said, units = _random(seed, seeds=1, size=60)
    said = np.abs(said)
    pooled = tally(truth, said, units, 4).sum(axis=0)
    assert statistic("wa")(pooled) == pytest.approx(sk.accuracy_score(truth, said[0]))
    assert statistic("ua")(pooled) == pytest.approx(sk.balanced_accuracy_score(truth, said[0]))
    assert statistic("macro_f1")(pooled) == pytest.approx(sk.f1_score(truth, said[0], average="macro"))
    assert statistic("weighted_f1")(pooled) == pytest.approx(sk.f1_score(truth, said[0], average="weighted"))


def test_an_interval_stays_between_nothing_and_everything() -> None:
    truth = np.arange(40) % 4
    units = [str(i // 8) for i in range(40)]
    said = truth.copy()
    said[0] = 1
    found = interval(tally(truth, said, units, 4))
    assert 0 < found.low < found.value < found.high <= 1
    assert (found.units, found.method) == (5, "t")
    perfect = interval(tally(truth, truth, units, 4))
    assert perfect.value == perfect.high == 1.0


def test_many_units_use_percentiles_and_one_unit_says_nothing() -> None:
    truth, said, _ = _random(2)
    assert interval(tally(truth, said, [str(i % 40) for i in range(300)], 4)).method == "percentile"
    alone = interval(tally(truth, said, ["only"] * 300, 4))
    assert (alone.low, alone.high) == (0.0, 1.0)


def _slow_sign_flip(values: list[float]) -> float:
    sums = [abs(np.dot(signs, values)) for signs in itertools.product((-1, 1), repeat=len(values))]
    return float(np.mean([s >= abs(sum(values)) - 1e-9 for s in sums]))


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(-6, 6).filter(bool), min_size=1, max_size=9))
def test_the_sign_flip_counts_every_flip(values: list[int]) -> None:
    assert sign_flip(np.array(values, float))[0] == pytest.approx(_slow_sign_flip([float(v) for v in values]))


@pytest.mark.parametrize(("units", "smallest"), [(5, 0.0625), (10, 0.001953125), (18, 2**-17)])
def test_units_that_all_agree_show_the_smallest_p_they_can(units: int, smallest: float) -> None:
    p, least = sign_flip(np.arange(1.0, units + 1))
    assert p == least == smallest


def test_forty_units_are_still_exact_and_more_are_drawn() -> None:
    rng = np.random.default_rng(0)
    exact, _ = sign_flip(values := rng.normal(0.3, 1, 40))
    drawn, _ = sign_flip(np.append(values, 1e-7))
    assert exact == pytest.approx(drawn, abs=0.004)


def test_no_difference_is_no_evidence() -> None:
    assert sign_flip(np.zeros(10)) == (1.0, 2**-9)


def test_units_contribute_exactly_the_difference() -> None:
    truth, ours, units = _random(3)
    theirs = _random(4)[1]
    for name in ("wa", "ua"):
        a, b = tally(truth, ours, units, 4), tally(truth, theirs, units, 4)
        found = paired(a, b, name)
        assert found.difference.value == pytest.approx(
            statistic(name)(a.sum(axis=0)) - statistic(name)(b.sum(axis=0))
        )
        swapped = paired(b, a, name)
        assert swapped.p == found.p
        assert swapped.difference.low == pytest.approx(-found.difference.high)


def test_two_equal_systems_are_found_different_no_more_often_than_promised() -> None:
    draw = _simulation().draw
    rng = np.random.default_rng(5)
    ps = []
    for _ in range(300):
        one = draw(rng, 8, (0.5, 0.3, 20.0))
        two = one.copy()
        for unit, c in itertools.product(range(8), range(4)):
            size = int(one[unit, c].sum())
            right = rng.binomial(size, one[unit, c, c] / max(1, size))
            two[unit, c] = 0
            two[unit, c, c], two[unit, c, 4] = right, size - right
            again = rng.binomial(size, one[unit, c, c] / max(1, size))
            one[unit, c], one[unit, c, c], one[unit, c, 4] = 0, again, size - again
        ps.append(paired(one, two, draws=10).p)
    assert np.mean(np.array(ps) <= 0.05) <= 0.08


def test_with_few_units_p_is_below_a_twentieth_just_where_the_interval_leaves_out_nothing() -> None:
    draw = _simulation().draw_dyads
    rng = np.random.default_rng(1)
    for _ in range(60):
        found = paired(*(t.sum(1) for t in draw(rng, 5, (0.4, 0.3, 0.2, 0.2, 20.0, 0.6, 0.1))), draws=300)
        assert (found.test, found.smallest) == ("t", 0.0)
        outside = not found.difference.low <= 0 <= found.difference.high
        assert (found.p < 0.05) == outside


def test_units_that_show_the_same_difference_or_none_at_all() -> None:
    truth, units = np.arange(40) % 4, [str(i // 8) for i in range(40)]
    same = tally(truth, truth, units, 4)
    assert paired(same, same).p == 1.0
    worse = tally(truth, np.where(np.arange(40) % 8 == 0, 1, truth), units, 4)
    assert paired(same, worse).p < 1e-6


def test_a_planted_gain_on_every_speaker_is_found() -> None:
    truth, said, units = _random(6, size=2000)
    better = np.where(np.random.default_rng(0).random(said.shape) < 0.2, truth, said)
    found = paired(tally(truth, better, units, 4), tally(truth, said, units, 4))
    assert found.p == found.smallest == 2**-8
    assert found.difference.low > 0


def test_other_utterances_are_not_paired() -> None:
    truth, said, units = _random(7)
    with pytest.raises(ProtocolError, match="same utterances"):
        paired(tally(truth, said, units, 4), tally(truth[::-1], said, units, 4))


def test_holm_worked_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_mcnemar_worked_by_hand() -> None:
    ours, theirs = np.array([1, 1, 1, 1, 1, 0, 1]), np.array([1, 0, 0, 0, 0, 1, 1])
    assert mcnemar(ours, theirs) == {"only_ours": 4, "only_reference": 1, "p": pytest.approx(0.375)}
    assert mcnemar(ours, ours)["p"] == 1.0
