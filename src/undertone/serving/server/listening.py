"""Words recognised for requests: piece by piece in one thread, so that requests take turns and can be left.

A piece ends where it is quietest, at most 30 s after its beginning.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from undertone.judging.clip import Transcript, joined
from undertone.types import Alignment, Segment

if TYPE_CHECKING:
    from undertone.judging.asr import Recogniser
    from undertone.types import Wave

__all__ = ["Listening", "Sentence", "pieces", "sentences"]

RATE = 16000
PIECE_SECONDS, SEARCH_SECONDS = 30.0, 8.0
"""A piece's most, and its end in which the quietest place is looked for."""
STEP = RATE // 20
PAUSE = 0.8
"""Seconds between two words that end a sentence, whatever its last letter."""
LONGEST = 15.0
"""Seconds of a sentence, after which it is cut at the next word."""
STOP = re.compile(r"[.!?…][\"')\]]*$")


@dataclass(frozen=True)
class Sentence:
    """Some words that belong together, with times in the recording."""

    text: str
    start: float
    end: float
    words: tuple[Segment, ...]
    """Empty where their times are not known."""


class Listening:
    """A recogniser in a thread of its own."""

    def __init__(self, recogniser: Recogniser) -> None:
        self.name = recogniser.name
        self._recogniser = recogniser
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="recogniser")

    def stop(self) -> None:
        self._thread.shutdown(cancel_futures=True)

    async def transcripts(self, waves: Sequence[Wave]) -> list[Transcript | None]:
        """The words of each wave; between two of them others take their turn."""
        loop = asyncio.get_running_loop()
        return [await loop.run_in_executor(self._thread, self._recogniser.transcribe, wave) for wave in waves]

    async def recognise(self, wave: Wave) -> tuple[list[Sentence], Transcript | None]:
        """Sentences with times; and all words as one transcript, with times where all have them."""
        loop = asyncio.get_running_loop()
        every: list[Sentence] = []
        language = None
        for start, end in pieces(wave):
            piece = wave[start:end]
            known = await loop.run_in_executor(self._thread, self._recogniser.transcribe, piece)
            if known is not None:
                every += sentences(known, start / RATE, end / RATE)
                language = language or known.language
        if not every:
            return [], None
        words = tuple(word for sentence in every for word in sentence.words)
        if all(sentence.words for sentence in every):
            text, placed = joined(words)
            return every, Transcript(text, self.name, Alignment(word=placed), language)
        text = " ".join(sentence.text for sentence in every)
        return every, Transcript(text, self.name, None, language)


def pieces(wave: Wave) -> Iterator[tuple[int, int]]:
    """Where each piece begins and ends, in samples.

    >>> wave = np.ones(40 * RATE, np.float32)
    >>> wave[27 * RATE : 28 * RATE] = 0
    >>> list(pieces(wave))
    [(0, 432000), (432000, 640000)]
    """
    start, most, search = 0, round(PIECE_SECONDS * RATE), round(SEARCH_SECONDS * RATE)
    while len(wave) - start > most:
        first = start + most - search
        steps = np.square(wave[first : start + most].reshape(-1, STEP)).mean(1)
        end = first + int(steps.argmin()) * STEP
        yield start, end
        start = end
    yield start, len(wave)


def sentences(words: Transcript, start: float, end: float) -> list[Sentence]:
    """The sentences of a piece of a recording; words without times are one sentence as long as the piece."""
    if words.alignment is None:
        return [Sentence(words.text, start, end, ())]
    groups: list[list[Segment]] = []
    for word in words.alignment.word:
        moved = replace(word, start=word.start + start, end=word.end + start, chars=None)
        if not groups or _ended(groups[-1], moved):
            groups.append([])
        groups[-1].append(moved)
    return [Sentence(joined(g)[0], g[0].start, max(w.end for w in g), tuple(g)) for g in groups]


def _ended(words: list[Segment], word: Segment) -> bool:
    last = words[-1]
    if STOP.search(last.text) or word.start - last.end > PAUSE:
        return True
    return word.end - words[0].start > LONGEST
