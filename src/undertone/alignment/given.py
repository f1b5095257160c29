"""Boundaries that a corpus ships: IEMOCAP's ``.wdseg``, ``.syseg`` and ``.phseg``.

Each is the output of a forced aligner: a header line, one segment a line, a closing score:

    SFrm  EFrm   SegAScr  Phone
       0    13   -120934  SIL
      14    21    -88120  EH SIL K b
    Total score:  -209054

Frames are 10 ms and both ends are included, so a segment is ``[SFrm / 100, (EFrm + 1) / 100)``
seconds. A phone's line carries its context; the first name is the phone itself.
"""

from __future__ import annotations

import re
from pathlib import Path

from undertone.alignment.nesting import nest
from undertone.alignment.syllables import complete
from undertone.alignment.transcript import attach
from undertone.errors import AlignmentError
from undertone.types import Alignment, Segment

__all__ = ["FRAMES_PER_SECOND", "is_silence", "read_iemocap", "read_segments"]

FRAMES_PER_SECOND = 100
_VARIANT = re.compile(r"\(\d+\)$")
_SILENCE = frozenset({"<s>", "</s>", "<sil>", "sil", "sp", "sent-end", "sent-start", "h#", "pau", "epi", ""})


def read_iemocap(
    word_path: Path | str | None,
    syllable_path: Path | str | None,
    phone_path: Path | str | None,
    text: str | None = None,
) -> Alignment:
    """The nested tiers of one utterance; a path that is None or does not exist gives an empty tier.

    Silence and noise are left out. A missing syllable tier is derived from words and phones.
    With ``text``, the transcript, every word gets its characters in it.
    Raises AlignmentError, naming file and line, where a line's times cannot be read.
    """
    words = read_segments(word_path)
    syllables = read_segments(syllable_path)
    phones = read_segments(phone_path, context=True)
    if text is not None:
        words = attach(words, text)
    return complete(nest(words, syllables, phones))


def read_segments(path: Path | str | None, context: bool = False) -> list[Segment]:
    """The segments of one file without silence; ``context``: keep only a label's first name."""
    if path is None or not Path(path).is_file():
        return []
    path = Path(path)
    segments = []
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        fields = line.split()
        if not fields or fields[0].lower().startswith(("sfrm", "total")):
            continue
        label = " ".join(fields[3:4] if context else fields[3:])
        start, end = _frames(fields, f"{path}, line {number}")
        if not is_silence(label):
            segments.append(
                Segment(_VARIANT.sub("", label), start / FRAMES_PER_SECOND, end / FRAMES_PER_SECOND)
            )
    return segments


def _frames(fields: list[str], where: str) -> tuple[int, int]:
    """First frame and the one after the last."""
    try:
        first, last = int(fields[0]), int(fields[1])
    except (ValueError, IndexError):
        raise AlignmentError(f"{where}: expected 'first-frame last-frame score label'") from None
    if first < 0 or last < first:
        raise AlignmentError(f"{where}: frames {first}..{last} run backwards")
    return first, last + 1


def is_silence(label: str) -> bool:
    """Whether a label names silence or noise: ``<s> <sil> SIL sp ++BREATHING++ [noise]`` …"""
    name = _VARIANT.sub("", label.strip()).lower()
    return name in _SILENCE or (name.startswith(("+", "[", "<")) and name != "<unk>")
