"""One utterance's features put together: what ``models.example.Example`` is made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from undertone.features.spans import frame_spans, segment_words, token_words
from undertone.types import EncodedText, FrameClock, Utterance

__all__ = ["Assembled", "assemble"]


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
    """Speech frames ``(T, D)`` or layers ``(K, T, D)``, the text's vectors or ids, and what ties them.

    ``speech`` is the array or what the store gave (its ``frames``); segments exist only where there
    are frames to point at and an alignment.
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
    if frames is None or utterance.alignment is None or not frames.shape[-2]:
        return spans, word_of
    assert clock is not None, "frames come with a clock"
    words = utterance.alignment.word
    for tier in utterance.alignment.tiers:
        found = utterance.alignment.tier(tier)
        spans[tier] = frame_spans(found, clock, frames.shape[-2])
        word_of[tier] = (
            np.arange(len(found), dtype=np.int64) if tier == "word" else segment_words(found, words)
        )
    return spans, word_of
