"""A clip without each of its words, for classifiers that take it whole. No torch."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from undertone.features.joined import RATE

if TYPE_CHECKING:
    from undertone.judging.encoders import ClipFeatures, Encoders
    from undertone.types import Wave

__all__ = ["without_each_word"]


def without_each_word(encoders: Encoders, one: ClipFeatures) -> list[ClipFeatures]:
    """For each word the clip's logits without it: a text without its letters, a wave with zeros in its time.

    Each is computed anew: a network with a class token has no vectors of its own for words.
    """
    text, wave = one.clip.text or "", one.clip.wave
    texts = [_without(text, word.chars) for word in one.words]
    text_side: Any = encoders.text
    vectors = text_side.encode(texts) if text_side is not None and one.token_count else None
    frames = None
    if encoders.speech is not None and one.frame_count and one.timed:
        assert wave is not None
        frames = encoders.speech.encode([_zeroed(wave, word.start, word.end) for word in one.words])
    rows = []
    for index in range(len(one.words)):
        example = one.example
        if vectors is not None:
            left: Any = vectors[index]
            example = replace(example, text=left.vectors, token_word=np.full(len(left.vectors), -1, np.int64))
        if frames is not None:
            example = replace(example, speech=frames[index])
        rows.append(replace(one, example=example))
    return rows


def _without(text: str, chars: tuple[int, int] | None) -> str:
    return text if chars is None else " ".join((text[: chars[0]] + " " + text[chars[1] :]).split())


def _zeroed(wave: Wave, start: float, end: float) -> Wave:
    changed = wave.copy()
    changed[round(start * RATE) : round(end * RATE)] = 0.0
    return changed
