"""The numbers of a run that one may print: values, spreads, intervals, comparisons.

Three spreads are kept apart: over *seeds* (training noise), over *folds* (who is tested), and the
*interval* whose unit is the speaker or session (how far the value may be off for other speakers).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from undertone.errors import ConfigError, nearest
from undertone.evaluation import facts, metrics, runs, significance
from undertone.evaluation.card import differences
from undertone.evaluation.rated import Rated, against_ratings
from undertone.evaluation.raters import Raters, against_raters
from undertone.evaluation.runs import Predictions, Run
from undertone.evaluation.significance import Interval, Paired, Tallies

__all__ = ["Comparison", "Result", "Spread", "compare", "evaluate", "evaluate_run", "reference_of"]


@dataclass(frozen=True, slots=True)
class Spread:
    """A mean and its standard deviation (0 when there is only one value)."""

    mean: float
    std: float
    values: tuple[float, ...]

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        std = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
        return cls(float(np.mean(values)), std, tuple(map(float, values)))


@dataclass(frozen=True)
class Result:
    """The measured scores of one run."""

    run: Run
    unit: str
    """What an interval's unit is: ``session``, ``speaker``."""
    seeds: dict[str, Spread]
    """Each of ``metrics.HEADLINES`` over seeds, all folds pooled."""
    folds: dict[str, Spread]
    """``wa``, ``ua``, ``macro_f1``, ``weighted_f1`` over folds (as in ``fold_names``), seeds averaged."""
    fold_names: tuple[str, ...]
    intervals: dict[str, Interval]
    """``wa``, ``ua``, ``macro_f1``, ``weighted_f1``."""
    speaker_interval: Interval | None
    """Of UA with the speaker as unit, where ``unit`` is coarser."""
    perspectives: dict[str, float]
    """UA of ``fused``, ``speech`` and ``text``, as far as the system predicts from each."""
    confusion: list[list[float]]
    """Counts averaged over seeds, truth down."""
    per_class: dict[str, dict[str, float | None]]
    calibration: dict[str, float | None]
    """``ece``, ``ece_floor``, ``brier``, ``nll``: means over seeds."""
    reliability: list[dict[str, float]]
    raters: Raters | None = None
    """Against the raters' votes, where the corpus has them."""
    rated: Rated | None = None
    """Of a run that predicts votes, several emotions or dimensions."""

    @property
    def name(self) -> str:
        return self.run.name

    @property
    def warnings(self) -> list[str]:
        """What a reader must know before any number."""
        missing = [f"{self.run.headline}: no interval"] if self.run.missing else []
        unit = facts.unit_stamps(self.run.facts, self.run.predictions.ids, self.unit)
        stated = [line for line in self.run.card.warnings if line != facts.PAIRED]
        return list(dict.fromkeys([*missing, *stated, *unit]))

    def tallies(self, unit: str | None = None) -> Tallies:
        """Per-unit tables for tests; ``unit`` as in ``facts.grouping``."""
        predictions = self.run.predictions
        units = facts.grouping(self.run.facts, predictions.ids, unit or self.unit)
        return _tally(predictions, units)

    def plain(self) -> dict[str, Any]:
        """The values that ``report --json`` prints; fractions."""
        return {
            "system": self.name,
            "n": len(self.run.predictions.ids),
            "seeds": list(self.run.predictions.seeds),
            "unit": self.unit,
            **{name: spread.mean for name, spread in self.seeds.items()},
            "seed_std": {name: spread.std for name, spread in self.seeds.items()},
            "folds": {name: asdict(spread) for name, spread in self.folds.items()},
            "fold_names": list(self.fold_names),
            "missing": list(self.run.missing),
            "stamps": self.warnings,
            "intervals": {name: i.plain() for name, i in self.intervals.items()},
            "ua_interval": [self.intervals["ua"].plain()[end] for end in ("low", "high")],
            "ua_interval_speakers": self.speaker_interval.plain() if self.speaker_interval else None,
            "perspectives": self.perspectives,
            "confusion": self.confusion,
            "per_class": self.per_class,
            "raters": self.raters.plain() if self.raters else None,
            **({"rated": self.rated.plain()} if self.rated else {}),
            "seconds": self.run.seconds,
            "card": asdict(self.run.card),
        }


def evaluate(folder: Path, unit: str = "") -> Result:
    """The measured scores of the run in ``folder``; ``unit`` as in ``evaluate_run``."""
    return evaluate_run(runs.read(folder), unit)


