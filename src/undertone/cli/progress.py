"""Messages on stderr, and progress bars there when that is a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from undertone.training.jobs import Failure, Job

__all__ = ["EpochBar", "JobBar", "bar", "say", "track"]

T = TypeVar("T")


def say(text: object) -> None:
    """Print a message on stderr, in the voice of all messages."""
    print(f"undertone: {text}", file=sys.stderr)


@contextmanager
def bar(doing: str, shown: bool = True) -> Iterator[Callable[[int, int], None] | None]:
    """A function to call with how many of how many are done; None where no bar is shown."""
    if not (shown and sys.stderr.isatty()):
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = (doing, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(doing, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def track(items: Iterable[T], doing: str) -> Iterable[T]:
    """The same items, with a bar that counts them."""
    if not sys.stderr.isatty():
        return items
    from rich.console import Console
    from rich.progress import track as rich_track

    return rich_track(items, doing, console=Console(stderr=True), transient=True)


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
        if not sys.stderr.isatty():
            say(f"epoch {record['epoch']}: loss {record['loss']:.3f} {self.score}")
