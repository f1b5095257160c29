"""Transcripts by speech recognition: transformers' recognisers, with word times where they give them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from undertone import audio
from undertone.judging.clip import Transcript, joined
from undertone.types import Alignment, Segment

__all__ = ["Recogniser"]

log = logging.getLogger(__name__)

CHUNK_SECONDS = 30.0
"""Longer recordings are recognised in overlapping pieces of this length."""
SHORTEST = 0.01
"""Seconds a word lasts at least, where a recogniser gives it none."""


class Recogniser:
    """Transcribes recordings."""

    def __init__(self, name: str) -> None:
        from undertone.pretrained import load_recogniser

        self.name = name
        self._pipeline = load_recogniser(name)
        self._with_times = True

    def __call__(self, reference: str) -> Transcript | None:
        """The words of a recording; None where no words were recognised."""
        wave = audio.load(reference)
        result = self._recognise({"raw": wave, "sampling_rate": audio.RATE}, len(wave) / audio.RATE)
        words = list(_words(result.get("chunks", ()), len(wave) / audio.RATE))
        if words:
            text, placed = joined(words)
            return Transcript(text, self.name, Alignment(word=placed))
        text = " ".join(str(result.get("text", "")).split())
        return Transcript(text, self.name) if text else None

    def _recognise(self, sound: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        """With word times while the recogniser can; after the first refusal without."""
        long = {"chunk_length_s": CHUNK_SECONDS} if seconds > CHUNK_SECONDS else {}
        if self._with_times:
            try:
                return dict(self._pipeline(dict(sound), return_timestamps="word", **long))
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                self._with_times = False
                log.warning("%s gives no word times (%s): words are judged without", self.name, error)
        return dict(self._pipeline(dict(sound), **long))


def _words(chunks: Sequence[Mapping[str, Any]], seconds: float) -> list[Segment]:
    """Timed words in order, none beyond the recording, none without length."""
    words: list[Segment] = []
    at = 0.0
    for chunk in chunks:
        text = str(chunk["text"]).strip()
        start, end = chunk["timestamp"]
        if not text or start is None:
            continue
        begin = min(max(float(start), at), seconds)
        stop = min(max(float(end if end is not None else seconds), begin + SHORTEST), seconds + SHORTEST)
        words.append(Segment(text, begin, stop))
        at = stop
    return words
