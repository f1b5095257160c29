"""What ``undertone predict`` is given: files, folders, globs, manifests, ``-`` for stdin; and their words."""

from __future__ import annotations

import glob
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from undertone import manifest as manifests
from undertone.errors import DataError
from undertone.judging.predictor import Item
from undertone.judging.transcripts import Transcript, attached, beside
from undertone.types import Utterance

__all__ = ["AUDIO", "Pending", "find", "item_of"]

AUDIO = frozenset(
    ".wav .flac .ogg .opus .mp3 .aiff .aif .aifc .au .caf .w64 .rf64 .sph"
    " .m4a .mp4 .aac .webm .wma .amr .mkv .mov".split()
)
"""Suffixes by which a folder's recordings are known; a file named outright may have any."""
COMPANIONS = frozenset({".txt", ".lab", ".textgrid", ".json", ".csv", ".toml"})
"""What a glob may catch beside recordings."""
MANIFESTS = frozenset({".jsonl", ".parquet"})

Listen = Callable[[str], Transcript | None]
"""A recording's words by speech recognition."""


@dataclass(frozen=True)
class Pending:
    """A recording that was found. Its words are read in its turn, so that one bad file fails alone."""

    id: str
    open: Callable[[], Item]


def find(places: Iterable[str], text: str | None = None, listen: Listen | None = None) -> list[Pending]:
    """Every recording behind the places, in order, none twice; DataError where a place holds none."""
    found: dict[tuple[str, str], Pending] = {}
    for place in places:
        behind = list(_behind(place, text, listen))
        if not behind:
            raise DataError(f"{place}: holds no recordings")
        for where, pending in behind:
            found.setdefault((where, pending.id), pending)
    return list(found.values())


def _behind(place: str, text: str | None, listen: Listen | None) -> Iterator[tuple[str, Pending]]:
    """Each recording with where it is."""
    path = Path(place)
    if place == "-":
        yield "-", Pending("stdin", lambda: Item("stdin", sys.stdin.buffer.read(), _given(text)))
    elif path.is_dir():
        for file in sorted(path.rglob("*")):
            if file.suffix.lower() in AUDIO and file.is_file() and not file.name.startswith("._"):
                yield _file(str(file), file.relative_to(path).as_posix(), text, listen)
    elif path.suffix.lower() in MANIFESTS:
        for utterance in manifests.read(path).resolved():
            yield utterance.audio, Pending(utterance.id, partial(item_of, utterance))
    elif not path.exists() and glob.has_magic(place):
        for match in sorted(glob.glob(place, recursive=True)):  # noqa: PTH207
            if Path(match).is_file() and Path(match).suffix.lower() not in COMPANIONS:
                yield _file(match, Path(match).as_posix(), text, listen)
    else:
        yield _file(place, path.name, text, listen)


def _given(text: str | None) -> Transcript | None:
    return Transcript(text, "given") if text else None


def _file(reference: str, name: str, text: str | None, listen: Listen | None) -> tuple[str, Pending]:
    def opened() -> Item:
        """With its words: given, lying beside it, recognised, or none."""
        words = _given(text) or beside(Path(reference))
        if words is None and listen is not None:
            words = listen(reference)
        return Item(name, reference, words)

    return str(Path(reference).absolute()), Pending(name, opened)


def item_of(utterance: Utterance) -> Item:
    """An utterance as something to judge: its stretch of the recording, its words with their times."""
    words = None
    if utterance.text:
        known = attached(utterance.alignment, utterance.text) if utterance.alignment else None
        words = Transcript(utterance.text, utterance.text_source or "given", known)
    return Item(utterance.id, utterance.audio, words, utterance.start, utterance.end)
