"""Search over a recipe's settings: by its folds' validation sides, so that no test side is ever made."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
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
from undertone.training.search import Found, Range, Report, search

__all__ = ["tune"]


def tune(
    recipe: Recipe, ranges: Sequence[Range], out: Path, store: Store, *, trials: int, folds: int | None = None
) -> Found:
    """Settings with the best mean validation UA over (the first) ``folds``.

    The same utterances validate here and choose epochs later, so the best score is a little too good;
    the test sides, which the report is about, stay untouched.
    """
    if recipe.protocol.selection == "test":
        raise ProtocolError("a search by the test side would choose settings on it: use selection validation")

    def attempt(values: Mapping[str, Any], report: Report) -> float:
        tried = recipe.but([f"{key}={json.dumps(value)}" for key, value in values.items()])
        planned = plan(tried, out, lambda r, c: gather_features(r, c.utterances, store), final=False)
        dialogue = tried.protocol.level == "dialogue"
        material = open_material(planned.folder, tried.manifest, everything=dialogue)
        score = partial(unweighted, classes=len(material.corpus.labels))
        found: list[float] = []
        for fold in planned.split.folds[:folds]:
            parts = sides(material, tried, fold.name)
            fitted = fit(fresh(tried, parts, 0), parts.train, parts.validation, tried.training, score=score)
            assert fitted.validation is not None
            known = fitted.validation.labels >= 0
            found.append(score(fitted.validation.labels[known], fitted.validation.posteriors[known]))
            report(len(found), fmean(found))
        return fmean(found)

    return search(ranges, attempt, trials=trials, study=out / recipe.title / "search.journal")
