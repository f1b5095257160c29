"""What a run leaves on disk, read back: ``runs/<name>/``.

::

    card.json                     the protocol card (evaluation.card)
    jobs.json                     every fold and seed that was planned, each with its fingerprint
    facts.jsonl                   facts about each tested utterance (evaluation.facts)
    example.json                  one utterance to look at (see evaluation.report)
    stress.json                   scores under noise, missing modalities, other transcripts (see there too)
    <fold>/<seed>/
        recipe.toml               the resolved recipe
        predictions.jsonl         a prediction plus truth, fold, seed; one line a test utterance
        metrics.json              evaluation.metrics.summary of those, and ``seconds``
        history.jsonl             one line an epoch: {"epoch", "loss", "validation_ua", …}
                                  (or the list ``history`` inside metrics.json)
        embeddings.npz            optional: ``ids (N,)``, ``fused (N, D)``
        done.json                 written last: the fingerprint of the job

A fold's folder counts once it holds both ``predictions.jsonl`` and ``metrics.json``, and where ``jobs.json``
is there, only if it was planned and is done with the planned fingerprint; ``final/`` is never read: it has
no test part.
"""

from __future__ import annotations

import json
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from undertone.config import load_toml
from undertone.errors import DataError, ProtocolError
from undertone.evaluation import card as cards
from undertone.evaluation import facts as known
from undertone.files import write_json

__all__ = ["FinishedJob", "Predictions", "Run", "below", "clear", "read", "write_plan"]

PLAN = "jobs.json"
TRIAL = "trial"
"""Inside a run's folder: the run of single folds that ``undertone train`` makes."""
OF_ALL = ("stress.json", "example.json")
"""Files that are made of all folds."""


@dataclass(frozen=True)
class FinishedJob:
    """One finished training: a fold and a seed."""

    fold: str
    seed: int
    folder: Path

    @cached_property
    def metrics(self) -> dict[str, Any]:
        values: dict[str, Any] = json.loads((self.folder / "metrics.json").read_text(encoding="utf-8"))
        return values

    @cached_property
    def history(self) -> list[dict[str, Any]]:
        """One row an epoch; empty where none was kept."""
        return _lines(self.folder / "history.jsonl") or list(self.metrics.get("history", ()))


@dataclass(frozen=True)
class Predictions:
    """All test predictions of a run, seeds stacked: every array's columns are the same utterances."""

    ids: tuple[str, ...]
    labels: tuple[str, ...]
    truth: NDArray[np.int64]
    """``(N,)``"""
    folds: tuple[str, ...]
    """``(N,)``: the fold that tested each."""
    seeds: tuple[int, ...]
    perspectives: dict[str, NDArray[np.float64]]
    """``fused``, ``speech``, ``text`` → posteriors ``(seeds, N, C)``; a row of nan is an abstention."""

    @property
    def probabilities(self) -> NDArray[np.float64]:
        return self.perspectives["fused"]

    def predicted(self, perspective: str = "fused") -> NDArray[np.int64]:
        """``(seeds, N)`` class indices, -1 where the model abstained."""
        posterior = self.perspectives[perspective]
        decided = np.isfinite(posterior).all(axis=-1)
        return np.where(decided, np.nan_to_num(posterior).argmax(axis=-1), -1)


