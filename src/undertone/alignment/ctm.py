"""NIST's CTM: a segment a line, of any number of recordings.

;; recording channel start duration label [confidence]
Ses01F_impro01_F000 1 0.14 0.27 excuse 0.98
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from undertone.alignment.given import is_silence
from undertone.alignment.nesting import RESOLUTION
from undertone.errors import AlignmentError
from undertone.types import Segment

__all__ = ["read_ctm", "write_ctm"]


def read_ctm(path: Path | str) -> dict[str, list[Segment]]:
    """The segments of each recording, silence left out, in the order of the file."""
    path = Path(path)
    found: dict[str, list[Segment]] = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise AlignmentError(f"{path}: no such file") from None
    for number, line in enumerate(lines, 1):
        fields = line.split()
        if not fields or line.startswith(";;"):
            continue
        recording, segment = _segment(fields, f"{path}, line {number}")
        found.setdefault(recording, [])
        if not is_silence(segment.text):
            found[recording].append(segment)
    return found


def _segment(fields: list[str], where: str) -> tuple[str, Segment]:
    try:
        recording, _, start, duration, label, *rest = fields
        score = float(rest[0]) if rest and rest[0] != "NA" else None
        end = round(float(start) + float(duration), RESOLUTION)
        return recording, Segment(label, float(start), end, score)
    except ValueError:
        raise AlignmentError(
            f"{where}: expected 'recording channel start duration label [confidence]'"
        ) from None


def write_ctm(path: Path | str, recordings: Mapping[str, Sequence[Segment]], channel: str = "1") -> None:
    """Write one tier of some recordings; a space in a name or label becomes ``_``."""
    path = Path(path)
    lines = [
        " ".join(
            [_one(recording), channel, f"{s.start:.6f}", f"{s.end - s.start:.6f}", _one(s.text)]
            + ([] if s.score is None else [f"{s.score:.4f}"])
        )
        for recording, segments in recordings.items()
        for s in segments
    ]
    partial = path.with_name(path.name + ".partial")
    partial.write_text("".join(line + "\n" for line in lines), encoding="utf-8", newline="\n")
    partial.replace(path)


def _one(label: str) -> str:
    return "_".join(label.split()) or "_"
