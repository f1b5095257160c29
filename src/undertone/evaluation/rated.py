"""How near a run comes to what its raters state beside one class: votes, several emotions, dimensions.

    KL, Brier   of the predicted distribution (the posterior, where the run has no other) from the votes
    macro-F1    of several emotions at once by EMO-SUPERB's rule: an emotion is there where its share of the
                votes is above 1/C, and predicted where its probability is, or is above the threshold that the
                run fitted on its validation part; a class without any counts 0.
                Never to be mixed with the F1 of single labels.
    CCC         of each dimension, seeds averaged; agrees with ``audmetric.concordance_cc``

Utterances without agreement, which have no label, count here too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from undertone.evaluation import facts
from undertone.evaluation.raters import divergence, mean_interval, votes_of
from undertone.evaluation.runs import Run
from undertone.evaluation.significance import Interval, Paired, interval_of, paired_of
from undertone.labels.rated import ccc, present

__all__ = ["SUPERB", "Rated", "against_ratings", "compare_rated"]

Floats = NDArray[np.float64]
SUPERB = "macro-F1 by EMO-SUPERB's rule, present above 1/C"


@dataclass(frozen=True)
class Rated:
    """A run against votes and ratings. What the run or its corpus lacks is missing."""

    votes: int = 0
    """Utterances with at least two votes."""
    kl: Interval | None = None
    brier: float | None = None
    several: Interval | None = None
    """``SUPERB``"""
    ccc: Mapping[str, Interval] = field(default_factory=dict)
    """By dimension."""
    raters: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """By dimension, against the mean of all raters but one: CCC of the prediction, and of that one rater."""
    folds: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """CCC of each fold, by dimension, in the order of the folds' names."""
    agreement: tuple[tuple[float, ...], ...] = ()
    """(C, C): the votes of an utterance down, its predicted distribution across, summed."""
    points: Mapping[str, tuple[tuple[float, float], ...]] = field(default_factory=dict)
    """By dimension: rating and prediction of each utterance, for a picture."""
    ids: tuple[str, ...] = ()
    """Every utterance that was tested, sorted."""
    tallies: Mapping[str, Floats] = field(default_factory=dict)
    """By measure what intervals and tests are computed from, a row a unit."""

    def plain(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "votes": self.votes,
            "kl": self.kl.plain() if self.kl else None,
            "brier": self.brier,
            "macro_f1_emosuperb": self.several.plain() if self.several else None,
            "ccc": {name: value.plain() for name, value in self.ccc.items()},
            "ccc_raters": {name: list(values) for name, values in self.raters.items()},
            "ccc_folds": {name: list(values) for name, values in self.folds.items()},
        }


