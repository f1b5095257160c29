"""Recipes × folds × seeds: planned, and run as jobs that share one store; each recipe leaves a run."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from undertone import auditing, splits
from undertone.code import code_mark
from undertone.config import dump_toml, fingerprint
from undertone.errors import ConfigError, UndertoneError
from undertone.evaluation import card as cards
from undertone.evaluation import facts, runs
from undertone.experiment.material import (
    Features,
    LabelledCorpus,
    gather_features,
    read_corpus,
    write_features,
)
from undertone.experiment.networks import FINAL, warm_mark
from undertone.experiment.recipe import Recipe, load_recipe
from undertone.experiment.run import Task, run_job
from undertone.files import locked, refuse_place, write_whole
from undertone.models.table import SYSTEMS
from undertone.store import Store
from undertone.training.jobs import Failure, Job, Work, run_jobs

__all__ = ["Crossval", "Plan", "Runner", "crossval", "plan", "reserved"]

log = logging.getLogger(__name__)

Watched = Callable[[Job, Failure | None], None]


class Runner(Protocol):
    """Does jobs: ``training.jobs.run_jobs``, or what places them elsewhere."""

    def __call__(self, jobs: Sequence[Job], work: Work, /, *, watch: Watched | None) -> list[Failure]:
        """The failures."""


@dataclass(frozen=True)
class Plan:
    """One recipe's run, ready to start."""

    recipe: Recipe
    folder: Path
    split: splits.Split
    corpus: LabelledCorpus
    jobs: tuple[Job, ...]
    """A job for each fold and seed."""
    final: Job | None


@dataclass(frozen=True)
class Crossval:
    """The runs of a cross-validation, and what failed in them."""

    runs: tuple[Path, ...]
    """The runs' folders, in the order of the recipes."""
    failures: tuple[Failure, ...]

    @property
    def whole(self) -> tuple[Path, ...]:
        """The runs of which every fold was tested; a final model may be missing."""
        broken = {f.job.run for f in self.failures if f.job.fold != FINAL}
        return tuple(run for run in self.runs if run.name not in broken)


def crossval(
    recipes: Sequence[Recipe],
    out: Path,
    *,
    store: Store | None = None,
    processes: int = 1,
    final: bool = True,
    start: Callable[[Sequence[Job]], None] | None = None,
    watch: Watched | None = None,
    runner: Runner | None = None,
    over: bool = False,
) -> Crossval:
    """Run every recipe into ``out/<name>``; what an earlier call finished is not done again.

    ``runner`` does the jobs in place of this machine's processes. A name under which there is a run with
    other settings is refused; ``over`` replaces that run.
    """
    run = runner or partial(run_jobs, processes=processes)
    titles = [recipe.title for recipe in recipes]
    if len(set(titles)) < len(titles):
        raise ConfigError(f"two recipes are called '{max(titles, key=titles.count)}': give one a name")
    for recipe in recipes:
        refuse_place(out / recipe.title, folder=True)
    features = _Shared(Store() if store is None else store, processes)  # an empty one is falsy
    with ExitStack() as stack:
        for recipe in recipes:
            stack.enter_context(reserved(recipe, out / recipe.title, over))
        plans = [plan(recipe, out / recipe.title, features.of, final=final) for recipe in recipes]
        jobs = [job for planned in plans for job in planned.jobs]
        finals = [planned.final for planned in plans if planned.final is not None]
        if start is not None:
            start([*jobs, *finals])
        # the longest first, so that no process is left alone with one at the end
        failures = run(_longest_first(jobs), run_job, watch=watch)
        lost = {failure.job.run for failure in failures}
        ready = [job for job in finals if job.run not in lost]
        failures += run(ready, run_job, watch=watch)
    return Crossval(tuple(planned.folder for planned in plans), tuple(failures))


