"""How near a model comes to its raters, beside how near one rater comes to the others.

Raters disagree, so a label is a majority, and the votes say more: a model is compared with the distribution
of the votes, and its label with the majority of all raters but one, as each rater is too (leave one out).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from undertone.evaluation.runs import Run
from undertone.evaluation.significance import Interval

__all__ = ["Raters", "against_raters", "agreement", "divergence", "votes_of", "mean_interval"]

FEWEST = 2.0
"""Votes that an utterance has at least: of one rater there is no disagreement."""


@dataclass(frozen=True, slots=True)
class Raters:
    """A run against its corpus' raters."""

    n: int
    """Utterances with at least two votes for the run's classes."""
    kl: Interval
    """Kullback-Leibler divergence of the posterior from the votes, nats: 0 is best."""
    brier: float
    """Mean squared distance of the posterior from the votes, summed over classes."""
    model: float
    """Share of cases in which the model's label is the majority of all raters but one."""
    human: float
    """The same of that one rater."""

    def plain(self) -> dict[str, Any]:
        """JSON values."""
        return {**asdict(self), "kl": self.kl.plain()}


def against_raters(run: Run, units: Sequence[str]) -> Raters | None:
    """None where fewer than two utterances have votes."""
    predictions = run.predictions
    votes = votes_of(run.facts, predictions.ids, predictions.labels)
    posterior = predictions.probabilities
    known = np.isfinite(votes).all(1) & np.isfinite(posterior).all((0, 2))
    if known.sum() < 2:
        return None
    votes, posterior = votes[known], posterior[:, known]
    share = votes / votes.sum(1, keepdims=True)
    kept = [units[i] for i in np.flatnonzero(known).tolist()]
    model, human = agreement(votes, predictions.predicted()[:, known])
    return Raters(
        n=int(known.sum()),
        kl=mean_interval(divergence(share, posterior).mean(0), kept),
        brier=float(np.square(posterior - share).sum(-1).mean()),
        model=model,
        human=human,
    )


def votes_of(
    known: Mapping[str, Mapping[str, Any]], ids: Sequence[str], labels: Sequence[str]
) -> NDArray[np.float64]:
    """``(N, C)``: the votes for each class; nan where there are fewer than two."""
    rows = [[float((known.get(i, {}).get("votes") or {}).get(c, 0.0)) for c in labels] for i in ids]
    votes = np.array(rows).reshape(-1, len(labels))
    votes[votes.sum(1) < FEWEST] = np.nan
    return votes


def divergence(share: NDArray[np.float64], posterior: NDArray[np.float64]) -> NDArray[np.float64]:
    """``(…, N)``: KL of the posterior ``(…, N, C)`` from the votes ``(N, C)``; no probability is below 1e-6.

    >>> float(divergence(np.array([[1.0, 0.0]]), np.array([[0.5, 0.5]]))[0].round(4))
    0.6931
    """
    logs = np.log(np.maximum(share, 1e-12)) - np.log(np.maximum(posterior, 1e-6))
    total: NDArray[np.float64] = (share * logs).sum(-1)
    return total


def agreement(votes: NDArray[np.float64], predicted: NDArray[np.int64]) -> tuple[float, float]:
    """How often the model's label ``(seeds, N)``, and a rater's, is the majority of the other raters.

    Every vote ``(N, C)`` is left out once. Where classes tie for the majority, each of them counts its share.

    >>> agreement(np.array([[2.0, 1.0]]), np.array([[0]]))  # left out: a, a or b; the others are ab, ab, aa
    (0.6666666666666666, 0.3333333333333333)
    """
    cases = model = human = 0.0
    numbers = np.arange(len(votes))
    for left in range(votes.shape[1]):
        times = votes[:, left]
        others = votes - (np.arange(votes.shape[1]) == left) * np.minimum(1.0, times)[:, None]
        most = others == others.max(1, keepdims=True)
        credit = most / most.sum(1, keepdims=True)
        cases += times.sum()
        human += (times * credit[:, left]).sum()
        own = np.where(predicted >= 0, credit[numbers, np.maximum(predicted, 0)], 0.0).mean(0)
        model += (times * own).sum()
    return float(model / cases), float(human / cases)


def mean_interval(values: NDArray[np.float64], units: Sequence[str]) -> Interval:
    """The mean over utterances, with a t-interval whose unit is a speaker or session."""
    mean = float(values.mean())
    names, which = np.unique(np.asarray(units, dtype=str), return_inverse=True)
    sums = np.bincount(which, values - mean)
    count = len(names)
    if count < 2:
        return Interval(mean, float("nan"), float("nan"), float("nan"), count, "none")
    error = float(np.sqrt(count / (count - 1) * np.square(sums).sum()) / len(values))
    reach = float(stats.t.ppf(0.975, count - 1)) * error
    return Interval(mean, mean - reach, mean + reach, error, count, "t")
