"""Where the words of a recording come from: given, a file beside it, or nowhere.

Beside ``clip.wav``: ``clip.TextGrid`` (words with times), ``clip.lab`` or ``clip.txt`` (plain text).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from undertone.alignment.textgrid import read_textgrid
from undertone.alignment.transcript import attach
from undertone.errors import DataError
from undertone.types import Alignment, Segment

__all__ = ["Excerpt", "Transcript", "attached", "beside", "excerpt", "joined", "share"]


@dataclass(frozen=True)
class Transcript:
    """The words of one recording, and who wrote them."""

    text: str
    source: str = "given"
    alignment: Alignment | None = None


def beside(audio: Path) -> Transcript | None:
    """The transcript in a file beside the recording; None where there is none."""
    for suffix in (".TextGrid", ".textgrid"):
        path = audio.with_suffix(suffix)
        if path.is_file():
            alignment = read_textgrid(path)
            text, words = joined(alignment.word)
            return Transcript(text, path.name, replace(alignment, word=words)) if text else None
    for suffix in (".lab", ".txt"):
        path = audio.with_suffix(suffix)
        if path.is_file():
            return _plain(path)
    return None


def _plain(path: Path) -> Transcript | None:
    try:
        text = " ".join(path.read_text(encoding="utf-8-sig").split())
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: the transcript is not UTF-8 ({error.reason})") from None
    return Transcript(text, path.name) if text else None


def joined(words: Sequence[Segment]) -> tuple[str, tuple[Segment, ...]]:
    """Timed words as one text, and the words with their characters in it."""
    text, placed = "", []
    for word in words:
        start = len(text) + bool(text)
        text = f"{text} {word.text}" if text else word.text
        placed.append(replace(word, chars=(start, start + len(word.text))))
    return text, tuple(placed)


def attached(alignment: Alignment, text: str) -> Alignment:
    """The alignment with each word's characters in ``text``, where its words lack them."""
    if all(word.chars for word in alignment.word):
        return alignment
    return replace(alignment, word=tuple(attach(alignment.word, text)))


@dataclass(frozen=True)
class Excerpt:
    """The words of one stretch of a recording."""

    words: Transcript
    """With times from the start of the stretch, where the whole transcript has times."""
    start: float
    """Seconds of the recording at which the stretch begins."""
    first: int
    """Character of the whole text at which these words begin."""


def excerpt(words: Transcript, start: float, end: float, origin: float | None = None) -> Excerpt | None:
    """The words whose middle lies in ``[start, end)``, with times from ``origin`` (None: ``start``).

    The transcript has times, and its words their characters (see ``attached``).
    """
    assert words.alignment is not None
    zero = start if origin is None else origin

    def inside(segments: Sequence[Segment]) -> list[Segment]:
        return [
            replace(segment, start=max(0.0, segment.start - zero), end=max(0.0, segment.end - zero))
            for segment in segments
            if start <= (segment.start + segment.end) / 2 < end
        ]

    own = inside(words.alignment.word)
    places = [word.chars for word in own if word.chars]
    if not places:
        return None
    first, last = min(a for a, _ in places), max(b for _, b in places)
    moved = [replace(w, chars=(w.chars[0] - first, w.chars[1] - first)) if w.chars else w for w in own]
    tiers = tuple(inside(words.alignment.syllable)), tuple(inside(words.alignment.phone))
    part = Transcript(words.text[first:last], words.source, Alignment(tuple(moved), *tiers))
    return Excerpt(part, zero, first)


def share(words: Transcript, start: float, end: float, origin: float) -> Excerpt | None:
    """The words whose middle letter lies between two fractions of the text: for words without times."""
    places = [(match.start(), match.end()) for match in re.finditer(r"\S+", words.text)]
    letters = [b - a for a, b in places]
    total, at = sum(letters), 0
    own = []
    for place, count in zip(places, letters, strict=True):
        if start <= (at + count / 2) / total < end:
            own.append(place)
        at += count
    if not own:
        return None
    first, last = own[0][0], own[-1][1]
    return Excerpt(Transcript(words.text[first:last], words.source), origin, first)