@contextmanager
def reserved(recipe: Recipe, folder: Path, over: bool = False) -> Iterator[None]:
    """A run's folder for this process alone, and for this recipe.

    One with finished folds of other settings or another corpus is refused, or cleared with ``over``.
    """
    with locked(folder):
        if any(folder.glob("*/*/metrics.json")) and (other := _other(recipe, folder)):
            if not over:
                raise ConfigError(
                    f"{folder}: there is a run with other settings ({other}): "
                    "--set name=NAME makes another run, --over replaces this one"
                )
            runs.clear(folder)
        yield


def _other(recipe: Recipe, folder: Path) -> str:
    """How the run in ``folder`` differs from what the recipe would train; empty where it does not."""
    try:
        before = load_recipe(folder / "recipe.toml")
        data = cards.read(folder).data
    except UndertoneError:
        return "of another version, or damaged"
    if before.mark() != recipe.mark():
        return ", ".join(recipe.changes(before)[:3])
    same = Path(before.manifest).absolute() == Path(recipe.manifest).absolute()
    if same or data == read_corpus(recipe.manifest, recipe.every_turn, recipe.rated).mark:
        return ""
    return f"manifest = {before.manifest}"


@dataclass
class _Shared:
    """Features are gathered once for all recipes that want the same."""

    store: Store
    processes: int

    def __post_init__(self) -> None:
        self._features: dict[str, Features] = {}

    def of(self, recipe: Recipe, corpus: LabelledCorpus) -> Features:
        wanted = [recipe.manifest, corpus.mark, recipe.uses_speech and recipe.speech.plain()]
        key = fingerprint([*wanted, recipe.uses_text and recipe.text.plain()])
        if key not in self._features:
            self._features[key] = gather_features(recipe, corpus.utterances, self.store, jobs=self.processes)
        return self._features[key]


def plan(
    recipe: Recipe,
    folder: Path,
    features_of: Callable[[Recipe, LabelledCorpus], Features],
    *,
    final: bool = True,
) -> Plan:
    """The jobs of a run; what is missing is encoded, and its folder gets card, facts, folds, features."""
    protocol = recipe.protocol
    if recipe.training.warm:
        _refuse_warm(recipe)  # before anything is encoded
    corpus = read_corpus(recipe.manifest, recipe.every_turn, recipe.rated)
    split = protocol.split_of(corpus.utterances)
    features = features_of(recipe, corpus)
    if recipe.searched.folds and recipe.searched.split != split.hash:
        raise ConfigError(f"{recipe.title}: its settings were searched inside other folds: search again")
    data = [corpus.mark, split.hash, features.mark, code_mark(run_job.__module__)]

    def data_of(fold: str, seed: int) -> list[Any]:
        return [*data, warm_mark(recipe, fold, seed)] if recipe.training.warm else data

    def job(fold: str, seed: int, place: Path) -> Job:
        own = recipe.in_fold(fold)
        mark = fingerprint([fingerprint([own.mark(), *data_of(fold, seed)]), fold, seed])
        return Job(recipe.title, fold, seed, place, mark, Task(own, folder))

    jobs = tuple(
        job(fold.name, seed, folder / fold.name / str(seed))
        for fold in split.folds
        for seed in range(protocol.seeds)
    )
    _write(recipe, folder, corpus, split, features, jobs)
    last = replace(
        job(FINAL, 0, folder / FINAL),
        fingerprint=fingerprint([recipe.mark(), *data_of(FINAL, 0), FINAL, protocol.seeds]),
    )
    return Plan(recipe, folder, split, corpus, jobs, last if final else None)


def _refuse_warm(recipe: Recipe) -> None:
    """ConfigError where the run of ``training.warm`` has no training, or knows its validation parts."""
    run = Path(recipe.training.warm)
    if not any(run.glob("*/*/done.json")):
        raise ConfigError(
            f"training.warm = '{recipe.training.warm}': no finished run there; train it first, with the same"
            " recipe and tune = 'frozen'"
        )
    if cards.read(run).refit:
        raise ConfigError(
            f"training.warm = '{recipe.training.warm}' has learned its validation parts too (protocol.refit),"
            " by which epoch and temperature are chosen; train that run with protocol.refit=false"
        )


