"""Where given boundaries are found: TextGrids in a folder or beside the recordings, CTM or CSV files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import TypeAlias

from undertone.alignment.ctm import read_ctm
from undertone.alignment.nesting import nest
from undertone.alignment.syllables import complete
from undertone.alignment.table import read_tables
from undertone.alignment.textgrid import read_textgrid
from undertone.alignment.transcript import attach
from undertone.errors import AlignmentError
from undertone.types import TIERS, Alignment, Tier, Utterance

__all__ = ["Finder", "open_source"]

Finder: TypeAlias = Callable[[Utterance], Alignment | None]
"""The boundaries of an utterance, None where there are none."""

STEMS: Mapping[Tier, tuple[str, ...]] = {
    "word": ("words", "word"),
    "syllable": ("syllables", "syllable"),
    "phone": ("phones", "phone"),
}
"""The files of a folder of CTM or CSV tables."""


def open_source(path: Path | None) -> Finder:
    """What looks an utterance's boundaries up.

    None: what the utterance has already, else a TextGrid beside its recording. A folder:
    ``words.csv``, ``phones.ctm`` and their like, else a TextGrid of the utterance's id or the
    recording's name. A file: the words, as CTM or CSV.
    """
    if path is None:
        return _checked(_beside)
    if path.is_dir():
        return _checked(_folder(path))
    return _checked(_tables({"word": path}))


def _checked(find: Finder) -> Finder:
    """The same with every word's characters in the transcript."""

    def found(utterance: Utterance) -> Alignment | None:
        alignment = find(utterance)
        if alignment is None or not utterance.text or any(w.chars for w in alignment.word):
            return alignment
        return replace(alignment, word=tuple(attach(alignment.word, utterance.text, utterance.language)))

    return found


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
        if all(path.suffix == ".ctm" for path in paths.values()):
            tiers = [read_ctm(paths[tier]) if tier in paths else {} for tier in TIERS]
            names = dict.fromkeys(name for tier in tiers for name in tier)
            return {n: complete(nest(*(tier.get(n, ()) for tier in tiers)), language) for n in names}
        return read_tables(paths.get("word"), paths.get("syllable"), paths.get("phone"), language)

    def find(utterance: Utterance) -> Alignment | None:
        if utterance.language not in languages:
            languages[utterance.language] = load(utterance.language)
        known = languages[utterance.language]
        return next((known[name] for name in _names(utterance) if name in known), None)

    load(None)  # a wrong file is found out before the work begins
    return find


def _names(utterance: Utterance) -> list[str]:
    """What a table may call the utterance: its id, its recording's path or any end of it."""
    path = PurePosixPath(Path(utterance.audio).as_posix())
    ends = [str(PurePosixPath(*path.parts[i:])) for i in range(len(path.parts))]
    return [utterance.id, *ends, path.stem]
