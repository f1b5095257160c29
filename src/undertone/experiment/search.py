"""Search over a recipe's settings by validation parts: inside each fold, so that no test part has a vote."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import fmean, median_low
from typing import Any

from undertone.code import code_mark
from undertone.config import dump_toml, fingerprint
from undertone.errors import ConfigError, ProtocolError
from undertone.experiment.crossval import plan
from undertone.experiment.examples import fold_data
from undertone.experiment.material import gather_features, open_material, read_corpus
from undertone.experiment.networks import FINAL
from undertone.experiment.recipe import Recipe, SearchedConfig
from undertone.experiment.run import fresh, run_job, unweighted
from undertone.files import locked, write_whole
from undertone.progress import Watch
from undertone.store import Store
from undertone.training.loop import fit
from undertone.training.search import Range, Report, SearchResult, search

__all__ = ["Searched", "ValidationScore", "search_recipe"]

FILE = "searched.toml"


@dataclass(frozen=True)
class ValidationScore:
    """Scores settings of a recipe, on the validation parts of some folds."""

    recipe: Recipe
    folds: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.recipe.protocol.selection == "test":
            raise ProtocolError(
                "a search by the test part would choose settings on it: use selection validation"
            )

    def __call__(self, values: Mapping[str, Any], folder: Path, store: Store, report: Report) -> float:
        """The mean validation UA with these settings; ``report`` is called after each fold.

        What the folds read is written into ``folder``.
        """
        tried = self.recipe.but(_overrides(values))
        planned = plan(tried, folder, lambda r, c: gather_features(r, c.utterances, store), final=False)
        dialogue = tried.protocol.level == "dialogue"
        material = open_material(planned.folder, tried.manifest, dialogue, tried.rated)
        score = partial(unweighted, classes=len(material.corpus.labels))
        scores: list[float] = []
        for fold in self.folds:
            data = fold_data(material, tried, fold)
            system = fresh(tried, material, data.dimensions, fold, 0)
            fitted = fit(system, data.train, data.validation, tried.training, score=score)
            assert fitted.validation is not None
            known = fitted.validation.labels >= 0
            scores.append(score(fitted.validation.labels[known], fitted.validation.posteriors[known]))
            report(len(scores), fmean(scores))
        return fmean(scores)


Place = Callable[[ValidationScore, Sequence[Range], Path, str], SearchResult]
"""Does one search, in place of this process: objective, ranges, journal, mark."""


@dataclass(frozen=True)
class Searched:
    """The results of a search, and the recipe that holds them."""

    recipe: Path
    results: Mapping[str, SearchResult]
    """By fold; of a shared search, by what it was searched on."""


def search_recipe(
    recipe: Recipe,
    ranges: Sequence[Range],
    out: Path,
    store: Store,
    *,
    trials: int,
    shared: bool = False,
    folds: int | None = None,
    place: Place | None = None,
    watch: Watch | None = None,
) -> Searched:
    """The settings with the best validation UA, written with the recipe into ``out/<name>/searched.toml``.

    Each fold has a search of its own on its own validation part, so that no utterance that it tests was ever
    trained on or scored for it. ``shared``: one search for all folds, on the validation parts of the first
    ``folds``; then test parts of other folds have a vote, and every card states it. The same utterances
    validate the settings and choose epochs later, so the best score itself is a little too good.
    ``watch`` is called with how many of how many trainings are done, one a trial and fold.
    """
    _refuse(recipe, ranges, shared)
    corpus = read_corpus(recipe.manifest, recipe.protocol.level == "dialogue", recipe.rated)
    split = recipe.protocol.split_of(corpus.utterances)
    names = [fold.name for fold in split.folds]
    folder = out / recipe.title
    count = _Count(watch, trials, len(names[:folds]) if shared else 1, 1 if shared else len(names))

    def run(chosen: tuple[str, ...], journal: str) -> SearchResult:
        score = ValidationScore(recipe, chosen)
        parts = [fold for fold in split.folds if fold.name in chosen]
        used = corpus.known([i for fold in parts for i in (*fold.train, *fold.validation)])
        spaces = [asdict(one) for one in ranges]
        mark = fingerprint([recipe.mark(), spaces, chosen, used, code_mark(run_job.__module__)])
        study = folder / f"{journal}.journal"
        if place is not None:
            result = place(score, ranges, study, mark)
        else:
            attempt = partial(_attempt, score, folder / "try", store, count)
            result = search(ranges, attempt, trials=trials, study=study, mark=mark, watch=count.trials_over)
        count.search_over()
        return result

    how = f"{trials} trials over {', '.join(r.key for r in ranges)}"
    with locked(folder):
        if shared:
            chosen = tuple(names[:folds])
            on = f"the validation parts of {', '.join(chosen)}, once for all folds"
            results = {on: run(chosen, "shared")}
            best = results[on].values
            chosen_on = SearchedConfig(on=f"{on}: {how}", shared=True, split=split.hash)
            written = recipe.but(_overrides(best)).model_copy(update={"searched": chosen_on})
        else:
            results = {name: run((name,), name) for name in names}
            settings = {name: tuple(_overrides(result.values)) for name, result in results.items()}
            settings[FINAL] = tuple(_overrides(_middle(ranges, list(results.values()))))
            on = f"each fold's own validation part: {how}"
            written = recipe.model_copy(
                update={"searched": SearchedConfig(on=on, split=split.hash, folds=settings)}
            )
        write_whole(folder / FILE, dump_toml(written.differences()))
    return Searched(folder / FILE, results)


class _Count:
    """Counts the trainings of a search, each trial's folds, for a ``watch``."""

    def __init__(self, watch: Watch | None, trials: int, folds: int, searches: int) -> None:
        self._watch, self._trials, self._folds, self._searches = watch, trials, folds, searches
        self._before = self._over = 0

    def trials_over(self, number: int) -> None:
        self._over = min(number, self._trials)
        self.folds_over(0)

    def folds_over(self, number: int) -> None:
        if self._watch is not None:
            done = (self._before + self._over) * self._folds + number
            self._watch(done, self._searches * self._trials * self._folds)

    def search_over(self) -> None:
        self._before, self._over = self._before + self._trials, 0
        self.folds_over(0)


