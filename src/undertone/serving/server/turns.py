"""Turns of threads: one works at a time, first come first served: long work does not hold up short."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from undertone.errors import UndertoneError
from undertone.judging.words import Words

if TYPE_CHECKING:
    from undertone.judging.clip import Transcript
    from undertone.types import Wave

__all__ = ["Abandoned", "Turns", "WordsBetween", "in_turns"]


class Abandoned(UndertoneError):
    """Nobody waits for the result any more."""


class Turns:
    """A lock that is handed on in the order of those who wait."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[threading.Lock] = deque()
        self._taken = False

    def take(self) -> None:
        with self._lock:
            if not self._taken:
                self._taken = True
                return
            mine = threading.Lock()
            mine.acquire()
            self._waiting.append(mine)
        mine.acquire()  # released by whoever hands the turn on

    def give(self) -> None:
        with self._lock:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._taken = False

    def __enter__(self) -> None:
        self.take()

    def __exit__(self, *_: object) -> None:
        self.give()


def in_turns(
    blocks: Iterator[Wave],
    samples: float,
    turns: Turns,
    abandoned: threading.Event,
    progress: Callable[[float], None] | None = None,
) -> Iterator[Wave]:
    """A recording of about so many samples in its blocks, with the turn passed on between them, and while
    the next one is waited for; ends where it was abandoned."""
    done = 0
    while True:
        turns.give()
        try:
            block = next(blocks, None)
        finally:
            turns.take()
        if abandoned.is_set():
            raise Abandoned("nobody waits for this any more")
        if block is None:
            return
        if progress is not None:
            progress(min(1.0, done / max(1.0, samples)))
        yield block
        done += len(block)


class WordsBetween(Words):
    """Aligns words while the others go on: it takes seconds, and needs no turn but its own."""

    def __init__(self, words: Words, turns: Turns) -> None:
        self._words, self._turns, self._own = words, turns, Turns()

    def align(self, wave: Wave, words: Transcript) -> Transcript:
        self._turns.give()
        try:
            with self._own:
                return self._words.align(wave, words)
        finally:
            self._turns.take()
