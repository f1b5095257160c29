"""Search over a recipe's settings: by its folds' validation sides, so that no test side is ever made."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

from undertone.errors import ProtocolError
from undertone.experiment.crossval import plan
from undertone.experiment.examples import sides
from undertone.experiment.material import gather_features, open_material
from undertone.experiment.recipe import Recipe
from undertone.experiment.run import fresh, unweighted
from undertone.store import Store
from undertone.training.loop import fit
from undertone.training.search import Range, Report, SearchResult, search

__all__ = ["Trying", "tune"]


@dataclass(frozen=True)
class Trying:
    """Tries settings over a recipe, on its folds' validation sides."""

    recipe: Recipe
    folds: int | None = None
    """Only the first folds; None: all."""

    def __post_init__(self) -> None:
        if self.recipe.protocol.selection == "test":
            raise ProtocolError(
                "a search by the test side would choose settings on it: use selection validation"
            )

    def __call__(self, values: Mapping[str, Any], out: Path, store: Store, report: Report) -> float:
        """The mean validation UA with these settings; ``report`` is told after each fold."""
        tried = self.recipe.but([f"{key}={json.dumps(value)}" for key, value in values.items()])
        planned = plan(tried, out, lambda r, c: gather_features(r, c.utterances, store), final=False)
        dialogue = tried.protocol.level == "dialogue"
        material = open_material(planned.folder, tried.manifest, everything=dialogue)
        score = partial(unweighted, classes=len(material.corpus.labels))
        found: list[float] = []
        for fold in planned.split.folds[: self.folds]:
            parts = sides(material, tried, fold.name)
            fitted = fit(fresh(tried, parts, 0), parts.train, parts.validation, tried.training, score=score)
            assert fitted.validation is not None
            known = fitted.validation.labels >= 0
            found.append(score(fitted.validation.labels[known], fitted.validation.posteriors[known]))
            report(len(found), fmean(found))
        return fmean(found)


def tune(
    recipe: Recipe, ranges: Sequence[Range], out: Path, store: Store, *, trials: int, folds: int | None = None
) -> SearchResult:
    """Settings with the best mean validation UA over (the first) ``folds``.

    The same utterances validate here and choose epochs later, so the best score is a little too good;
    the test sides, which the report is about, stay untouched.
    """
    trying = Trying(recipe, folds)
    study = out / recipe.title / "search.journal"
    return search(
        ranges, lambda values, report: trying(values, out, store, report), trials=trials, study=study
    )