def _attempt(
    score: ValidationScore,
    folder: Path,
    store: Store,
    count: _Count,
    values: Mapping[str, Any],
    report: Report,
) -> float:
    def counted(step: int, value: float) -> None:
        count.folds_over(min(step, len(score.folds) - 1))  # the last is counted with its trial
        report(step, value)

    return score(values, folder, store, counted)


def _overrides(values: Mapping[str, Any]) -> list[str]:
    return [f"{key}={json.dumps(value)}" for key, value in values.items()]


def _middle(ranges: Sequence[Range], results: Sequence[SearchResult]) -> dict[str, Any]:
    """The settings of the final model: the folds' median; of choices the most frequent."""
    chosen: dict[str, Any] = {}
    for one in ranges:
        values = [result.values[one.key] for result in results]
        chosen[one.key] = Counter(values).most_common(1)[0][0] if one.choices else median_low(values)
    return chosen


def _refuse(recipe: Recipe, ranges: Sequence[Range], shared: bool) -> None:
    """Refuse to search what decides who is tested, and inside folds what all folds share."""
    if "class" not in recipe.target:
        raise ConfigError(f"{recipe.title}: a search goes by validation UA, so the class must be a target")
    own_text = ("text.vocabulary", "text.width") if recipe.text.learned else ()
    for one in ranges:
        room = one.key.partition(".")[0]
        if room not in ("speech", "text", "model", "training"):
            raise ConfigError(f"'{one.key}' is no setting to search: it decides what is measured")
        if not shared and room in ("speech", "text") and one.key not in own_text:
            raise ConfigError(f"'{one.key}' changes features, which all folds share: search it with --shared")
