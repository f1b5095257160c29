"""Praat's TextGrid, long and short form, read and written.

Both forms are the same sequence of strings and numbers; the long form only puts names between
them, which are skipped. Tier names are those of the Montreal Forced Aligner (``words``, ``phones``,
``speaker - words``) and their like.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from undertone.alignment.given import is_silence
from undertone.alignment.nesting import nest
from undertone.errors import AlignmentError
from undertone.files import write_whole
from undertone.types import TIERS, Alignment, Seconds, Segment, Tier

__all__ = ["Interval", "read_textgrid", "read_tiers", "textgrid", "write_textgrid"]

Interval: TypeAlias = tuple[Seconds, Seconds, str]
"""Start, end and text."""

NAMES: dict[Tier, tuple[str, ...]] = {
    "word": ("words", "word", "ort", "ort-mau", "orthography"),
    "syllable": ("syllables", "syllable", "syl", "mas"),
    "phone": ("phones", "phone", "phonemes", "phoneme", "segments", "mau"),
}
"""Names of tiers, the name that we write first."""
_TOKEN = re.compile(r'"((?:[^"]|"")*)"|\[[^\]]*\]|(?<![\w.])([-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?)(?!\w)')


def read_textgrid(path: Path | str) -> Alignment:
    """The nested tiers of a file, silence left out; tiers of other names are skipped.

    Raises AlignmentError where the file is no TextGrid or ends too early.
    """
    tiers: dict[Tier, list[Segment]] = {}
    for name, segments in read_tiers(path):
        tier = _tier(name)
        if tier and tier not in tiers:
            tiers[tier] = [s for s in segments if not is_silence(s.text)]
    return nest(*(tiers.get(tier, ()) for tier in TIERS))


def read_tiers(path: Path | str) -> list[tuple[str, list[Segment]]]:
    """Every tier's name and segments, silence included; AlignmentError as ``read_textgrid``."""
    path = Path(path)
    try:
        return list(_tiers(_tokens(_decoded(path.read_bytes()))))
    except FileNotFoundError:
        raise AlignmentError(f"{path}: no such file") from None
    except (StopIteration, RuntimeError, ValueError) as error:
        raise AlignmentError(f"{path}: not a whole TextGrid: {error or 'it ends too early'}") from None


def _decoded(data: bytes) -> str:
    wide = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    return data.decode("utf-16" if wide else "utf-8-sig")


def _tokens(text: str) -> Iterator[str | float]:
    """Strings and numbers in order; names, indices in brackets and flags are skipped."""
    for match in _TOKEN.finditer(text):
        if match[1] is not None:
            yield match[1].replace('""', '"')
        elif match[2] is not None:
            yield float(match[2])


def _tiers(tokens: Iterator[str | float]) -> Iterator[tuple[str, list[Segment]]]:
    if next(tokens) != "ooTextFile" or next(tokens) != "TextGrid":
        raise ValueError("it has another header")
    _number(tokens), _number(tokens)
    for _ in range(int(_number(tokens))):
        kind, name = _string(tokens), _string(tokens)
        _number(tokens), _number(tokens)
        segments = []
        for _ in range(int(_number(tokens))):
            start = _number(tokens)
            end = _number(tokens) if kind == "IntervalTier" else start
            segments.append(Segment(_string(tokens), start, end))
        yield name, segments


def _number(tokens: Iterator[str | float]) -> float:
    if not isinstance(token := next(tokens, None), float):
        raise ValueError(f"a number is expected, not {token!r}")
    return token


def _string(tokens: Iterator[str | float]) -> str:
    if not isinstance(token := next(tokens, None), str):
        raise ValueError(f"a text is expected, not {token!r}")
    return token


def _tier(name: str) -> Tier | None:
    last = name.rpartition(" - ")[2].strip().lower()
    return next((tier for tier, names in NAMES.items() if last in names), None)


def write_textgrid(path: Path | str, alignment: Alignment, duration: Seconds | None = None) -> None:
    """Write the tiers that have segments, named ``words``, ``syllables``, ``phones``."""
    tiers = {
        NAMES[name][0]: [(s.start, s.end, s.text) for s in alignment.tier(name)] for name in alignment.tiers
    }
    ends = [end for intervals in tiers.values() for _, end, _ in intervals]
    write_whole(Path(path), textgrid(tiers, max([duration or 0.0, *ends])))


def textgrid(tiers: Mapping[str, Sequence[Interval]], xmax: Seconds) -> str:
    """The long form of interval tiers from 0 to ``xmax``, by name.

    Intervals are in order of time; what overlaps the one before is cut off, gaps become empty intervals.
    """
    lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', "", "xmin = 0", f"xmax = {xmax:.6f}"]
    lines += ["tiers? <exists>", f"size = {len(tiers)}", "item []:"]
    for number, (name, intervals) in enumerate(tiers.items(), 1):
        filled = list(_filled(intervals, xmax))
        lines += [f"    item [{number}]:", '        class = "IntervalTier"', f'        name = "{name}"']
        lines += ["        xmin = 0", f"        xmax = {xmax:.6f}"]
        lines += [f"        intervals: size = {len(filled)}"]
        for index, (start, end, text) in enumerate(filled, 1):
            quoted = text.replace('"', '""')
            lines += [f"        intervals [{index}]:", f"            xmin = {start:.6f}"]
            lines += [f"            xmax = {end:.6f}", f'            text = "{quoted}"']
    return "\n".join(lines) + "\n"


def _filled(intervals: Sequence[Interval], xmax: Seconds) -> Iterator[Interval]:
    clock = 0.0
    for start, end, text in intervals:
        start = max(start, clock)
        if end <= start:
            continue
        if start > clock:
            yield clock, start, ""
        yield start, end, text
        clock = end
    if clock < xmax:
        yield clock, xmax, ""
