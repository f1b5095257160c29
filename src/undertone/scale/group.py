"""One fit over several machines: Ray Train starts the processes, the fit is the one that one process has.

Ray Train gives every process its rank and a process group; accelerate, inside ``training.loop.fit``, uses
that group as it would that of its own launcher. The first process writes the job's folder; the others
do the same work in temporary folders.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from undertone.errors import TrainingError
from undertone.files import one_thread, write_whole
from undertone.scale.cluster import connected, most
from undertone.scale.workers import Workers
from undertone.training.jobs import Job, attempt, finished

__all__ = ["fit_together"]

FOLDER = ".train"


def fit_together(job: Job, *, address: str | None = None, workers: Workers | None = None) -> None:
    """Do a job with ``workers`` processes in one group; one that lost a machine continues where it was."""
    chosen = workers or Workers()
    with connected(address) as ray:
        from ray.train import FailureConfig, RunConfig, ScalingConfig
        from ray.train.torch import TorchTrainer

        share = {"CPU": chosen.cpus, **({"GPU": chosen.gpus} if chosen.gpus else {})}
        own = job.folder.absolute().parent / FOLDER
        config = {"job": job, "place": str(Path.cwd()), "threads": chosen.threads}
        trainer = TorchTrainer(
            _process,
            train_loop_config=config,
            scaling_config=ScalingConfig(
                num_workers=most(ray, chosen), use_gpu=chosen.gpus > 0, resources_per_worker=share
            ),
            run_config=RunConfig(
                name="undertone",
                storage_path=str(own),
                failure_config=FailureConfig(max_failures=chosen.retries),
            ),
        )
        try:
            trainer.fit()
        except Exception as error:
            raise TrainingError(f"{job.name}: {str(error).strip().splitlines()[-1]}") from None
        finally:
            shutil.rmtree(own, ignore_errors=True)
    if not finished(job):
        why = job.folder / WHY
        reason = why.read_text(encoding="utf-8") if why.is_file() else "it ended without a model"
        why.unlink(missing_ok=True)
        raise TrainingError(f"{job.name}: {reason}")


WHY = "why.txt"
"""The error of the first process."""


def _process(config: Mapping[str, Any]) -> None:
    """In each process of the group."""
    from ray.train import get_context

    from undertone.experiment.run import run_job

    os.chdir(config["place"])
    one_thread(config["threads"])
    job: Job = config["job"]
    if get_context().get_world_rank() == 0:
        job.folder.mkdir(parents=True, exist_ok=True)
        if why := attempt(run_job, job):
            write_whole(job.folder / WHY, why)
        return
    with tempfile.TemporaryDirectory(prefix="undertone-rank-") as folder:
        if job.folder.is_dir():  # what a lost group had reached
            shutil.copytree(job.folder, folder, dirs_exist_ok=True)
        attempt(run_job, replace(job, folder=Path(folder)))
