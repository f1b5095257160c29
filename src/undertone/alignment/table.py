"""Boundaries in tables, one row a segment: CSV with a path, a start, an end and a label, or NIST's CTM.

    path,start_s,end_s,word
    dr2-faem0/sa1.flac,0.14125,0.32906,she

    ;; recording channel start duration label [confidence]
    Ses01F_impro01_F000 1 0.14 0.27 excuse 0.98

Columns of a CSV are known by their names. A row without a label, or with a mark as its label, continues
the row before it: so the annotators of EmoDB note a change of voice.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from undertone.alignment.given import is_silence
from undertone.alignment.nesting import RESOLUTION, nest
from undertone.alignment.syllables import complete
from undertone.errors import AlignmentError
from undertone.types import Alignment, Segment

__all__ = ["read_ctm", "read_table", "read_tables"]

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "path": ("path", "audio", "file", "id", "utterance"),
    "start": ("start_s", "start", "begin", "xmin", "onset"),
    "end": ("end_s", "end", "stop", "xmax", "offset"),
    "label": ("label", "word", "syllable", "phone", "text", "name"),
}
"""Names that a column may have."""
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
    columns = {}
    for column, names in COLUMNS.items():
        own = next((present[n] for n in names if n in present), None)
        if own is None:
            raise AlignmentError(f"{path}: no column for the {column} (one of {', '.join(names)})")
        columns[column] = own
    return columns


def _gathered(
    path: Path, names: Mapping[str, str], rows: Iterable[Mapping[str, str]]
) -> dict[str, list[Segment]]:
    recordings: dict[str, list[Segment]] = {}
    for number, row in enumerate(rows, 2):
        try:
            start, end = float(row[names["start"]]), float(row[names["end"]])
        except (TypeError, ValueError):
            raise AlignmentError(f"{path}, line {number}: start and end must be seconds") from None
        label = (row[names["label"]] or "").strip()
        segments = recordings.setdefault(row[names["path"]], [])
        if segments and (not label or _MARK.match(label)):
            segments[-1] = replace(segments[-1], end=max(end, segments[-1].end))
        else:
            segments.append(Segment(label, start, end))
    return {
        name: [s for s in own if not is_silence(s.text) and s.text not in MARKS]
        for name, own in recordings.items()
    }


def read_ctm(path: Path | str) -> dict[str, list[Segment]]:
    """The segments of each recording of a CTM file, silence left out, in the order of the file."""
    path = Path(path)
    recordings: dict[str, list[Segment]] = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise AlignmentError(f"{path}: no such file") from None
    for number, line in enumerate(lines, 1):
        fields = line.split()
        if not fields or line.startswith(";;"):
            continue
        name, segment = _ctm_segment(fields, f"{path}, line {number}")
        segments = recordings.setdefault(name, [])
        if not is_silence(segment.text):
            segments.append(segment)
    return recordings


def _ctm_segment(fields: list[str], where: str) -> tuple[str, Segment]:
    try:
        recording, _, start, duration, label, *rest = fields
        score = float(rest[0]) if rest and rest[0] != "NA" else None
        end = round(float(start) + float(duration), RESOLUTION)
        return recording, Segment(label, float(start), end, score)
    except ValueError:
        raise AlignmentError(
            f"{where}: expected 'recording channel start duration label [confidence]'"
        ) from None


def read_tables(
    word: Path | None = None,
    syllable: Path | None = None,
    phone: Path | None = None,
    language: str | None = None,
) -> dict[str, Alignment]:
    """The nested tiers of each recording from up to three tables; missing syllables are derived."""
    tiers = [_read(path) if path else {} for path in (word, syllable, phone)]
    recordings = dict.fromkeys(name for tier in tiers for name in tier)
    return {name: complete(nest(*(tier.get(name, ()) for tier in tiers)), language) for name in recordings}


def _read(path: Path) -> dict[str, list[Segment]]:
    return read_ctm(path) if path.suffix == ".ctm" else read_table(path)
