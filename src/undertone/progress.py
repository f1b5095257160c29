"""How far long work is: a bar on a terminal, else a line a minute, with the time that is left.

Lines go through the log ``undertone.progress``, which the command line shows and a program may.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from typing import TypeAlias, TypeVar

__all__ = ["EVERY", "LOG", "Lines", "Watch", "bar", "drawn", "left", "track"]

LOG = "undertone.progress"
EVERY = 60.0
"""Seconds from one line to the next."""
FIRM = 0.03
"""Share of the work after which its pace says something."""
Watch: TypeAlias = Callable[[int, int], None]
"""Called with how many of how many are done."""
T = TypeVar("T")


class Lines:
    """A line a minute about one piece of work."""

    def __init__(
        self, doing: str, before: int | None = None, now: Callable[[], float] = time.monotonic
    ) -> None:
        """``before``: how many an earlier run has done, which took no time of this one."""
        self.doing, self._now = doing, now
        self._began = self._last = now()
        self._first = before

    def __call__(self, done: int, total: int) -> None:
        now = self._now()
        if self._first is None:
            self._first = max(0, done - 1)
        if now - self._last < EVERY or done >= total:
            return
        self._last = now
        new = done - self._first
        rest = left((now - self._began) * (total - done) / max(1, new))
        ends = f", about {rest} left" if new >= FIRM * (total - self._first) else ""
        logging.getLogger(LOG).info("%s: %d of %d%s", self.doing, done, total, ends)


def left(seconds: float) -> str:
    """A rest of time, coarsely.

    >>> left(20), left(400), left(9000)
    ('a minute', '7 min', '2 h 30 min')
    """
    minutes = round(seconds / 60)
    if minutes <= 1:
        return "a minute"
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"


def drawn() -> bool:
    """Whether bars can be drawn: not in a notebook, whose ``!`` has a terminal but keeps every line of it."""
    return sys.stderr.isatty() and "JPY_PARENT_PID" not in os.environ


@contextmanager
def bar(doing: str, shown: bool = True) -> Iterator[Watch]:
    """A function to call with how many of how many are done."""
    if not shown:
        yield lambda _done, _total: None
    elif not drawn():
        yield Lines(doing)
    else:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

        columns = (doing, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        progress = Progress(*columns, console=Console(stderr=True), transient=True)
        task = progress.add_task(doing, total=None)

        def watch(done: int, total: int) -> None:
            progress.start()  # not before the first: what is printed until then stays where it is printed
            progress.update(task, completed=done, total=total)

        try:
            yield watch
        finally:
            if progress.live.is_started:
                progress.stop()


def track(items: Iterable[T], doing: str, total: int | None = None) -> Iterator[T]:
    """The same items, counted as they pass; ``total`` where they do not know how many they are."""
    number = total if total is not None else len(items) if isinstance(items, Sized) else None
    with bar(doing, shown=number is not None) as watch:
        for done, item in enumerate(items, 1):
            yield item
            watch(done, number or done)