def _write(
    recipe: Recipe,
    folder: Path,
    corpus: LabelledCorpus,
    split: splits.Split,
    features: Features,
    jobs: Sequence[Job],
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    splits.write(folder / "split.json", split)
    write_features(folder, features)
    known = facts.facts(corpus.utterances, split)
    facts.write(folder, known)
    unit, _ = facts.units(known, known, "" if recipe.protocol.unit == "corpus" else recipe.protocol.unit)
    stamps = (*split.stamps, *(s for s in facts.unit_stamps(known, known, unit) if s == facts.PAIRED))
    card = protocol_card(recipe, corpus, split, features, findings(corpus, split))
    cards.write(folder, replace(card, unit=unit, stamps=stamps))
    runs.write_plan(folder, [(job.fold, job.seed, job.fingerprint) for job in jobs])
    write_whole(folder / "recipe.toml", dump_toml(recipe.plain()))


_FINDINGS: dict[tuple[str, str], tuple[str, ...]] = {}


def findings(corpus: LabelledCorpus, split: splits.Split) -> tuple[str, ...]:
    """The audit of the texts and speakers of this split, line by line; made once for all recipes."""
    key = (corpus.mark, split.hash)
    if key not in _FINDINGS:
        _FINDINGS[key] = tuple(auditing.examine(corpus.utterances, split, recordings=False).lines)
    return _FINDINGS[key]


def protocol_card(
    recipe: Recipe,
    corpus: LabelledCorpus,
    split: splits.Split,
    features: Features,
    lines: tuple[str, ...] = (),
) -> cards.Card:
    """Everything that makes the run's numbers comparable, or not."""
    labelled = [u.label for u in corpus.utterances if u.label is not None]
    return cards.Card(
        corpus=corpus.name,
        labels=corpus.label_set,
        protocol=split.protocol + (" strict" if recipe.protocol.strict else ""),
        seeds=tuple(range(recipe.protocol.seeds)),
        counts={label: labelled.count(label) for label in corpus.labels},
        data=corpus.mark,
        split=split.hash,
        folds=len(split.folds),
        stamps=split.stamps,
        level=recipe.protocol.level,
        selection=recipe.protocol.selection,
        calibration=recipe.protocol.selection,
        search=recipe.searched.on if recipe.searched.shared else "",
        refit=recipe.protocol.refit,
        context=getattr(recipe.model, "turns", "none"),
        context_turns=recipe.protocol.context_turns if recipe.protocol.level == "dialogue" else "",
        transcripts=recipe.protocol.transcripts,
        encoders={side: _summary(encoder) for side, encoder in features.encoders.items()},
        audit=lines,
        code=cards.code_version(),
        machine=cards.this_machine(),
        notes=(*recipe.notes, *_searched(recipe)),
    )


def _searched(recipe: Recipe) -> tuple[str, ...]:
    nested = recipe.searched.on and not recipe.searched.shared
    return (f"settings were searched on {recipe.searched.on}",) if nested else ()


def _summary(encoder: dict[str, Any]) -> str:
    revision = encoder.get("revision")
    tuned = f", tuned: {_tuning(encoder['tuning'])}" if "tuning" in encoder else ""
    return f"{encoder['name']}{'@' + revision if revision else ''} ({encoder['identity']}{tuned})"


def _tuning(tuning: dict[str, Any]) -> str:
    how = f"top {tuning['top']}" if tuning["tune"] == "top-k" else tuning["tune"]
    return f"{how}, layer {tuning['layer']}"


def _longest_first(jobs: Sequence[Job]) -> list[Job]:
    return sorted(jobs, key=lambda job: -SYSTEMS[job.payload.recipe.system][0].cost)