@dataclass(frozen=True)
class Run:
    """One system under one protocol."""

    name: str
    folder: Path
    card: cards.Card
    jobs: tuple[FinishedJob, ...]
    facts: known.Facts
    predictions: Predictions
    missing: tuple[str, ...] = ()
    """Folds that were planned and are not finished; where only some seeds are not, with these."""

    @property
    def headline(self) -> str:
        """How many folds there are, and which are missing."""
        there = len({job.fold for job in self.jobs})
        if not self.missing:
            return f"{there} folds"
        planned = max(self.card.folds, there)
        return f"{there} of {planned} folds, unfinished: {', '.join(self.missing)}"

    @cached_property
    def rows(self) -> list[dict[str, dict[str, Any]]]:
        """By seed: the line of every tested utterance by its id, of those without a label too."""
        by_seed: dict[int, dict[str, dict[str, Any]]] = defaultdict(dict)
        for job in self.jobs:
            for row in _lines(job.folder / "predictions.jsonl"):
                by_seed[job.seed][row["id"]] = row | {"fold": job.fold}
        return [by_seed[seed] for seed in sorted(by_seed)]

    @cached_property
    def config(self) -> dict[str, Any]:
        """The recipe of the first training, resolved; empty where none was kept."""
        path = self.jobs[0].folder / "recipe.toml"
        return load_toml(path) if path.exists() else {}

    @cached_property
    def examples(self) -> list[dict[str, Any]]:
        """The utterances of ``example.json``; empty where it is missing."""
        path = self.folder / "example.json"
        values = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
        return values if isinstance(values, list) else [values]

    @cached_property
    def stress(self) -> dict[str, Any]:
        """The results of sweeps (see ``evaluation.report``); empty where none was run."""
        path = self.folder / "stress.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}

    @property
    def seconds(self) -> float | None:
        """Training time of all jobs together; None where one did not note it."""
        spent = [float(s) for job in self.jobs if (s := job.metrics.get("seconds")) is not None]
        return sum(spent) if len(spent) == len(self.jobs) else None


def write_plan(folder: Path, jobs: Iterable[tuple[str, int, str]]) -> None:
    """Write the (fold, seed, fingerprint) of every job into a run's folder.

    What was made of all folds of another plan is removed.
    """
    planned = {(fold, seed): mark for fold, seed, mark in jobs}
    if planned != _plan(folder):
        for name in OF_ALL:
            (folder / name).unlink(missing_ok=True)
    rows = [{"fold": fold, "seed": seed, "fingerprint": mark} for (fold, seed), mark in planned.items()]
    write_json(folder / PLAN, rows, indent=1)


def clear(folder: Path) -> None:
    """Remove every fold and the final model of a run, and what was made of them."""
    folds = {path.parent.parent for path in folder.glob("*/*/metrics.json")}
    for path in [folder / PLAN, *(folder / name for name in OF_ALL)]:
        path.unlink(missing_ok=True)
    for path in [*folds, folder / "final"]:
        shutil.rmtree(path, ignore_errors=True)


def below(folder: Path) -> list[Path]:
    """The folder itself where it is a run or holds none; else every run below it but trials, by name."""
    if (folder / PLAN).is_file() or any(folder.glob("*/*/predictions.jsonl")):
        return [folder]
    planned = {plan.parent for plan in folder.rglob(PLAN)}
    predicted = {path.parents[2] for path in folder.rglob("*/*/predictions.jsonl")}  # `score` plans nothing
    return sorted(run for run in planned | predicted if run.name != TRIAL) or [folder]


def read(folder: Path) -> Run:
    """The run in ``folder``; refuses predictions that do not belong together."""
    folders = sorted(path.parent for path in folder.glob("*/*/predictions.jsonl"))
    jobs = sorted((job for job in map(_job, folders) if job), key=lambda job: (job.fold, job.seed))
    if planned := _plan(folder):
        jobs = [job for job in jobs if planned.get((job.fold, job.seed), "") == _done(job.folder)]
    if not jobs:
        raise DataError(f"{folder}: no finished fold (looked for <fold>/<seed>/predictions.jsonl)")
    card = cards.read(folder)
    missing = _missing(planned, jobs, card)
    name = f"{folder.parent.name} {TRIAL}" if folder.name == TRIAL else folder.name
    return Run(name, folder, card, tuple(jobs), known.read(folder), _predictions(jobs), missing)


def _plan(folder: Path) -> dict[tuple[str, int], str]:
    """(fold, seed) → fingerprint of every planned job; empty where no plan was kept."""
    path = folder / PLAN
    if not path.exists():
        return {}
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        return {(str(row["fold"]), int(row["seed"])): str(row["fingerprint"]) for row in rows}
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: not a plan of jobs ({error}); run the cross-validation again") from None


def _done(folder: Path) -> str | None:
    """The fingerprint with which a job was finished."""
    try:
        values = json.loads((folder / "done.json").read_text(encoding="utf-8"))
        return str(values["fingerprint"])
    except (FileNotFoundError, KeyError, TypeError, ValueError):
        return None


