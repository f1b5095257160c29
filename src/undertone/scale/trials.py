"""Cross-validation and search as Ray Tune trials, over the plan that the local runner has.

A job is a folder that all machines share and what fills it (``training.jobs``): a trial does one job, and
a finished job gets no trial. So a run begun on a cluster can be continued on one machine, and the reverse.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from undertone.experiment.search import ValidationScore
from undertone.files import one_thread
from undertone.scale.cluster import connected, most
from undertone.scale.workers import Workers
from undertone.training.jobs import Failure, Job, Work, attempt, finished
from undertone.training.search import Range, SearchResult, best_of, open_storage, study_name

__all__ = ["run_jobs", "search"]

FOLDER = ".tune"
"""Beside the runs: Tune's own records; removed at the end."""


def run_jobs(
    jobs: Sequence[Job],
    work: Work,
    *,
    address: str | None = None,
    workers: Workers | None = None,
    watch: Callable[[Job, Failure | None], None] | None = None,
) -> list[Failure]:
    """As ``training.jobs.run_jobs``, each job a trial somewhere on the cluster."""
    waiting = [job for job in jobs if not finished(job)]
    if not waiting:
        return []
    chosen = workers or Workers()
    with connected(address):
        from ray import tune

        trial = tune.with_parameters(_job, jobs=waiting, work=work, place=Path.cwd(), threads=chosen.threads)
        grid = _fit(
            trial,
            chosen,
            waiting[0].folder.absolute().parents[2] / FOLDER,
            {"job": tune.grid_search(list(range(len(waiting))))},
            tune.TuneConfig(max_concurrent_trials=chosen.workers or None, reuse_actors=True),
            [_callback(waiting, watch)] if watch is not None else [],
        )
        reasons = {result.config["job"]: _why(result) for result in grid}
    failed = [(job, reasons.get(index, LOST)) for index, job in enumerate(waiting)]
    return [Failure(job, why) for job, why in failed if why]


LOST = "its machine was lost, and again each time it was tried"


def _job(config: Mapping[str, Any], jobs: Sequence[Job], work: Work, place: Path, threads: int) -> None:
    from ray import tune

    os.chdir(place)  # recipes name manifests by paths relative to the user's folder
    one_thread(threads)
    tune.report({"why": attempt(work, jobs[config["job"]]) or ""})


def _why(result: Any) -> str | None:
    """What went wrong with a trial, None where nothing did."""
    if result.error is not None:
        return f"{LOST} ({str(result.error).strip().splitlines()[-1]})"
    why: str = (result.metrics or {}).get("why", LOST)
    return why or None


def _callback(jobs: Sequence[Job], watch: Callable[[Job, Failure | None], None]) -> Any:
    """What Tune calls when a trial ends; only in the driver, though Tune saves a copy of it."""
    from ray import tune

    class TrialWatch(tune.Callback):  # type: ignore[misc]
        def __init__(self, report: Callable[[int, str], None] | None) -> None:
            self.report = report

        def __getstate__(self) -> dict[str, Any]:
            return {"report": None}

        def on_trial_complete(self, **info: Any) -> None:
            if self.report is not None:
                trial = info["trial"]
                self.report(trial.config["job"], trial.last_result.get("why", ""))

        def on_trial_error(self, **info: Any) -> None:
            if self.report is not None:
                self.report(info["trial"].config["job"], LOST)

    return TrialWatch(lambda index, why: watch(jobs[index], Failure(jobs[index], why) if why else None))


def _fit(
    trial: Any, workers: Workers, folder: Path, space: Any, config: Any, callbacks: list[Any]
) -> Sequence[Any]:
    """All trials, each with a worker's share of a machine; one whose machine is lost is tried again."""
    from ray import tune

    share = {"cpu": workers.cpus, **({"gpu": workers.gpus} if workers.gpus else {})}
    try:
        results: Sequence[Any] = tune.Tuner(
            tune.with_resources(trial, share),
            param_space=space,
            tune_config=config,
            run_config=tune.RunConfig(
                name="undertone",
                storage_path=str(folder),
                failure_config=tune.FailureConfig(max_failures=workers.retries),
                callbacks=callbacks,
                verbose=0,
            ),
        ).fit()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return results


# ---- search ------------------------------------------------------------------------------------------


def search(
    objective: ValidationScore,
    ranges: Sequence[Range],
    study: Path,
    mark: str,
    *,
    store: Path | None,
    trials: int,
    address: str | None = None,
    workers: Workers | None = None,
) -> SearchResult:
    """As ``training.search.search``, several settings tried at once; the study on disk is the same."""
    chosen = workers or Workers()
    study = study.absolute()
    with connected(address) as ray:
        from ray import tune
        from ray.tune.schedulers import MedianStoppingRule

        searcher, opened = _optuna(ranges, study, mark)
        done = sum(t.state.is_finished() for t in opened.trials)
        if done < trials:
            fixed = {"out": study.parent, "store": store, "place": Path.cwd(), "threads": chosen.threads}
            trial = tune.with_parameters(_setting, objective=objective, **fixed)
            stopping = MedianStoppingRule(
                time_attr="training_iteration", grace_period=1, min_samples_required=4
            )
            config = tune.TuneConfig(
                metric="score",
                mode="max",
                search_alg=searcher,
                scheduler=stopping,
                num_samples=trials - done,
                max_concurrent_trials=most(ray, chosen),
            )
            _fit(trial, chosen, study.parent / FOLDER, {}, config, [])
        return best_of(_optuna(ranges, study, mark)[1], study)


def _setting(
    config: Mapping[str, Any],
    objective: ValidationScore,
    out: Path,
    store: Path | None,
    place: Path,
    threads: int,
) -> None:
    """One setting on the validation part of each fold; one report a fold."""
    from ray import tune

    from undertone.store import Store

    os.chdir(place)
    one_thread(threads)
    # settings tried at once share no folder
    own = out / FOLDER / "folders" / tune.get_context().get_trial_id()
    objective(dict(config), own, Store(store), lambda _step, score: tune.report({"score": score}))


def _optuna(ranges: Sequence[Range], study: Path, mark: str) -> tuple[Any, Any]:
    """Tune's searcher over the study's journal, and the study."""
    storage, name = open_storage(study), study_name(ranges, mark)
    import optuna
    from ray.tune.search.optuna import OptunaSearch

    space = _Space(tuple(ranges))
    searcher = OptunaSearch(space=space, metric="score", mode="max", seed=0, storage=storage, study_name=name)
    return searcher, optuna.create_study(
        study_name=name, storage=storage, direction="maximize", load_if_exists=True
    )


@dataclass(frozen=True)
class _Space:
    """The ranges as Optuna calls them."""

    ranges: tuple[Range, ...]

    def __call__(self, trial: Any) -> None:
        for one in self.ranges:
            one.suggest(trial)
