"""Nested tiers: sorted, without overlap, each finer segment inside one coarser.

    word      |   hello      |      |  world  |
    syllable  |  he  |  llo  |      |  world  |
    phone     |HH|AH | L |OW |      |W|ER|L|D |

``nest`` makes any boundary file's or aligner's tiers so: segments are ordered, the later of two
that overlap is cut, a child is clipped to the parent that it shares most time with, and what lies
in no parent (silence, noise) is dropped.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from undertone.types import Alignment, Segment

__all__ = ["disjoint", "nest", "parents", "within"]

RESOLUTION = 6
"""Decimals of a second that are kept: sums of 10 ms frames come out as they are written."""


def nest(
    word: Iterable[Segment] = (), syllable: Iterable[Segment] = (), phone: Iterable[Segment] = ()
) -> Alignment:
    """The tiers as an alignment in which words ⊃ syllables ⊃ phones; a tier may be empty."""
    words = disjoint(word)
    syllables = within(disjoint(syllable), words)
    phones = within(within(disjoint(phone), words), syllables)
    return Alignment(word=tuple(words), syllable=tuple(syllables), phone=tuple(phones))


def disjoint(segments: Iterable[Segment]) -> list[Segment]:
    """In order of time, no two overlapping, none empty, none before 0."""
    result: list[Segment] = []
    clock = 0.0
    for segment in sorted(segments, key=lambda s: (s.start, s.end)):
        start, end = round(max(segment.start, clock), RESOLUTION), round(segment.end, RESOLUTION)
        if end > start:
            result.append(replace(segment, start=start, end=end))
            clock = end
    return result


def parents(children: Sequence[Segment], coarser: Sequence[Segment]) -> list[int]:
    """For each child the index of the coarser segment it shares most time with, -1 for none.

    Both must be disjoint and in order.
    """
    result, first = [], 0
    for child in children:
        while first < len(coarser) and coarser[first].end <= child.start:
            first += 1
        best, most, index = -1, 0.0, first
        while index < len(coarser) and coarser[index].start < child.end:
            shared = min(child.end, coarser[index].end) - max(child.start, coarser[index].start)
            if shared > most:
                best, most = index, shared
            index += 1
        result.append(best)
    return result


def within(children: Sequence[Segment], coarser: Sequence[Segment]) -> list[Segment]:
    """The children clipped to their parents; unchanged where the coarser tier is empty."""
    if not coarser:
        return list(children)
    clipped = []
    for child, index in zip(children, parents(children, coarser), strict=True):
        if index >= 0:
            box = coarser[index]
            clipped.append(replace(child, start=max(child.start, box.start), end=min(child.end, box.end)))
    return clipped