def _missing(
    planned: dict[tuple[str, int], str], jobs: Sequence[FinishedJob], card: cards.Card
) -> tuple[str, ...]:
    done = {(job.fold, job.seed) for job in jobs}
    folds = {job.fold for job in jobs}
    if not planned:  # a run without a plan: what is missing has no name
        lacking = card.folds - len(folds)
        return (f"{lacking} of unknown name",) if lacking > 0 else ()
    seeds: dict[str, list[int]] = defaultdict(list)
    for fold, seed in planned.keys() - done:
        seeds[fold].append(seed)
    return tuple(
        f"{fold} (seed {', '.join(map(str, sorted(seeds[fold])))})" if fold in folds else fold
        for fold in dict.fromkeys(fold for fold, _ in planned)
        if fold in seeds
    )


def _job(folder: Path) -> FinishedJob | None:
    """The job of a fold's folder; None where it is not finished or not a fold."""
    if not (folder / "metrics.json").exists() or not folder.name.lstrip("-").isdecimal():
        return None
    return FinishedJob(folder.parent.name, int(folder.name), folder)


def _lines(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]
    except ValueError as error:
        raise DataError(f"{path}: a line is not JSON ({error}); delete the fold's folder and rerun") from None


def _predictions(jobs: Sequence[FinishedJob]) -> Predictions:
    by_seed: dict[int, dict[str, dict[str, Any]]] = defaultdict(dict)
    for job in jobs:
        for row in _lines(job.folder / "predictions.jsonl"):
            if row.get("truth") is None:
                continue
            if row["id"] in by_seed[job.seed]:
                raise ProtocolError(f"{job.folder}: '{row['id']}' is tested twice with seed {job.seed}")
            by_seed[job.seed][row["id"]] = {**row, "fold": job.fold}
    if not by_seed:
        raise DataError(f"{jobs[0].folder.parent.parent}: no prediction has a truth to compare with")
    seeds = tuple(sorted(by_seed))
    root = jobs[0].folder.parent.parent
    tested = max(by_seed.values(), key=len)
    ids = tuple(sorted(tested))
    for seed in seeds:
        if lacking := sorted(tested.keys() ^ by_seed[seed].keys()):
            raise ProtocolError(
                f"{root}: seed {seed} did not test the same utterances as the others "
                f"({len(lacking)} differ, first '{lacking[0]}'); finish the run first"
            )
    labels = tuple(jobs[0].metrics.get("labels") or tested[ids[0]]["probabilities"])
    rows = [[by_seed[seed][i] for i in ids] for seed in seeds]
    return Predictions(
        ids=ids,
        labels=labels,
        truth=np.array([_index(labels, tested[i]) for i in ids]),
        folds=tuple(tested[i]["fold"] for i in ids),
        seeds=seeds,
        perspectives=_perspectives(rows, labels),
    )


def _index(labels: Sequence[str], row: dict[str, Any]) -> int:
    try:
        return labels.index(row["truth"])
    except ValueError:
        raise ProtocolError(
            f"{row['id']}: truth '{row['truth']}' is not among the labels {', '.join(labels)}"
        ) from None


def _perspectives(rows: list[list[dict[str, Any]]], labels: Sequence[str]) -> dict[str, NDArray[np.float64]]:
    """The posteriors; ``fused`` is the prediction's own, a side is kept where every prediction has it."""

    def stack(pick: Callable[[dict[str, Any]], dict[str, float]]) -> NDArray[np.float64]:
        return np.array([[[pick(row).get(c, np.nan) for c in labels] for row in line] for line in rows])

    fused = stack(lambda row: row["probabilities"])
    fused[np.array([[row["label"] is None for row in line] for line in rows])] = np.nan
    sides = ("speech", "text")
    complete = [s for s in sides if all(row.get("perspectives", {}).get(s) for line in rows for row in line)]
    return {"fused": fused} | {side: stack(partial(_side, side)) for side in complete}


def _side(side: str, row: dict[str, Any]) -> dict[str, float]:
    posterior: dict[str, float] = row["perspectives"][side]
    return posterior
