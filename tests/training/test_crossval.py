"""Jobs: skipped when done, reported when failed, none lost with another's process."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
from work import do

from undertone.training.jobs import Failure, Job, finished, run_jobs


def jobs(folder: Path, *payloads: str) -> list[Job]:
    return [Job("run", f"fold{i}", 0, folder / str(i), "abc", payload) for i, payload in enumerate(payloads)]


@pytest.mark.parametrize("processes", [1, 2])
def test_a_failed_job_is_reported_and_the_others_are_done(tmp_path: Path, processes: int) -> None:
    planned = jobs(tmp_path, "fine", "user", "bug", "fine")
    failures = run_jobs(planned, do, processes=processes)
    assert [(f.job.fold, f.why.splitlines()[-1]) for f in failures] == [
        ("fold1", "a user's error"),
        ("fold2", "ZeroDivisionError: division by zero"),
    ]
    assert [finished(job) for job in planned] == [True, False, False, True]


def test_finished_jobs_are_skipped_and_failed_ones_done_again(tmp_path: Path) -> None:
    planned = jobs(tmp_path, "fine", "user")
    run_jobs(planned, do)
    seen: list[str] = []

    def watch(job: Job, failure: Failure | None) -> None:
        seen.append(job.fold)

    run_jobs(planned, do, watch=watch)
    assert seen == ["fold1"]


def test_other_settings_do_a_finished_job_again(tmp_path: Path) -> None:
    job = jobs(tmp_path, "fine")[0]
    run_jobs([job], do)
    assert finished(job) and not finished(replace(job, fingerprint="other"))


def test_a_process_that_dies_takes_no_other_job_with_it(tmp_path: Path) -> None:
    planned = jobs(tmp_path, "fine", "die", "fine", "fine")
    failures = run_jobs(planned, do, processes=2)
    assert [(f.job.fold, f.why) for f in failures] == [
        ("fold1", "its process died (killed, or out of memory?)")
    ]
    assert sum(finished(job) for job in planned) == 3


def test_each_process_has_one_thread(tmp_path: Path) -> None:
    planned = jobs(tmp_path, "threads", "threads")
    assert run_jobs(planned, do, processes=2) == []
    assert {(job.folder / "threads").read_text() for job in planned} == {"1"}
    assert (planned[0].folder / "process").read_text() != str(os.getpid())
