"""Rows of predictions as arrays, and the scores that everything else is put together from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from studies.starter.assess.cases import EIGHT, FOUR
from studies.starter.assess.scores import Row
from undertone.evaluation import metrics, significance

__all__ = ["Table", "calibration", "gap", "product", "score", "share", "table"]

BINS = 10
ENOUGH = 1000
"""From this many answers on a calibration error is more than noise."""


@dataclass(frozen=True)
class Table:
    """N answers whose truth is known."""

    truth: NDArray[np.intp]
    posteriors: NDArray[np.float64]
    """(N, C), or (folds, N, C) of several models on the same cases."""
    units: Sequence[str]

    @property
    def predicted(self) -> NDArray[np.intp]:
        return np.asarray(self.posteriors.argmax(-1))

    @property
    def classes(self) -> int:
        return int(self.posteriors.shape[-1])


def table(
    rows: Sequence[Row],
    side: str = "fused",
    *,
    groups: Sequence[str] = (),
    when: Callable[[Row], bool] | None = None,
    raw: bool = False,
) -> Table:
    """The rows that have a truth, of some groups; ``side`` may be ``eight``, RAVDESS' own classes.

    ``raw``: posteriors as they were before calibration.
    """
    eight = side == "eight"
    known = [r for r in rows if (not groups or r.group in groups) and (when is None or when(r))]
    known = [
        r for r in known if ("eight" in r.facts and r.eight if eight else r.truth and side in r.posteriors)
    ]
    order = EIGHT if eight else FOUR
    truth = [order.index(str(r.facts["eight"] if eight else r.truth)) for r in known]
    posteriors = [
        r.eight if eight else (r.uncalibrated if raw else r.posteriors).get(side, ()) for r in known
    ]
    return Table(np.array(truth, np.intp), _shares(posteriors, len(order)), [r.unit for r in known])


def _shares(rows: Sequence[Sequence[float]], classes: int) -> NDArray[np.float64]:
    """(N, C) that sum to 1 exactly: they were kept with six places. Nothing where a row is missing."""
    if not all(len(row) == classes for row in rows):
        return np.zeros((0, classes))
    values = np.array(rows, np.float64).reshape(-1, classes)
    return np.asarray(values / values.sum(-1, keepdims=True))


def score(tested: Table, name: str = "ua") -> dict[str, Any]:
    """A score with its interval over units, and each class's recall."""
    tallies = significance.tally(tested.truth, tested.predicted, tested.units, tested.classes)
    interval = significance.interval(tallies, name)
    predicted = np.atleast_2d(tested.predicted)
    recalls = np.mean([metrics.recalls(tested.truth, one, tested.classes) for one in predicted], axis=0)
    return {**_plain(interval), "n": len(tested.truth), "recalls": [round(float(r), 4) for r in recalls]}


def gap(one: Table, other: Table) -> dict[str, Any]:
    """How much more UA the first has than the second, on the same cases in the same order."""
    tallies = [significance.tally(t.truth, t.predicted, t.units, t.classes) for t in (one, other)]
    return _plain(significance.paired(tallies[0], tallies[1]).difference)


def share(rows: Sequence[Row], right: Callable[[Row], bool]) -> dict[str, Any]:
    """How many of the rows are right, with an interval over their units."""
    wrong = np.array([0 if right(row) else 1 for row in rows], np.intp)
    tallies = significance.tally(np.zeros(len(rows), np.intp), wrong, [r.unit for r in rows], 2)
    return {**_plain(significance.interval(tallies, "wa")), "n": len(rows)}


def calibration(tested: Table, raw: Table) -> dict[str, Any]:
    """ECE over ten bins of equal mass beside that of a perfectly calibrated model with these confidences;
    Brier score and NLL beside those of the prior (the shares in this very table) and before calibration."""
    prior = np.bincount(tested.truth, minlength=tested.classes) / len(tested.truth)
    rivals = {"": tested.posteriors, "_prior": np.broadcast_to(prior, tested.posteriors.shape)}
    if len(raw.posteriors):
        rivals["_uncalibrated"] = raw.posteriors
    floor = metrics.ece_floor(tested.posteriors, BINS)
    return {
        "n": len(tested.truth),
        "ece": metrics.ece(tested.truth, tested.posteriors, BINS),
        "floor": floor,
        "bound": 0.05 if len(tested.truth) > ENOUGH else floor + 0.04,
        **{f"brier{name}": metrics.brier(tested.truth, values) for name, values in rivals.items()},
        **{f"nll{name}": metrics.nll(tested.truth, values) for name, values in rivals.items()},
        "bins": metrics.reliability(tested.truth, tested.posteriors, BINS),
    }


def product(one: Table, other: Table, prior: Sequence[float] | None = None) -> Table:
    """The product rule: posteriors multiplied, divided by the prior where one is given, and normalised."""
    both = one.posteriors * other.posteriors / (1.0 if prior is None else np.asarray(prior))
    return Table(one.truth, both / both.sum(-1, keepdims=True), one.units)


def _plain(interval: significance.Interval) -> dict[str, Any]:
    values: Mapping[str, float] = {"value": interval.value, "low": interval.low, "high": interval.high}
    return {k: round(float(v), 5) for k, v in values.items()} | {
        "units": interval.units,
        "method": interval.method,
    }
