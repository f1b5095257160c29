"""Experiments: ``study``, ``crossval`` and ``report``."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from undertone.api.frames import Places, Watch, frame_of, several

if TYPE_CHECKING:
    import pandas as pd

    from undertone.evaluation.results import Result
    from undertone.experiment.study.run import StudyResult

__all__ = ["crossval", "report", "study"]


def study(
    clips: str | Path,
    out: str | Path,
    *,
    budget: str = "10m",
    label_from: str | None = None,
    speaker_from: str | None = None,
    columns: Mapping[str, str] | None = None,
    label_map: Mapping[str, str | None] | None = None,
    asr: str | None = None,
    jobs: int | None = None,
    plan_only: bool = False,
    say: Callable[[str], None] | None = None,
    watch: Watch | None = None,
) -> StudyResult:
    """From somebody's own clips to a report and a model, as ``undertone study``.

    ``say`` gets each line about the clips and the plan, ``watch`` the number of trainings that are done.
    ``report(out, frame=True)`` then gives a row a system.
    """
    from undertone.experiment.study.clips import Choices
    from undertone.experiment.study.plan import budget_seconds
    from undertone.experiment.study.run import study as run

    count = _Count(watch)
    return run(
        Path(clips),
        Path(out),
        choices=Choices(label_from, speaker_from, dict(columns or {}), label_map),
        budget=budget_seconds(budget),
        processes=jobs or os.cpu_count() or 1,
        asr=asr,
        plan_only=plan_only,
        say=say or logging.getLogger("undertone.study").info,
        start=count.start,
        watch=count.ended,
    )


class _Count:
    """Counts jobs for a ``watch``."""

    def __init__(self, watch: Watch | None) -> None:
        self.watch, self.done, self.total = watch, 0, 0

    def start(self, jobs: Sequence[Any]) -> None:
        from undertone.training.jobs import finished

        self.done, self.total = sum(map(finished, jobs)), len(jobs)

    def ended(self, *_: Any) -> None:
        self.done += 1
        if self.watch is not None:
            self.watch(self.done, self.total)


@overload
def crossval(
    recipes: Places,
    out: str | Path = ...,
    *,
    changes: Iterable[str] = ...,
    jobs: int | None = ...,
    final: bool = ...,
    watch: Watch | None = ...,
    frame: Literal[False] = ...,
) -> list[Result]: ...
@overload
def crossval(
    recipes: Places,
    out: str | Path = ...,
    *,
    changes: Iterable[str] = ...,
    jobs: int | None = ...,
    final: bool = ...,
    watch: Watch | None = ...,
    frame: Literal[True],
) -> pd.DataFrame: ...
def crossval(
    recipes: Places,
    out: str | Path = "runs",
    *,
    changes: Iterable[str] = (),
    jobs: int | None = None,
    final: bool = True,
    watch: Watch | None = None,
    frame: bool = False,
) -> list[Result] | pd.DataFrame:
    """Every fold of some recipes (files, or names as ``transfer/speech``), with ``changes`` as ``--set``."""
    from undertone.errors import TrainingError
    from undertone.evaluation.results import evaluate
    from undertone.experiment.crossval import crossval as run
    from undertone.experiment.recipe import load_recipe

    overrides, count = list(changes), _Count(watch)
    loaded = [load_recipe(Path(one), overrides) for one in several(recipes)]
    processes = jobs or os.cpu_count() or 1
    done = run(loaded, Path(out), processes=processes, final=final, start=count.start, watch=count.ended)
    if done.failures:
        raise TrainingError(f"{len(done.failures)} jobs failed, the first: {done.failures[0].why}")
    results = [evaluate(folder) for folder in done.whole]
    return _scores(results) if frame else results


@overload
def report(
    runs: Places, out: str | Path = ..., *, reference: str | None = ..., frame: Literal[False] = ...
) -> list[Result]: ...
@overload
def report(
    runs: Places, out: str | Path = ..., *, reference: str | None = ..., frame: Literal[True]
) -> pd.DataFrame: ...
def report(
    runs: Places, out: str | Path = "report.html", *, reference: str | None = None, frame: bool = False
) -> list[Result] | pd.DataFrame:
    """Measure runs (or all below a folder) and write the page ``out``, with Markdown beside it."""
    from undertone.evaluation.report import render
    from undertone.evaluation.runs import below

    folders = [folder for run in several(runs) for folder in below(Path(run))]
    results = render(folders, Path(out), reference=reference)
    return _scores(results) if frame else results


def _scores(results: Sequence[Result]) -> pd.DataFrame:
    rows = []
    for result in results:
        interval = result.intervals["ua"]
        scores = {name: spread.mean for name, spread in result.seeds.items()}
        rows.append({"system": result.name, **scores, "ua_low": interval.low, "ua_high": interval.high})
    return frame_of(rows)
