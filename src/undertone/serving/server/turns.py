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

BLOCK_SECONDS = 2.0
"""Of a recording, between two turns: some 20 ms of work."""


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

    def pass_on(self) -> None:
        """Let the others go first."""
        self.give()
        self.take()


def in_turns(
    wave: Wave,
    rate: int,
    turns: Turns,
    abandoned: threading.Event,
    progress: Callable[[float], None] | None = None,
) -> Iterator[Wave]:
    """A recording in short blocks, with the turn passed on between them; ends where it was abandoned."""
    size = round(BLOCK_SECONDS * rate)
    for first in range(0, max(1, len(wave)), size):
        turns.pass_on()
        if abandoned.is_set():
            raise Abandoned("nobody waits for this any more")
        if progress is not None:
            progress(first / max(1, len(wave)))
        yield wave[first : first + size]


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