def against_ratings(run: Run, unit: str) -> Rated | None:
    """None where the run predicts nothing beside the class."""
    rows = run.rows
    if not any({"dimensions", "distribution", "several"} & row.keys() for row in rows[0].values()):
        return None
    ids = sorted(rows[0])
    units = facts.grouping(run.facts, ids, unit)
    missing = bool(run.missing)
    values: dict[str, Any] = {"tallies": {}, "ccc": {}, "folds": {}, "points": {}, "raters": {}}
    votes = votes_of(run.facts, ids, run.predictions.labels)
    known: NDArray[np.bool_] = np.asarray(np.isfinite(votes).all(1))
    if known.sum() > 1:
        share = votes[known] / votes[known].sum(1, keepdims=True)
        values |= _votes(
            run, [i for i, k in zip(ids, known, strict=True) if k], share, units_of(units, known)
        )
    for name in next(iter(rows[0].values())).get("dimensions", {}):
        truth = np.array([(run.facts.get(i, {}).get("ratings") or {}).get(name, np.nan) for i in ids])
        predicted = np.array([[row[i]["dimensions"][name] for i in ids] for row in rows])
        rated = np.isfinite(truth)
        if rated.sum() < 2:
            continue
        tallies = moments(truth[rated], predicted[:, rated], units_of(units, rated))
        values["tallies"][f"ccc {name}"] = tallies
        values["ccc"][name] = _known(interval_of(tallies, concordance, nearest=1e-6, signed=True), missing)
        single = [(run.facts.get(i, {}).get("raters") or {}).get(name, []) for i in ids]
        if any(len(one) > 1 for one in single):
            values["raters"][name] = one_left_out(single, predicted)
        folds = [rows[0][i]["fold"] for i in np.array(ids)[rated]]
        each = moments(truth[rated], predicted[:, rated], folds)
        values["folds"][name] = tuple(map(float, concordance(each)))
        shown = slice(None, None, max(1, int(rated.sum()) // 400))
        pairs = np.stack([truth[rated], predicted[:, rated].mean(0)], 1)[shown]
        values["points"][name] = tuple((float(x), float(y)) for x, y in pairs)
    return Rated(ids=tuple(ids), **values)


def one_left_out(raters: Sequence[Sequence[float]], predicted: Floats) -> tuple[float, float]:
    """CCC of ``predicted (seeds, N)``, seeds averaged, and of one rater, with the mean of the other raters,
    over every rater of every utterance that has two or more."""
    cases = [(n, k) for n, own in enumerate(raters) if len(own) > 1 for k in range(len(own))]
    own = np.array([raters[n][k] for n, k in cases])
    others = np.array([(sum(raters[n]) - raters[n][k]) / (len(raters[n]) - 1) for n, k in cases])
    places = [n for n, _ in cases]
    return float(np.mean([ccc(others, row[places]) for row in predicted])), ccc(others, own)


def units_of(units: Sequence[str], chosen: NDArray[np.bool_]) -> list[str]:
    """Those of the chosen utterances."""
    return [unit for unit, one in zip(units, chosen, strict=True) if one]


def _votes(run: Run, ids: Sequence[str], share: Floats, units: Sequence[str]) -> dict[str, Any]:
    labels = run.predictions.labels

    def table(key: str) -> Floats:
        return np.array([[[float(row[i][key][c]) for c in labels] for i in ids] for row in run.rows])

    first = run.rows[0][ids[0]]
    distribution = table("distribution" if "distribution" in first else "probabilities")
    shares = table("several") if "several" in first else distribution
    far = divergence(share, distribution).mean(0)
    predicted = present(shares)
    if "present" in first:  # by thresholds of the run's own
        predicted = np.array([[[c in row[i]["present"] for c in labels] for i in ids] for row in run.rows])
    f1 = confusions(present(share), predicted, units)
    kl = mean_interval(far, units)
    missing = bool(run.missing)
    return {
        "votes": len(ids),
        "kl": _known(kl, missing),
        "brier": float(np.square(distribution - share).sum(-1).mean()),
        "several": _known(interval_of(f1, multilabel_f1, nearest=0.5 / len(ids)), missing),
        "agreement": tuple(tuple(map(float, row)) for row in share.T @ distribution.mean(0)),
        "tallies": {"several": f1, "kl": sums(far, units)},
    }


def _known(interval: Interval, missing: bool) -> Interval:
    """Without ends where folds are missing."""
    nan = float("nan")
    return Interval(interval.value, nan, nan, nan, interval.units, "none") if missing else interval


# ---- measures from sums over units, so that whole units can be drawn again --------------------------------


def _by_unit(values: Floats, units: Sequence[str]) -> Floats:
    """``(U, …)``: the sums over each unit's utterances, in sorted order."""
    names, which = np.unique(np.asarray(units, dtype=str), return_inverse=True)
    out = np.zeros((len(names), *values.shape[1:]))
    np.add.at(out, which, values)
    return out


def sums(values: Floats, units: Sequence[str]) -> Floats:
    """``(U, 2)``: the sum of the values, and their number."""
    return _by_unit(np.stack([values, np.ones_like(values)], 1), units)


def mean(tallies: Floats) -> Any:
    """From ``(…, 2)``."""
    return tallies[..., 0] / tallies[..., 1]


def moments(truth: Floats, predicted: Floats, units: Sequence[str]) -> Floats:
    """``(U, seeds, 6)``: number and sums of x, y, x², y², xy of ``truth (N,)``, ``predicted (seeds, N)``."""
    x, y = np.broadcast_to(truth, predicted.shape), predicted
    table = np.stack([np.ones_like(y), x, y, x * x, y * y, x * y], -1)  # (seeds, N, 6)
    return _by_unit(np.moveaxis(table, 0, 1), units)


def concordance(tallies: Floats) -> Any:
    """CCC from ``(…, seeds, 6)``, the mean over seeds; 0 where nothing varies."""
    n = tallies[..., 0]
    x, y, xx, yy, xy = (tallies[..., k] / n for k in range(1, 6))
    spread = (xx - x * x) + (yy - y * y) + (x - y) ** 2
    value = np.divide(2 * (xy - x * y), spread, out=np.zeros_like(spread), where=spread > 1e-12)
    return value.mean(-1)


def confusions(truth: NDArray[np.bool_], predicted: NDArray[np.bool_], units: Sequence[str]) -> Floats:
    """``(U, seeds, C, 3)``: right, missed and wrong, of ``truth (N, C)``, ``predicted (seeds, N, C)``."""
    kinds = np.stack([truth & predicted, truth & ~predicted, ~truth & predicted], -1)
    return _by_unit(np.moveaxis(kinds, 0, 1).astype(float), units)


def multilabel_f1(tallies: Floats) -> Any:
    """From ``(…, seeds, C, 3)``: the mean over classes, 0 for a class without any, and over seeds."""
    right, missed, wrong = np.moveaxis(tallies, -1, 0)
    both = 2 * right + missed + wrong
    f1 = np.divide(2 * right, both, out=np.zeros_like(both), where=both > 0)
    return f1.mean((-2, -1))


MEASURES = {"kl": mean, "several": multilabel_f1}


def compare_rated(ours: Rated, reference: Rated) -> dict[str, Paired]:
    """By ``kl``, ``several``, ``ccc NAME``: the difference to a reference; none where the two did not test
    the same utterances."""
    if ours.ids != reference.ids:
        return {}
    return {
        name: paired_of(ours.tallies[name], reference.tallies[name], MEASURES.get(name, concordance))
        for name in ours.tallies
        if name in reference.tallies and ours.tallies[name].shape == reference.tallies[name].shape
    }
