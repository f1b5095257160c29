"""From times to frames, and from tokens to words: which frames a segment owns, which word a token is of."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from undertone.types import FrameClock, Segment

__all__ = ["frame_spans", "segment_words", "token_words"]

_SLACK = 1e-9
"""Seconds by which a frame's centre may miss a boundary: times such as 0.07 are not exact in binary."""


def frame_spans(segments: Sequence[Segment], clock: FrameClock, frames: int) -> NDArray[np.int64]:
    """``(S, 2)`` half-open frame spans, none empty: the frames whose centre lies in ``[start, end)``.

    A segment with no centre inside takes the frame nearest to its middle; one that lies beyond
    the last frame takes the last.

    >>> clock = FrameClock(hop=0.02, offset=0.0125)
    >>> frame_spans([Segment("a", 0.0, 0.05), Segment("b", 0.05, 0.052)], clock, 10).tolist()
    [[0, 2], [2, 3]]
    """
    assert frames > 0, "an utterance without frames has no spans"
    times = np.array([(s.start, s.end) for s in segments], np.float64).reshape(-1, 2)
    edges = np.ceil((times - clock.offset - _SLACK) / clock.hop).astype(np.int64)
    first, last = np.clip(edges, 0, frames).T
    middle = np.rint((times.mean(1) - clock.offset) / clock.hop).astype(np.int64)
    nearest = np.clip(middle, 0, frames - 1)
    empty = last <= first
    return np.stack([np.where(empty, nearest, first), np.where(empty, nearest + 1, last)], 1)


def segment_words(segments: Sequence[Segment], words: Sequence[Segment]) -> NDArray[np.int64]:
    """``(S,)`` index of the word whose span holds each segment's middle, -1 for none."""
    if not words:
        return np.full(len(segments), -1, np.int64)
    starts = np.array([w.start for w in words])
    ends = np.array([w.end for w in words])
    middles = np.array([(s.start + s.end) / 2 for s in segments], np.float64)
    index = np.searchsorted(starts, middles + _SLACK, side="right") - 1
    inside = (index >= 0) & (middles < ends[np.maximum(index, 0)] + _SLACK)
    return np.where(inside, index, -1).astype(np.int64)


def token_words(chars: NDArray[np.integer], words: Sequence[Segment], text: str) -> NDArray[np.int64]:
    """``(L,)`` index of the word each token is of, by the characters both cover; -1 for none."""
    spans = _char_spans(words, text)
    result = np.full(len(chars), -1, np.int64)
    if not len(spans) or not len(chars):
        return result
    known = spans[:, 1] > spans[:, 0]
    for row, (begin, end) in enumerate(np.asarray(chars, np.int64)):
        if end > begin:
            overlap = np.minimum(end, spans[:, 1]) - np.maximum(begin, spans[:, 0])
            best = int(np.argmax(np.where(known, overlap, -1)))
            result[row] = best if overlap[best] > 0 and known[best] else -1
    return result


def _char_spans(words: Sequence[Segment], text: str) -> NDArray[np.int64]:
    """``(S, 2)`` characters of each word; those not told are looked for in reading order."""
    spans = np.zeros((len(words), 2), np.int64)
    folded, at = text.casefold(), 0
    simple = len(folded) == len(text)  # else offsets in the folded text would not be the text's
    for row, word in enumerate(words):
        if word.chars is not None:
            spans[row] = word.chars
        else:
            wanted = word.text.split("(")[0]
            found = (folded if simple else text).find(wanted.casefold() if simple else wanted, at)
            if not wanted or found < 0:
                continue
            spans[row] = found, found + len(wanted)
        at = int(spans[row, 1])
    return spans
