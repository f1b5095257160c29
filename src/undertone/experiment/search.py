"""Search over a recipe's settings: by its folds' validation parts, so that no test part is ever made."""

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
from undertone.experiment.examples import fold_data
from undertone.experiment.material import gather_features, open_material
from undertone.experiment.recipe import Recipe
from undertone.experiment.run import fresh, unweighted
from undertone.store import Store
from undertone.training.loop import fit
from undertone.training.search import Range, Report, SearchResult, search

__all__ = ["ValidationScore", "search_recipe"]


@dataclass(frozen=True)
class ValidationScore:
    """Scores settings of a recipe, on its folds' validation parts."""

    recipe: Recipe
    folds: int | None = None
    """Only the first folds; None: all."""

    def __post_init__(self) -> None:
        if self.recipe.protocol.selection == "test":
            raise ProtocolError(
                "a search by the test part would choose settings on it: use selection validation"
            )

    def __call__(self, values: Mapping[str, Any], out: Path, store: Store, report: Report) -> float:
        """The mean validation UA with these settings; ``report`` is called after each fold."""
        tried = self.recipe.but([f"{key}={json.dumps(value)}" for key, value in values.items()])
        planned = plan(
            tried, out / tried.title, lambda r, c: gather_features(r, c.utterances, store), final=False
        )
        material = open_material(planned.folder, tried.manifest, everything=tried.every_turn)
        score = partial(unweighted, classes=len(material.corpus.labels))
        scores: list[float] = []
        for fold in planned.split.folds[: self.folds]:
            data = fold_data(material, tried, fold.name)
            system = fresh(tried, data.dimensions, 0)
            fitted = fit(system, data.train, data.validation, tried.training, score=score)
            assert fitted.validation is not None
            known = fitted.validation.labels >= 0
            scores.append(score(fitted.validation.labels[known], fitted.validation.posteriors[known]))
            report(len(scores), fmean(scores))
        return fmean(scores)


def search_recipe(
    recipe: Recipe, ranges: Sequence[Range], out: Path, store: Store, *, trials: int, folds: int | None = None
) -> SearchResult:
    """Settings with the best mean validation UA over (the first) ``folds``.

    The same utterances validate the settings and choose epochs later, so the best score is a little too good;
    the test parts, which the report is about, stay untouched.
    """
    score = ValidationScore(recipe, folds)
    study = out / recipe.title / "search.journal"
    return search(
        ranges, lambda values, report: score(values, out, store, report), trials=trials, study=study
    )
