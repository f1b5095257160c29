"""What raters state beside one class: votes, and arousal, valence, dominance on a scale. Numpy alone.

Votes become fractions that sum to 1 over the classes. A dimension becomes a number in 0…1 by its corpus'
scale, and predictions go back to that scale, so that 4 on a scale of 1 to 7 stays 4.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "DIMENSIONS",
    "SCALES",
    "ccc",
    "each_rater",
    "fit_thresholds",
    "fractions",
    "present",
    "rated",
    "to_scale",
    "to_unit",
]

Scale: TypeAlias = tuple[float, float]
Floats: TypeAlias = NDArray[np.floating[Any]]

DIMENSIONS = ("arousal", "valence", "dominance")
"""In the order of a model's outputs."""
NAMES = {"activation": "arousal", "act": "arousal", "val": "valence", "dom": "dominance"}
"""What else a corpus calls them."""
SCALES: dict[str, Scale] = {"iemocap": (1.0, 5.0), "msppodcast": (1.0, 7.0), "demo": (1.0, 7.0)}
"""The least and the largest rating of each corpus that has them."""


def rated(extra: Mapping[str, Any]) -> dict[str, float]:
    """The dimensions among an utterance's further fields, by their names here.

    >>> rated({"activation": 2.5, "scripted": True})
    {'arousal': 2.5}
    """
    named = {NAMES.get(key, key): value for key, value in extra.items()}
    return {name: float(named[name]) for name in DIMENSIONS if isinstance(named.get(name), int | float)}


def each_rater(extra: Mapping[str, Any]) -> dict[str, list[float]]:
    """By dimension what each rater gave, where an utterance's further fields have it under ``raters``.

    >>> each_rater({"raters": {"val": [2, 3], "act": [4]}})
    {'arousal': [4.0], 'valence': [2.0, 3.0]}
    """
    named = {NAMES.get(key, key): value for key, value in dict(extra.get("raters") or {}).items()}
    return {name: [float(x) for x in named[name]] for name in DIMENSIONS if named.get(name)}


def to_unit(value: float, scale: Scale) -> float:
    """A rating in 0…1; outside of its scale it is an error of the data, and cut."""
    low, high = scale
    return min(1.0, max(0.0, (value - low) / (high - low)))


def to_scale(value: float, scale: Scale) -> float:
    """
    >>> to_scale(to_unit(4.0, (1.0, 7.0)), (1.0, 7.0))
    4.0
    """
    low, high = scale
    return low + value * (high - low)


def fractions(votes: Mapping[str, float], classes: Sequence[str]) -> NDArray[np.float32]:
    """(C,): each class' share of the votes for any of them; nan where there are none.

    >>> fractions({"sad": 3.0, "happy": 1.0, "other": 2.0}, ("happy", "sad")).tolist()
    [0.25, 0.75]
    """
    counts = np.array([float(votes.get(name, 0.0)) for name in classes], np.float32)
    shares: NDArray[np.float32] = np.where(counts.sum() > 0, counts / max(float(counts.sum()), 1e-12), np.nan)
    return shares.astype(np.float32)


def present(shares: Floats) -> NDArray[np.bool_]:
    """(…, C): which emotions there are at once: those whose share is above 1/C, as EMO-SUPERB has it."""
    there: NDArray[np.bool_] = shares > 1.0 / shares.shape[-1] + 1e-9
    return there


def fit_thresholds(there: NDArray[np.bool_], shares: Floats) -> Floats:
    """(C,): the thresholds on ``shares (N, C)`` with the best F1 for what is ``there (N, C)``; of several
    the nearest to 1/C, which is also that of an emotion that never occurs.

    >>> there = np.array([[True, False], [True, False], [False, True]])
    >>> fit_thresholds(there, np.array([[0.3, 0.7], [0.4, 0.6], [0.2, 0.8]])).round(2).tolist()
    [0.25, 0.75]
    """
    start = 1.0 / shares.shape[1]
    fitted = np.full(shares.shape[1], start)
    for c, (truth, share) in enumerate(zip(there.T, shares.T, strict=True)):
        values = np.unique(share)
        tried = np.concatenate([[start], (values[1:] + values[:-1]) / 2])
        above = share[None] > tried[:, None]  # (tried, N)
        right = (above & truth).sum(1)
        f1 = 2 * right / np.maximum(1, above.sum(1) + truth.sum())
        best = tried[f1 >= f1.max() - 1e-12]
        fitted[c] = best[np.abs(best - start).argmin()]
    return fitted


def ccc(truth: Floats, predicted: Floats) -> float:
    """The concordance correlation of two series (N,): 1 only where they are equal, 0 for a constant.

    2 · covariance / (variance + variance + squared difference of means), each over N.

    >>> ccc(np.array([1.0, 2.0, 3.0]), np.array([2.0, 3.0, 4.0]))  # moved by 1: 2 · ⅔ / (⅔ + ⅔ + 1)
    0.5714285714285714
    """
    if len(truth) < 2:
        return float("nan")
    covariance = float(np.mean((truth - truth.mean()) * (predicted - predicted.mean())))
    apart = float((truth.mean() - predicted.mean()) ** 2)
    spread = float(truth.var() + predicted.var()) + apart
    return 2.0 * covariance / spread if spread > 0 else float("nan")
