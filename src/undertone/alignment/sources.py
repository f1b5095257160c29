"""Sources of given boundaries: TextGrids in a folder or beside the recordings, CTM or CSV files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import TypeAlias

from undertone.alignment.nesting import nest
from undertone.alignment.syllables import complete
from undertone.alignment.table import read_tables
from undertone.alignment.textgrid import read_textgrid
from undertone.alignment.transcript import attach
from undertone.errors import AlignmentError
from undertone.types import TIERS, Alignment, Tier, Utterance

__all__ = ["Finder", "open_source"]

Finder: TypeAlias = Callable[[Utterance], Alignment | None]
"""An utterance's boundaries, None where the source has none."""

STEMS: Mapping[Tier, tuple[str, ...]] = {
    "word": ("words", "word"),
    "syllable": ("syllables", "syllable"),
    "phone": ("phones", "phone"),
}
"""Names of the files in a folder of CTM or CSV tables."""


def open_source(path: Path | None) -> Finder:
    """A function from an utterance to its boundaries.

    ``path`` None: what the utterance has already, else a TextGrid beside its recording. A folder:
    ``words.csv``, ``phones.ctm`` and their like, else a TextGrid of the utterance's id or the
    recording's name. A file: the words, as CTM or CSV.
    """
    if path is None:
        return _with_characters(_beside)
    if path.is_dir():
        return _with_characters(_folder(path))
    return _with_characters(_tables({"word": path}))


def _with_characters(find: Finder) -> Finder:
    """A finder that adds every word's characters in the transcript."""

    def attached(utterance: Utterance) -> Alignment | None:
        alignment = find(utterance)
        if alignment is None or not utterance.text or any(w.chars for w in alignment.word):
            return alignment
        return replace(alignment, word=tuple(attach(alignment.word, utterance.text, utterance.language)))

    return attached


def _beside(utterance: Utterance) -> Alignment | None:
    if utterance.alignment is not None:
        own = utterance.alignment
        return complete(nest(own.word, own.syllable, own.phone), utterance.language)
    return _textgrid([Path(utterance.audio).with_suffix(".TextGrid")], utterance)


def _folder(folder: Path) -> Finder:
    tables = {}
    for tier in TIERS:
        names = (folder / f"{stem}{suffix}" for stem in STEMS[tier] for suffix in (".csv", ".ctm"))
        if own := next((name for name in names if name.is_file()), None):
            tables[tier] = own
    if tables:
        return _tables(tables)
    grids = {p.stem: p for p in sorted(folder.rglob("*.TextGrid"))}
    if not grids:
        raise AlignmentError(f"{folder}: neither TextGrids nor words.csv, words.ctm or their like in it")

    def find(utterance: Utterance) -> Alignment | None:
        names = (utterance.id, Path(utterance.audio).stem)
        return _textgrid([grids[name] for name in names if name in grids], utterance)

    return find


def _textgrid(paths: Iterable[Path], utterance: Utterance) -> Alignment | None:
    for path in paths:
        if path.is_file():
            own = read_textgrid(path)
            return complete(own, utterance.language)
    return None


def _tables(paths: Mapping[Tier, Path]) -> Finder:
    languages: dict[str | None, dict[str, Alignment]] = {}

    def load(language: str | None) -> dict[str, Alignment]:
        return read_tables(paths.get("word"), paths.get("syllable"), paths.get("phone"), language)

    def find(utterance: Utterance) -> Alignment | None:
        if utterance.language not in languages:
            languages[utterance.language] = load(utterance.language)
        tiers = languages[utterance.language]
        return next((tiers[name] for name in _names(utterance) if name in tiers), None)

    load(None)  # a wrong file is refused before the work begins
    return find


def _names(utterance: Utterance) -> list[str]:
    """Names that a table may have for the utterance: its id, its recording's path or any end of it."""
    path = PurePosixPath(Path(utterance.audio).as_posix())
    ends = [str(PurePosixPath(*path.parts[i:])) for i in range(len(path.parts))]
    return [utterance.id, *ends, path.stem]
