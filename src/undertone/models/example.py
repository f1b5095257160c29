"""One utterance before batching, and several of them as padded arrays. Numpy alone: no torch here.

The legend of dimensions (B, T, L, S, K, D …) stands at the head of ``models/batch.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["IGNORE", "Dimensions", "Example", "as_turn", "dialogue", "filled", "padded"]

IGNORE = -1
"""The label of what is not scored: unlabelled turns and padding."""


@dataclass(frozen=True)
class Dimensions:
    """The sizes a system is built for; saved with the model."""

    classes: int
    speech: int = 0
    """Ds, width of the speech frames."""
    speech_layers: int = 0
    """K when frames come as layers (B, K, T, D), else 0."""
    text: int = 0
    """Dt, width of the text vectors; with ``vocabulary``, of the embeddings learned in the graph."""
    vocabulary: int = 0
    """V when text comes as token ids, else 0."""
    hop: float = 0.0
    """Seconds from frame to frame; 0 where that is not known."""


@dataclass(frozen=True)
class Example:
    """One utterance (or, at dialogue level, one dialogue) before batching, in numpy.

    ``speech`` None or ``text`` None: the modality is missing. A text of no tokens is missing text.
    """

    id: str
    speech: NDArray[Any] | None = None
    """(T, D) frames | (K, T, D) layers | (U, D) one vector a turn."""
    text: NDArray[Any] | None = None
    """(L, D) vectors | (L,) token ids | (U, D) one vector a turn."""
    segments: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)
    """Per tier (S, 2): half-open frame spans, none empty."""
    segment_word: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)
    """Per tier (S,): index of the word a segment belongs to, -1 for none."""
    token_word: NDArray[np.int64] | None = None
    """(L,): index of the word segment of each token, -1 for none."""
    targets: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    """(n,) by name: further targets that a system wants in training (``SystemConfig.targets``), whole
    numbers; and ``votes`` (C,) and ``ratings`` (n,), at dialogue level (U, …), nan where there are none."""
    label: int = IGNORE
    labels: NDArray[np.int64] | None = None
    """(U,) at dialogue level, in place of ``label``."""
    ids: tuple[str, ...] = ()
    """The turns' ids at dialogue level."""
    speakers: NDArray[np.int64] | None = None
    """(U,) at dialogue level: who speaks, numbered within the dialogue."""
    turn_present: NDArray[np.bool_] | None = None
    """(U, 2) at dialogue level: does the turn have speech / text? None: as the dialogue has."""


def as_turn(whole: Example, pool: Callable[[NDArray[Any]], NDArray[Any]]) -> Example:
    """One utterance's example with one vector of each modality that it has; ``pool`` makes that of frames."""
    if whole.speech is not None:
        whole = replace(whole, speech=pool(whole.speech), segments={}, segment_word={})
    if whole.text is not None and len(whole.text):
        whole = replace(whole, text=whole.text.mean(0, keepdims=True), token_word=None)
    return whole


def dialogue(name: str, turns: Sequence[Example], speakers: Sequence[str | None]) -> Example:
    """One example of the turns in their order, with who speaks each."""
    people = {speaker: number for number, speaker in enumerate(dict.fromkeys(speakers))}
    return Example(
        id=name,
        speech=_stack([turn.speech for turn in turns]),
        text=_stack([turn.text for turn in turns]),
        labels=np.array([turn.label for turn in turns], np.int64),
        ids=tuple(turn.id for turn in turns),
        speakers=np.array([people[speaker] for speaker in speakers], np.int64),
        turn_present=np.array([[_given(turn.speech), _given(turn.text)] for turn in turns]),
        targets={
            name: np.stack([turn.targets[name] for turn in turns])
            for name in ("votes", "ratings")
            if all(name in turn.targets for turn in turns)
        },
    )


def _given(vectors: NDArray[Any] | None) -> bool:
    return vectors is not None and len(vectors) > 0


def _stack(turns: Sequence[NDArray[Any] | None]) -> NDArray[Any] | None:
    """(U, D), zeros (masked) for a turn without the modality; None where no turn has it."""
    first = next((x for x in turns if x is not None and len(x)), None)
    if first is None:
        return None
    missing = np.zeros_like(first)
    return np.concatenate([x if x is not None and len(x) else missing for x in turns])


def padded(
    examples: Sequence[Example], dimensions: Dimensions, tiers: Sequence[str]
) -> dict[str, NDArray[Any]]:
    """The examples' sequences, padded; what is missing has length 0, its size is that of ``dimensions``.

        speech (B, T, D) | (B, K, T, D)   speech_lengths (B)
        text (B, L, D) | (B, L) ids       text_lengths (B)     token_word (B, L)
        TIER_spans (B, S, 2)              TIER_lengths (B)     TIER_word (B, S)

    Numbers of words are -1 on padding, all else is 0; no padded length is below 1.
    """
    speech = [e.speech for e in examples]
    text = [e.text if e.text is not None and len(e.text) else None for e in examples]
    frames = [0 if x is None else x.shape[-2] for x in speech]
    tokens = [0 if x is None else len(x) for x in text]
    words = [e.token_word if n else None for e, n in zip(examples, tokens, strict=True)]
    arrays: dict[str, NDArray[Any]] = {
        "speech": _speech(speech, max(1, *frames), dimensions),
        "speech_lengths": np.array(frames, np.int64),
        "text": _text(text, max(1, *tokens), dimensions),
        "text_lengths": np.array(tokens, np.int64),
        "token_word": filled(words, max(1, *tokens), -1),
    }
    for tier in tiers:
        arrays |= _tier(examples, tier)
    return arrays


def filled(
    items: Sequence[NDArray[Any] | None], size: int | None, fill: float, kind: type[np.generic] = np.int64
) -> NDArray[Any]:
    """(B, ``size``): the items, followed by ``fill``; None is ``fill`` alone. ``size`` None: the longest."""
    width = size or max((len(x) for x in items if x is not None), default=1)
    out = np.full((len(items), width), fill, kind)
    for row, item in zip(out, items, strict=True):
        if item is not None:
            row[: len(item)] = item
    return out


def _speech(items: Sequence[NDArray[Any] | None], size: int, dimensions: Dimensions) -> NDArray[np.float32]:
    layers = (dimensions.speech_layers,) if dimensions.speech_layers else ()
    out = np.zeros((len(items), *layers, size, dimensions.speech), np.float32)
    for row, item in zip(out, items, strict=True):
        if item is not None:
            row[..., : item.shape[-2], :] = item
    return out


def _text(items: Sequence[NDArray[Any] | None], size: int, dimensions: Dimensions) -> NDArray[Any]:
    if dimensions.vocabulary:
        return filled(items, size, 0)
    out = np.zeros((len(items), size, dimensions.text), np.float32)
    for row, item in zip(out, items, strict=True):
        if item is not None:
            row[: len(item)] = item
    return out


def _tier(examples: Sequence[Example], tier: str) -> dict[str, NDArray[Any]]:
    spans = [e.segments.get(tier, np.zeros((0, 2), np.int64)) for e in examples]
    width = max(1, *(len(s) for s in spans))
    out = np.zeros((len(spans), width, 2), np.int64)
    for row, item in zip(out, spans, strict=True):
        row[: len(item)] = item
    words = [
        e.segment_word.get(tier, np.arange(len(s)) if tier == "word" else None)
        for e, s in zip(examples, spans, strict=True)
    ]
    return {
        f"{tier}_spans": out,
        f"{tier}_lengths": np.array([len(s) for s in spans], np.int64),
        f"{tier}_word": filled(words, width, -1),
    }
