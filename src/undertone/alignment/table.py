"""Boundaries as plain CSV: one row a segment, with a path, a start, an end and a label.

    path,start_s,end_s,word
    dr2-faem0/sa1.flac,0.14125,0.32906,she

Columns are found by name; a row without a label, or with a mark for one, continues the one before
it (so the annotators of EmoDB note a change of voice).
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from undertone.alignment.given import is_silence
from undertone.alignment.nesting import nest
from undertone.alignment.syllables import complete
from undertone.errors import AlignmentError
from undertone.types import Alignment, Segment

__all__ = ["read_table", "read_tables"]

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "path": ("path", "audio", "file", "id", "utterance"),
    "start": ("start_s", "start", "begin", "xmin", "onset"),
    "end": ("end_s", "end", "stop", "xmax", "offset"),
    "label": ("label", "word", "syllable", "phone", "text", "name"),
}
"""What a column may be called."""
MARKS = frozenset({".", "("})
"""EmoDB's silence and breath."""
_MARK = re.compile(r'["+-][a-z]{3}|.asp')
"""EmoDB's notes on voice and aspiration, which stand between phones: ``-lar``, ``+nas``, ``tasp`` …"""


def read_table(path: Path | str) -> dict[str, list[Segment]]:
    """The segments of each recording by the path that the table gives it, silence left out."""
    path = Path(path)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file)
            names = _columns(path, rows.fieldnames or ())
            return _gathered(path, names, rows)
    except FileNotFoundError:
        raise AlignmentError(f"{path}: no such file") from None


def _columns(path: Path, header: Iterable[str]) -> dict[str, str]:
    present = {name.strip().lower(): name for name in header}
    found = {}
    for column, names in COLUMNS.items():
        own = next((present[n] for n in names if n in present), None)
        if own is None:
            raise AlignmentError(f"{path}: no column for the {column} (one of {', '.join(names)})")
        found[column] = own
    return found


def _gathered(
    path: Path, names: Mapping[str, str], rows: Iterable[Mapping[str, str]]
) -> dict[str, list[Segment]]:
    found: dict[str, list[Segment]] = {}
    for number, row in enumerate(rows, 2):
        try:
            start, end = float(row[names["start"]]), float(row[names["end"]])
        except (TypeError, ValueError):
            raise AlignmentError(f"{path}, line {number}: start and end must be seconds") from None
        label = (row[names["label"]] or "").strip()
        segments = found.setdefault(row[names["path"]], [])
        if segments and (not label or _MARK.match(label)):
            segments[-1] = replace(segments[-1], end=max(end, segments[-1].end))
        else:
            segments.append(Segment(label, start, end))
    return {
        key: [s for s in own if not is_silence(s.text) and s.text not in MARKS] for key, own in found.items()
    }


def read_tables(
    word: Path | None = None,
    syllable: Path | None = None,
    phone: Path | None = None,
    language: str | None = None,
) -> dict[str, Alignment]:
    """The nested tiers of each recording from up to three tables; syllables are derived where they lack."""
    tiers = [read_table(path) if path else {} for path in (word, syllable, phone)]
    recordings = dict.fromkeys(name for tier in tiers for name in tier)
    words, syllables, phones = tiers
    return {
        name: complete(nest(words.get(name, ()), syllables.get(name, ()), phones.get(name, ())), language)
        for name in recordings
    }
