"""From rows to figures: against plain counting, with planted truths."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studies.starter.assess.cases import FOUR
from studies.starter.assess.scores import Row
from studies.starter.assess.tables import calibration, gap, product, score, share, table


def rows(count: int, right: float = 0.7, seed: int = 0, sure: float = 0.7) -> list[Row]:
    """Answers that are right as often as planted and as sure as planted."""
    random = np.random.default_rng(seed)
    made = []
    for number in range(count):
        truth = int(random.integers(4))
        said = truth if random.random() < right else int((truth + random.integers(1, 4)) % 4)
        posterior = [sure if label == said else (1 - sure) / 3 for label in range(4)]
        made.append(
            Row(
                str(number),
                "ravdess",
                f"speaker {number % 8}",
                FOUR[truth],
                FOUR[said] if number % 5 else None,
                {"speech": posterior, "fused": posterior},
                {"speech": [0.97 if p == sure else 0.01 for p in posterior]},
            )
        )
    return made


@settings(max_examples=25, deadline=None)
@given(count=st.integers(30, 200), right=st.floats(0.3, 1.0), seed=st.integers(0, 99))
def test_ua_is_what_one_counts_by_hand(count: int, right: float, seed: int) -> None:
    made = rows(count, right, seed)
    by_class = defaultdict(list)
    for row in made:
        said = FOUR[int(np.argmax(row.posteriors["speech"]))]
        by_class[row.truth].append(said == row.truth)
    slow = np.mean([np.mean(hits) for hits in by_class.values()])
    found = score(table(made, "speech"))
    assert found["value"] == pytest.approx(slow, abs=1e-5)
    assert found["low"] <= found["value"] <= found["high"]
    assert found["n"] == count


def test_answers_without_a_truth_or_without_the_side_are_left_out() -> None:
    made = rows(20)
    other = Row("x", "ravdess", "s", None, None, {"speech": [0.25] * 4})
    assert len(table([*made, other], "speech").truth) == 20
    assert len(table(made, "text").truth) == 0
    assert len(table(made, "speech", groups=["emodb"]).truth) == 0
    assert len(table(made, "speech", when=lambda row: row.label is None).truth) == 4


def test_a_calibrated_model_passes_and_an_overconfident_one_does_not() -> None:
    made = rows(4000, right=0.7, sure=0.7)
    honest = calibration(table(made, "speech"), table(made, "speech", raw=True))
    assert honest["ece"] < honest["bound"] == 0.05
    assert honest["nll"] < honest["nll_prior"]
    assert honest["nll"] < honest["nll_uncalibrated"]
    assert honest["brier"] < honest["brier_uncalibrated"]
    boastful = rows(400, right=0.5, sure=0.97)
    found = calibration(table(boastful, "speech"), table(boastful, "fused", raw=True))
    assert found["ece"] > found["bound"] == pytest.approx(found["floor"] + 0.04)
    assert "nll_uncalibrated" not in found, "what the model does not say is not made up"


def test_a_gap_is_the_difference_of_the_two_scores() -> None:
    better, worse = rows(400, right=0.9, seed=1), rows(400, right=0.6, seed=1)
    tables = [table(made, "speech") for made in (better, worse)]
    same = [Row(**{**vars_of(w), "truth": b.truth}) for b, w in zip(better, worse, strict=True)]
    worse_on_same = table(same, "speech")
    found = gap(tables[0], worse_on_same)
    assert found["value"] == pytest.approx(
        score(tables[0])["value"] - score(worse_on_same)["value"], abs=1e-4
    )
    assert found["low"] < found["value"] < found["high"]


def vars_of(row: Row) -> dict[str, object]:
    return {name: getattr(row, name) for name in Row.__dataclass_fields__}


def test_the_product_rule_by_hand() -> None:
    one = table([Row("a", "g", "u", "sad", None, {"fused": [0.5, 0.2, 0.2, 0.1]})])
    other = table([Row("a", "g", "u", "sad", None, {"fused": [0.1, 0.1, 0.7, 0.1]})])
    both = product(one, other).posteriors[0]
    assert both == pytest.approx(np.array([0.05, 0.02, 0.14, 0.01]) / 0.22)
    even = product(one, other, prior=[0.25] * 4).posteriors[0]
    assert even == pytest.approx(both)


def test_a_share_counts_rows_and_its_interval_speakers() -> None:
    found = share(rows(40), lambda row: row.label is None)
    assert found["value"] == 0.2
    assert found["n"] == 40
    assert found["units"] == 8
