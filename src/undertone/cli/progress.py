"""Progress of trainings, on stderr where somebody looks."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from undertone.training.jobs import Failure, Job

__all__ = ["EpochBar", "JobBar"]


class _Bar:
    """A bar on stderr, when stderr is a terminal."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
            disable=not sys.stderr.isatty(),
        )
        self.task: Any = None

    def __enter__(self) -> Any:
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()


class JobBar(_Bar):
    """Jobs of a cross-validation."""

    def start(self, jobs: Sequence[Job]) -> None:
        from undertone.training.jobs import finished

        done = sum(finished(job) for job in jobs)
        self.task = self.bar.add_task("folds", total=len(jobs), completed=done)

    def ended(self, job: Job, failure: Failure | None) -> None:
        self.bar.update(self.task, advance=1, description=f"{job.name}{' failed' if failure else ''}")


class EpochBar(_Bar):
    """Steps of one training, with its loss and what the validation side says."""

    def __init__(self, epochs: int) -> None:
        super().__init__()
        self.epochs, self.past = epochs, 0
        self.said = ""

    def step(self, done: int, total: int, loss: float) -> None:
        if self.task is None:
            self.task = self.bar.add_task("epoch 1", total=total * self.epochs)
        at = self.past * total + done
        self.bar.update(self.task, completed=at, description=f"loss {loss:.3f} {self.said}")

    def epoch(self, record: dict[str, Any]) -> None:
        self.past = record["epoch"]
        if "validation_ua" in record:
            self.said = f"validation UA {100 * record['validation_ua']:.1f}"
        if not sys.stderr.isatty():
            print(f"epoch {record['epoch']}: loss {record['loss']:.3f} {self.said}", file=sys.stderr)
