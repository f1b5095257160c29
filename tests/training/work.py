"""Work for the tests of jobs, in a module of its own so that spawned processes find it."""

import os

import torch

from undertone.errors import TrainingError
from undertone.training.jobs import Job, mark_done


def do(job: Job) -> None:
    """What the payload says."""
    job.folder.mkdir(parents=True, exist_ok=True)
    if job.payload == "user":
        raise TrainingError("a user's error")
    if job.payload == "bug":
        _ = 1 / 0
    if job.payload == "die":
        os._exit(9)
    if job.payload == "threads":
        (job.folder / "threads").write_text(str(torch.get_num_threads()))
        (job.folder / "process").write_text(str(os.getpid()))
    mark_done(job)
