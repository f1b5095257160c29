"""Words that a recogniser reads, where clips have none or in place of theirs; each is kept as it comes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from undertone import __version__, audio
from undertone.config import fingerprint
from undertone.errors import AudioError
from undertone.experiment.aligned import Journal, Outcome
from undertone.judging.asr import IN_THE_BOX, Recogniser
from undertone.judging.clip import Transcript
from undertone.types import Utterance

__all__ = ["reader", "recognised"]

TOGETHER = 8
"""Clips that are given to the recogniser at the same time."""


@dataclass(frozen=True)
class Recognition:
    """Which recogniser."""

    name: str

    def stamp(self) -> str:
        """Changes when its words would."""
        return fingerprint(["asr", self.name, __version__])


def recognised(
    utterances: Sequence[Utterance],
    name: str,
    journal: Path,
    *,
    watch: Callable[[int, int], None] | None = None,
) -> list[Utterance]:
    """The utterances, those without words with what the recogniser reads in them.

    ``journal``: a file from which a stopped recognition goes on.
    """
    log = Journal(journal, Recognition(name), Utterance.without_transcript)
    without = [u for u in utterances if not u.text]
    done = {name: outcome.utterance for name, outcome in log.read(without).items()}
    open_ = [u for u in without if u.id not in done]
    recogniser = Recogniser(name) if open_ else None
    with log:
        for first in range(0, len(open_), TOGETHER):
            assert recogniser is not None
            for outcome in _recognise(open_[first : first + TOGETHER], recogniser):
                log.add(outcome)
                done[outcome.utterance.id] = outcome.utterance
                if watch is not None:
                    watch(len(done), len(without))
    return [done.get(u.id, u) for u in utterances]


def reader(name: str | None = None) -> Callable[[Utterance], Outcome]:
    """A function that puts the words that a recogniser reads in place of an utterance's own."""
    recogniser = Recogniser(name or IN_THE_BOX)
    return lambda utterance: _recognise([utterance.without_transcript()], recogniser)[0]


def _recognise(utterances: Sequence[Utterance], recogniser: Recogniser) -> list[Outcome]:
    began = time.process_time()
    failed, read = {}, {}
    for utterance in utterances:
        try:
            read[utterance.id] = audio.load(utterance.audio, utterance.start, utterance.end)
        except AudioError as error:
            failed[utterance.id] = Outcome(utterance, str(error))
    words = recogniser.transcripts(list(read.values()), list(read)) if read else []
    known = dict(zip(read, words, strict=True))
    took = (time.process_time() - began) / len(utterances)
    return [
        failed.get(u.id) or _with_words(u, known[u.id], len(read[u.id]) / audio.RATE, took)
        for u in utterances
    ]


def _with_words(utterance: Utterance, words: Transcript | None, seconds: float, took: float) -> Outcome:
    if words is None:
        return Outcome(utterance, "no words", False, seconds, took)
    spoken = replace(
        utterance,
        text=words.text,
        text_source=words.source,
        language=words.language or utterance.language,
        alignment=words.alignment,
    )
    return Outcome(spoken, None, False, seconds, took)
