"""Many trainings as jobs: in parallel processes of one thread each; finished ones are skipped.

A job is a folder and what makes it. It is done when its folder holds ``done.json``, which is written
last and names the fingerprint of everything that determined it. One job that fails, even by
taking its process down, does not lose the others.
"""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from undertone.errors import UndertoneError
from undertone.files import refusal, spawned_pool, write_json

__all__ = ["DONE", "Failure", "Job", "attempt", "finished", "mark_done", "run_jobs"]

log = logging.getLogger(__name__)

DONE = "done.json"
"""``{"fingerprint": …}``, written after everything else of a job."""


@dataclass(frozen=True)
class Job:
    """One training of one system on one fold with one seed."""

    run: str
    """Name of the run it belongs to."""
    fold: str
    seed: int
    folder: Path
    fingerprint: str
    """Of the recipe, the data and the split; a folder with another is done again."""
    payload: Any = None
    """What the worker needs; must be picklable."""

    @property
    def name(self) -> str:
        return f"{self.run} {self.fold}/{self.seed}"


@dataclass(frozen=True)
class Failure:
    """A job that did not end well."""

    job: Job
    why: str
    """One line for the user's errors; a traceback for the program's."""


Work = Callable[[Job], None]
"""Does one job; a top-level function, since processes are spawned."""


def finished(job: Job) -> bool:
    """Whether the job's folder is complete, and of the same settings."""
    try:
        values = json.loads((job.folder / DONE).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return False
    same: bool = values.get("fingerprint") == job.fingerprint
    if not same:
        log.warning("%s: made with other settings, code or data: doing it again", job.folder)
    return same


def mark_done(job: Job) -> None:
    """Mark the job's folder as complete."""
    write_json(job.folder / DONE, {"fingerprint": job.fingerprint})


def run_jobs(
    jobs: Sequence[Job],
    work: Work,
    *,
    processes: int = 1,
    watch: Callable[[Job, Failure | None], None] | None = None,
) -> list[Failure]:
    """Do every job that is not finished; returns those that failed, in the order of ``jobs``.

    ``watch`` is called as each job ends. With one process the jobs run in this one.
    """
    waiting = [job for job in jobs if not finished(job)]
    failures: dict[str, Failure] = {}
    for job, failure in _in_process(waiting, work) if processes <= 1 else _spawned(waiting, work, processes):
        if failure is not None:
            failures[job.name] = failure
        if watch is not None:
            watch(job, failure)
    return [failures[job.name] for job in waiting if job.name in failures]


def _in_process(jobs: Iterable[Job], work: Work) -> Iterator[tuple[Job, Failure | None]]:
    for job in jobs:
        why = attempt(work, job)
        yield job, Failure(job, why) if why else None


def _spawned(jobs: Sequence[Job], work: Work, processes: int) -> Iterator[tuple[Job, Failure | None]]:
    """One pool for all jobs; those that were in it when it broke run once more, each in a pool of its own."""
    suspects: list[Job] = []
    for job, failure in _pool(jobs, work, min(processes, max(1, len(jobs)))):
        if failure is _BROKEN:
            suspects.append(job)
        else:
            yield job, failure
    for job in suspects:
        for _, failure in _pool([job], work, 1):
            died = Failure(job, "its process died (killed, or out of memory?)")
            yield job, died if failure is _BROKEN else failure


_BROKEN = Failure(Job("", "", 0, Path(), ""), "")


def _pool(jobs: Sequence[Job], work: Work, processes: int) -> Iterator[tuple[Job, Failure | None]]:
    with spawned_pool(processes) as pool:
        futures: dict[Future[str | None], Job] = {pool.submit(attempt, work, job): job for job in jobs}
        for future in as_completed(futures):
            job = futures[future]
            try:
                why = future.result()
            except BrokenProcessPool:
                yield job, _BROKEN
            else:
                yield job, Failure(job, why) if why else None


def attempt(work: Work, job: Job) -> str | None:
    """Do a job; returns a user's error in one line, a program's as a traceback; None without an error."""
    try:
        work(job)
    except UndertoneError as error:
        return str(error)
    except OSError as error:
        return refusal(error)
    except Exception:
        return traceback.format_exc()
    return None
