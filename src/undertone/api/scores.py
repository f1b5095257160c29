"""Numbers: ``score``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from undertone.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["score"]


def score(
    truth: Sequence[str],
    predicted: Sequence[str | None] | ArrayLike,
    *,
    labels: Sequence[str] | None = None,
    units: Sequence[str] | None = None,
) -> dict[str, Any]:
    """WA, UA, F1 and calibration of predictions against labels, as fractions.

    ``predicted``: labels (None: an abstention, which is wrong), or posteriors (N, C) in the order of
    ``labels``.
    ``units``: each one's speaker; then ``ua_interval`` is the 95 % interval over these.

    >>> score(["a", "b", "b"], [[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]], labels=["a", "b"])["wa"]
    0.6666666666666666
    """
    import numpy as np

    from undertone.evaluation import metrics, significance
    from undertone.labels import in_order

    hard = all(one is None or isinstance(one, str) for one in predicted)  # type: ignore[union-attr]
    answers = list(predicted) if hard else []  # type: ignore[arg-type]
    names = list(labels or in_order([*truth, *(a for a in answers if isinstance(a, str))]))
    known = {name: index for index, name in enumerate(names)}
    if strange := sorted({str(one) for one in [*truth, *answers] if one is not None} - set(known)):
        raise DataError(f"labels that are none of {', '.join(names)}: {', '.join(strange)}")
    rows = (
        _one_hot([known.get(str(a)) for a in answers], len(names)) if hard else np.asarray(predicted, float)
    )
    if rows.shape != (len(truth), len(names)):
        raise DataError(f"{len(truth)} labels of {len(names)} classes, but predictions of shape {rows.shape}")
    right = np.array([known[one] for one in truth], np.int64)
    values: dict[str, Any] = metrics.summary(right, rows, names)
    if hard:  # no posteriors, so nothing to be calibrated
        values |= dict.fromkeys(("ece", "ece_floor", "brier", "nll"))
    if units is not None:
        decided = np.isfinite(rows).all(axis=1)
        best = np.where(decided, np.nan_to_num(rows).argmax(axis=1), -1)
        tallies = significance.tally(right, best[None], list(units), len(names))
        interval = significance.interval(tallies, "ua")
        values["ua_interval"] = (interval.low, interval.high)
    return values


def _one_hot(answers: Sequence[int | None], classes: int) -> NDArray[Any]:
    import numpy as np

    rows = np.full((len(answers), classes), np.nan)
    for row, answer in zip(rows, answers, strict=True):
        if answer is not None:
            row[:] = 0.0
            row[answer] = 1.0
    return rows
