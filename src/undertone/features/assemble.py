"""One utterance's arrays: checked, matched with its segments and words, put together.

Which frames a segment owns, which word a segment or a token belongs to; the result is what
``models.example.Example`` is made of.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from undertone.audio import RATE
from undertone.errors import AudioError, DataError
from undertone.types import EncodedText, FrameClock, Segment, Utterance

if TYPE_CHECKING:
    from undertone.types import Wave

__all__ = [
    "Assembled",
    "assemble",
    "averaged",
    "checked_frames",
    "checked_wave",
    "frame_count",
    "frame_spans",
    "functionals",
    "segment_words",
    "token_words",
    "two_frames",
]

_SLACK = 1e-9
"""Seconds by which a frame's centre may miss a boundary: times such as 0.07 are not exact in binary."""


class Assembled(TypedDict):
    """Fields of ``models.example.Example``, by their names there."""

    speech: NDArray[Any] | None
    text: NDArray[Any] | None
    segments: dict[str, NDArray[np.int64]]
    segment_word: dict[str, NDArray[np.int64]]
    token_word: NDArray[np.int64] | None


def assemble(
    utterance: Utterance,
    speech: Mapping[str, NDArray[Any]] | NDArray[Any] | None,
    clock: FrameClock | None,
    text: EncodedText | tuple[NDArray[np.int64], NDArray[np.int32]] | None,
) -> Assembled:
    """Speech frames ``(T, D)`` or layers ``(K, T, D)``, the text's vectors or ids, and their indices.

    ``speech`` is the array, an entry of the store (its ``frames``), or samples ``(N,)`` of which the network
    will make frames; segments exist only where there are frames to point at and an alignment.
    """
    frames = speech["frames"] if isinstance(speech, Mapping) else speech
    values, chars = _tokens(text)
    segments, segment_word = _segments(utterance, frames, clock)
    words = utterance.alignment.word if utterance.alignment and "word" in segments else ()
    return Assembled(
        speech=frames,
        text=values,
        segments=segments,
        segment_word=segment_word,
        token_word=None if chars is None else token_words(chars, words, utterance.text or ""),
    )


def frame_count(speech: NDArray[Any], clock: FrameClock | None) -> int:
    """The frames of ``(T, D)``, of ``(K, T, D)``, or those that convolutions make of samples ``(N,)``."""
    if speech.ndim > 1:
        return int(speech.shape[-2])
    assert clock is not None, "frames come with a clock"
    stride, receptive = round(clock.hop * RATE), round(2 * clock.offset * RATE)
    return max(1, (len(speech) - receptive) // stride + 1)


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


def checked_wave(wave: Wave) -> Wave:
    """The wave, if it is one: mono, float, with samples, all of them numbers."""
    if wave.ndim != 1:
        raise AudioError(f"a wave of shape {wave.shape}: one channel is wanted")
    if not len(wave):
        raise AudioError("no samples")
    if not np.isfinite(wave).all():
        raise AudioError(f"{np.count_nonzero(~np.isfinite(wave))} samples are not numbers (NaN or infinity)")
    return wave.astype(np.float32, copy=False)


def checked_frames(frames: NDArray[np.float32], name: str) -> NDArray[np.float32]:
    """The frames, if all of them are numbers."""
    if not np.isfinite(frames).all():
        raise DataError(f"{name} gave features that are not numbers; try --precision fp32")
    return frames


def averaged(frames: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """(…, T, D): the mean of each ``count`` frames; the last one is of those that are left."""
    if count == 1:
        return frames
    starts = np.arange(0, frames.shape[-2], count)
    sizes = np.minimum(count, frames.shape[-2] - starts).astype(np.float32)
    means: NDArray[np.float32] = np.add.reduceat(frames, starts, axis=-2) / sizes[:, None]
    return means


def two_frames(frames: NDArray[np.float32]) -> NDArray[np.float32]:
    """(2, D) or (K, 2, D): frames whose mean and deviation are those of all frames (T, D) or (K, T, D)."""
    mean = frames.mean(-2, keepdims=True, dtype=np.float32)
    deviation = frames.std(-2, keepdims=True, dtype=np.float32)
    return np.concatenate([mean - deviation, mean + deviation], -2)


def functionals(frames: NDArray[np.float32]) -> NDArray[np.float32]:
    """(1, 2D), or (K, 1, 2D) of layers: the mean and the deviation over the frames."""
    both = [frames.mean(-2, keepdims=True), frames.std(-2, keepdims=True)]
    return np.concatenate(both, axis=-1, dtype=np.float32)


def _tokens(
    text: EncodedText | tuple[NDArray[np.int64], NDArray[np.int32]] | None,
) -> tuple[NDArray[Any] | None, NDArray[np.int32] | None]:
    if isinstance(text, EncodedText):
        return text.vectors, text.chars
    return (None, None) if text is None else text


def _segments(
    utterance: Utterance, frames: NDArray[Any] | None, clock: FrameClock | None
) -> tuple[dict[str, NDArray[np.int64]], dict[str, NDArray[np.int64]]]:
    spans: dict[str, NDArray[np.int64]] = {}
    word_of: dict[str, NDArray[np.int64]] = {}
    if frames is None or utterance.alignment is None or not len(frames):
        return spans, word_of
    count = frame_count(frames, clock)
    assert clock is not None, "frames come with a clock"
    words = utterance.alignment.word
    for tier in utterance.alignment.tiers:
        segments = utterance.alignment.tier(tier)
        spans[tier] = frame_spans(segments, clock, count)
        word_of[tier] = (
            np.arange(len(segments), dtype=np.int64) if tier == "word" else segment_words(segments, words)
        )
    return spans, word_of


def _char_spans(words: Sequence[Segment], text: str) -> NDArray[np.int64]:
    """``(S, 2)`` characters of each word; where not given, they are searched for in reading order."""
    spans = np.zeros((len(words), 2), np.int64)
    folded, at = text.casefold(), 0
    simple = len(folded) == len(text)  # else offsets in the folded text would not be the text's
    for row, word in enumerate(words):
        if word.chars is not None:
            spans[row] = word.chars
        else:
            wanted = word.text.split("(")[0]
            begin = (folded if simple else text).find(wanted.casefold() if simple else wanted, at)
            if not wanted or begin < 0:
                continue
            spans[row] = begin, begin + len(wanted)
        at = int(spans[row, 1])
    return spans
