"""Messages on stderr, and progress there: a bar where that is a terminal, else a line a minute."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from undertone.progress import Lines, bar, drawn, track

if TYPE_CHECKING:
    from undertone.training.jobs import Failure, Job

__all__ = ["EpochBar", "JobBar", "bar", "say", "track"]


def say(text: object) -> None:
    """Print a message on stderr, in the voice of all messages."""
    print(f"undertone: {text}", file=sys.stderr)


class _Bar:
    """A bar over the steps of a training or the jobs of a run."""

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
            disable=not drawn(),
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

        self.done, self.total = sum(finished(job) for job in jobs), len(jobs)
        self.lines = Lines("folds", self.done)
        self.task = self.bar.add_task("folds", total=self.total, completed=self.done)

    def ended(self, job: Job, failure: Failure | None) -> None:
        self.done += 1
        self.bar.update(self.task, advance=1, description=f"{job.name}{' failed' if failure else ''}")
        if not drawn():
            self.lines(self.done, self.total)
        if failure is not None:
            say(f"{job.name} failed: {failure.why}")


class EpochBar(_Bar):
    """Steps of one training, with its loss and the validation UA."""

    def __init__(self, epochs: int) -> None:
        super().__init__()
        self.epochs, self.past = epochs, 0
        self.score = ""

    def step(self, done: int, total: int, loss: float) -> None:
        if self.task is None:
            self.task = self.bar.add_task("epoch 1", total=total * self.epochs)
        at = self.past * total + done
        self.bar.update(self.task, completed=at, description=f"loss {loss:.3f} {self.score}")

    def epoch(self, record: dict[str, Any]) -> None:
        self.past = record["epoch"]
        if "validation_ua" in record:
            self.score = f"validation UA {100 * record['validation_ua']:.1f}"
        if not drawn():
            say(f"epoch {record['epoch']}: loss {record['loss']:.3f} {self.score}")
