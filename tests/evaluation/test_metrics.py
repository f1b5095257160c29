"""The scores agree with scikit-learn and with cases worked by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from undertone.evaluation import metrics


@st.composite
def answers(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, int]:
    """Truth and posteriors over 2 to 7 classes, some of which may never occur."""
    classes, size = draw(st.integers(2, 7)), draw(st.integers(1, 80))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    truth = rng.integers(0, draw(st.integers(1, classes)), size)
    return truth, rng.dirichlet(np.full(classes, 0.5), size), classes


@settings(deadline=None)
@given(answers())
def test_the_scores_are_scikit_learns(case: tuple[np.ndarray, np.ndarray, int]) -> None:
    truth, posterior, classes = case
    said = posterior.argmax(axis=1)
    ours = metrics.summary(truth, posterior, [f"c{c}" for c in range(classes)])
    everyone = list(range(classes))
    per_class = sk.recall_score(truth, said, labels=everyone, average=None, zero_division=np.nan)
    assert ours["wa"] == pytest.approx(sk.accuracy_score(truth, said))
    assert ours["ua"] == pytest.approx(np.nanmean(per_class))
    assert ours["macro_f1"] == pytest.approx(sk.f1_score(truth, said, average="macro"))
    assert ours["weighted_f1"] == pytest.approx(sk.f1_score(truth, said, average="weighted"))
    assert ours["confusion"] == sk.confusion_matrix(truth, said, labels=everyone).tolist()
    assert ours["nll"] == pytest.approx(
        sk.log_loss(truth, np.clip(posterior, 1e-12, None), labels=everyone), rel=1e-6
    )
    square = sum(
        sk.brier_score_loss(truth == c, posterior[:, c], pos_label=1)
        for c in everyone
        if 0 < (truth == c).sum() < len(truth)
    )
    constant = sum(
        np.mean((posterior[:, c] - (truth == c)) ** 2)
        for c in everyone
        if (truth == c).sum() in (0, len(truth))
    )
    assert ours["brier"] == pytest.approx(square + constant)


def test_wa_and_ua_worked_by_hand() -> None:
    # angry: 3 of 4 right; happy: 0 of 1; sad: 5 of 5, and one happy was called sad
    truth = np.array([0, 0, 0, 0, 1, 2, 2, 2, 2, 2])
    said = np.array([0, 0, 0, 1, 2, 2, 2, 2, 2, 2])
    assert metrics.wa(truth, said) == 8 / 10
    assert metrics.ua(truth, said) == pytest.approx((3 / 4 + 0 + 1) / 3)
    assert metrics.f1s(truth, said, 3) == pytest.approx([6 / 7, 0, 10 / 11])
    assert metrics.confusion(truth, said, 3).tolist() == [[3, 1, 0], [0, 0, 1], [0, 0, 5]]


def test_a_class_that_nobody_tests_has_no_recall_and_does_not_lower_ua() -> None:
    truth, said = np.array([0, 0, 1]), np.array([0, 2, 1])
    assert np.isnan(metrics.recalls(truth, said, 4)[2:]).all()
    assert metrics.ua(truth, said, 4) == 0.75


def test_calibration_worked_by_hand() -> None:
    truth = np.array([0, 0, 1, 1])
    posterior = np.array([[0.9, 0.1], [0.8, 0.2], [0.6, 0.4], [0.1, 0.9]])
    # two bins of equal mass: {0.6, 0.8} of which half is right, {0.9, 0.9} all right
    assert metrics.ece(truth, posterior, bins=2) == pytest.approx(0.5 * abs(0.7 - 0.5) + 0.5 * abs(0.9 - 1))
    assert metrics.brier(truth, posterior) == pytest.approx((0.02 + 0.08 + 0.72 + 0.02) / 4)
    assert metrics.nll(truth, posterior) == pytest.approx(-np.log([0.9, 0.8, 0.4, 0.9]).mean())


def test_bins_hold_equal_mass() -> None:
    rng = np.random.default_rng(0)
    posterior = rng.dirichlet(np.full(4, 0.2), 1000)
    counts = [part["count"] for part in metrics.reliability(rng.integers(0, 4, 1000), posterior)]
    assert len(counts) == 15
    assert max(counts) - min(counts) <= 1


@pytest.mark.parametrize("size", [266, 648])
def test_the_floor_is_what_a_calibrated_model_shows(size: int) -> None:
    rng = np.random.default_rng(1)
    posterior = rng.dirichlet(np.full(4, 0.6), size)
    shown = [metrics.ece(np.array([rng.choice(4, p=p) for p in posterior]), posterior) for _ in range(20)]
    assert metrics.ece_floor(posterior) == pytest.approx(np.mean(shown), abs=0.008)
    assert 0.02 < metrics.ece_floor(posterior) < 0.09


def test_an_overconfident_model_stands_above_its_floor() -> None:
    rng = np.random.default_rng(2)
    posterior = np.tile([0.97, 0.03], (500, 1))
    truth = (rng.random(500) > 0.7).astype(int)
    assert metrics.ece(truth, posterior) > 10 * metrics.ece_floor(posterior)


def test_an_abstention_counts_as_wrong_and_leaves_calibration_alone() -> None:
    truth = np.array([0, 1, 1])
    posterior = np.array([[0.9, 0.1], [0.2, 0.8], [np.nan, np.nan]])
    found = metrics.summary(truth, posterior, ["a", "b"])
    assert found["abstained"] == 1
    assert found["wa"] == pytest.approx(2 / 3)
    assert found["ua"] == pytest.approx((1 + 0.5) / 2)
    assert found["confusion"] == [[1, 0], [0, 1]]
    assert found["brier"] == pytest.approx((0.02 + 0.08) / 2)


def test_a_model_that_always_abstains_is_still_measured() -> None:
    found = metrics.summary(np.array([0, 1]), np.full((2, 2), np.nan), ["a", "b"])
    assert (found["wa"], found["ece"]) == (0.0, None)