def evaluate_run(run: Run, unit: str = "") -> Result:
    """The measured scores of a run; those of a run with missing folds have no intervals.

    ``unit`` of intervals and tests: ``session`` or ``speaker``, else the card's, else the corpus' default.
    """
    predictions = run.predictions
    truth, labels = predictions.truth, predictions.labels
    summaries = [metrics.summary(truth, posterior, labels) for posterior in predictions.probabilities]
    unit, units = facts.units(run.facts, predictions.ids, unit or run.card.unit)
    tallies = _tally(predictions, units)
    fold_tallies = _tally(predictions, predictions.folds)
    pooled = tallies.sum(axis=0)
    return Result(
        run=run,
        unit=unit,
        seeds={
            name: Spread.of([s[name] for s in summaries])
            for name in metrics.HEADLINES
            if all(s[name] is not None for s in summaries)
        },
        folds={
            name: Spread.of([float(measure(fold)) for fold in fold_tallies])
            for name, measure in significance.STATISTICS.items()
        },
        fold_names=tuple(sorted(set(predictions.folds))),
        intervals={name: _interval(run, tallies, name) for name in significance.STATISTICS},
        speaker_interval=_by_speaker(run) if unit == "session" and not run.missing else None,
        perspectives={
            name: float(np.mean([metrics.ua(truth, p, len(labels)) for p in predictions.predicted(name)]))
            for name in predictions.perspectives
        },
        confusion=pooled[:, :-1].tolist(),
        per_class=_per_class(summaries),
        calibration={
            name: _mean([s[name] for s in summaries]) for name in ("ece", "ece_floor", "brier", "nll")
        },
        reliability=metrics.reliability(*_all_seeds(run)),
        raters=against_raters(run, units),
        rated=against_ratings(run, unit),
    )


def _tally(predictions: Predictions, units: Sequence[str]) -> Tallies:
    return significance.tally(predictions.truth, predictions.predicted(), units, len(predictions.labels))


def _interval(run: Run, tallies: Tallies, name: str) -> Interval:
    if not run.missing:
        return significance.interval(tallies, name)
    value, nan = float(significance.statistic(name)(tallies.sum(axis=0))), float("nan")
    return Interval(value, nan, nan, nan, len(tallies), "none")


def _by_speaker(run: Run) -> Interval:
    speakers = facts.grouping(run.facts, run.predictions.ids, "speaker")
    return significance.interval(_tally(run.predictions, speakers), "ua")


def _all_seeds(run: Run) -> tuple[metrics.Ints, metrics.Floats]:
    """Truth and posteriors of all seeds in one row, abstentions left out."""
    posterior = run.predictions.probabilities.reshape(-1, len(run.predictions.labels))
    truth = np.tile(run.predictions.truth, len(run.predictions.seeds))
    decided = np.isfinite(posterior).all(axis=1)
    return truth[decided], posterior[decided]


def _per_class(summaries: Sequence[dict[str, Any]]) -> dict[str, dict[str, float | None]]:
    return {
        label: {
            "n": values["n"],
            "recall": _mean([s["per_class"][label]["recall"] for s in summaries]),
            "f1": _mean([s["per_class"][label]["f1"] for s in summaries]),
        }
        for label, values in summaries[0]["per_class"].items()
    }


def _mean(values: Sequence[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return sum(known) / len(known) if known else None


@dataclass(frozen=True, slots=True)
class Comparison:
    """One system against the reference; ``reasons`` why the two do not compare, where they do not."""

    name: str
    reference: str
    paired: Paired | None
    corrected: float | None
    """p after Holm's correction over this reference's comparisons."""
    mcnemar: dict[str, float] | None = None
    reasons: tuple[str, ...] = ()


def reference_of(results: Sequence[Result], wanted: str | None = None) -> Result:
    """The system that the others are tested against: by name, else the first given.

    Never the best on test: that would be chosen by the very numbers it is tested with.
    """
    if wanted is None:
        return results[0]
    named = {r.name: r for r in results}
    if wanted not in named:
        raise ConfigError(f"no run '{wanted}' to test against{nearest(wanted, named)}")
    return named[wanted]


def compare(results: Sequence[Result], reference: Result, name: str = "ua") -> list[Comparison]:
    """Every other system against the reference, over the reference's units, corrected by Holm."""
    comparisons = [_compare(result, reference, name) for result in results if result is not reference]
    corrected = iter(significance.holm([c.paired.p for c in comparisons if c.paired]))
    return [replace(c, corrected=next(corrected)) if c.paired else c for c in comparisons]


def _compare(result: Result, reference: Result, name: str) -> Comparison:
    ours, theirs = result.run.predictions, reference.run.predictions
    reasons = tuple(differences(reference.run.card, result.run.card))
    if ours.ids != theirs.ids or ours.labels != theirs.labels or (ours.truth != theirs.truth).any():
        reasons = (*reasons, "the two did not test the same utterances")
        return Comparison(result.name, reference.name, None, None, reasons=reasons)
    if result.run.missing or reference.run.missing:
        reasons = (*reasons, "folds are missing")
        return Comparison(result.name, reference.name, None, None, reasons=reasons)
    unit = reference.unit
    paired = significance.paired(result.tallies(unit), reference.tallies(unit), name)
    right = [np.asarray(p.predicted()[0] == p.truth) for p in (ours, theirs)]
    counts = significance.mcnemar(right[0], right[1])
    return Comparison(result.name, reference.name, paired, None, counts, reasons)
