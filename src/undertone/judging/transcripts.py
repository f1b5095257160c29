"""Where the words of a recording come from: given, a file beside it, or nowhere.

Beside ``clip.wav``: ``clip.TextGrid`` (words with times), ``clip.lab`` or ``clip.txt`` (plain text).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from undertone.alignment.textgrid import read_textgrid
from undertone.alignment.transcript import attach
from undertone.errors import DataError
from undertone.types import Alignment, Segment

__all__ = ["Transcript", "attached", "beside", "excerpt", "joined"]


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


def excerpt(alignment: Alignment, text: str, start: float, end: float) -> tuple[str, Alignment]:
    """The words whose middle lies in ``[start, end)``: their part of the text, boundaries from ``start``.

    The alignment's words have their characters in ``text`` (see ``attached``).
    """

    def inside(segments: Sequence[Segment]) -> list[Segment]:
        return [
            replace(segment, start=max(0.0, segment.start - start), end=min(end, segment.end) - start)
            for segment in segments
            if start <= (segment.start + segment.end) / 2 < end
        ]

    words = inside(alignment.word)
    places = [word.chars for word in words if word.chars]
    if not places:
        return "", Alignment()
    first, last = min(a for a, _ in places), max(b for _, b in places)
    moved = [replace(w, chars=(w.chars[0] - first, w.chars[1] - first)) if w.chars else w for w in words]
    part = Alignment(tuple(moved), tuple(inside(alignment.syllable)), tuple(inside(alignment.phone)))
    return text[first:last], part
