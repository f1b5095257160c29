"""The words of clips that come without, by a recogniser; what is recognised is kept as it comes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from undertone import __version__, audio
from undertone.config import fingerprint
from undertone.errors import AudioError
from undertone.experiment.aligned import Journal, Outcome
from undertone.judging.asr import Recogniser
from undertone.types import Utterance

__all__ = ["recognised"]


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
    log = Journal(journal, Recognition(name), _wordless)
    without = [u for u in utterances if not u.text]
    done = {name: outcome.utterance for name, outcome in log.read(without).items()}
    recogniser = Recogniser(name) if len(done) < len(without) else None
    with log:
        for utterance in without:
            if utterance.id in done:
                continue
            assert recogniser is not None
            outcome = _recognise(utterance, recogniser)
            log.add(outcome)
            done[utterance.id] = outcome.utterance
            if watch is not None:
                watch(len(done), len(without))
    return [done.get(u.id, u) for u in utterances]


def _wordless(utterance: Utterance) -> Utterance:
    return replace(utterance, text=None, text_source=None, language=None, alignment=None)


def _recognise(utterance: Utterance, recogniser: Recogniser) -> Outcome:
    began = time.process_time()
    try:
        wave = audio.load(utterance.audio, utterance.start, utterance.end)
    except AudioError as error:
        return Outcome(utterance, str(error))
    words = recogniser.transcribe(wave, utterance.id)
    seconds = len(wave) / audio.RATE
    if words is None:
        return Outcome(utterance, "no words", False, seconds, time.process_time() - began)
    spoken = replace(
        utterance,
        text=words.text,
        text_source=words.source,
        language=words.language or utterance.language,
        alignment=words.alignment,
    )
    return Outcome(spoken, None, False, seconds, time.process_time() - began)
