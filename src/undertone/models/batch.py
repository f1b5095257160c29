"""The batch every system takes, and how single utterances become one.

Dimensions, the same everywhere:

    B  utterances in a batch        L  text tokens
    T  speech frames                S  segments of a tier (phones, syllables or words)
    K  kept encoder layers          D  width
    N  samples of a waveform        C  classes
    U  turns of a dialogue (then B counts dialogues, and T = L = U)

Every sequence travels with its lengths; a mask is built from them, never guessed from zeros.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["IGNORE", "Batch", "Dimensions", "Example", "Segments", "collate", "mask_from"]

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


@dataclass(frozen=True)
class Example:
    """One utterance (or, at dialogue level, one dialogue) before batching, in numpy.

    ``speech`` None or ``text`` None: the modality is missing. A text of no tokens is missing text.
    """

    id: str
    speech: NDArray[Any] | None = None
    """(T, D) frames | (K, T, D) layers | (N,) samples | (U, D) one vector a turn."""
    text: NDArray[Any] | None = None
    """(L, D) vectors | (L,) token ids | (U, D) one vector a turn."""
    segments: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)
    """Per tier (S, 2): half-open frame spans, none empty."""
    segment_word: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)
    """Per tier (S,): index of the word a segment belongs to, -1 for none."""
    token_word: NDArray[np.int64] | None = None
    """(L,): index of the word segment of each token, -1 for none."""
    label: int = IGNORE
    labels: NDArray[np.int64] | None = None
    """(U,) at dialogue level, in place of ``label``."""
    ids: tuple[str, ...] = ()
    """The turns' ids at dialogue level."""
    speakers: NDArray[np.int64] | None = None
    """(U,) at dialogue level: who speaks, numbered within the dialogue."""


@dataclass(frozen=True)
class Segments:
    """One tier of a batch."""

    spans: Tensor
    """(B, S, 2) half-open frame spans; (0, 0) on padding."""
    lengths: Tensor
    """(B,)"""
    word: Tensor
    """(B, S) index of each segment's word, -1 for none and on padding."""

    @property
    def mask(self) -> Tensor:
        """(B, S)"""
        return mask_from(self.lengths, self.spans.shape[1])


@dataclass(frozen=True)
class Batch:
    """What a system's forward takes. Absent modalities are zero-length, with ``present`` False."""

    ids: tuple[str, ...]
    speech: Tensor
    """(B, T, D) | (B, K, T, D) | (B, N)"""
    speech_lengths: Tensor
    """(B,) frames (or samples); 0 where speech is missing."""
    text: Tensor
    """(B, L, D) float vectors | (B, L) integer token ids"""
    text_lengths: Tensor
    """(B,) tokens; 0 where text is missing."""
    segments: Mapping[str, Segments]
    """By tier: ``phone``, ``syllable``, ``word``; a tier absent from the corpus is absent here."""
    token_word: Tensor
    """(B, L), -1 for none."""
    labels: Tensor
    """(B,), or (B, U) at dialogue level; IGNORE where there is none."""
    present: Tensor
    """(B, 2) bool: is speech / text there at all?"""
    speakers: Tensor | None = None
    """(B, U) at dialogue level."""
    turns: tuple[tuple[str, ...], ...] = ()
    """The ids of the turns at dialogue level."""
    speech_gate: Tensor | None = None
    """(B, T) factors on the (standardised) frames: how explanations ask what a frame is worth."""
    text_gate: Tensor | None = None
    """(B, L) factors on the token vectors."""

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def speech_mask(self) -> Tensor:
        """(B, T), True where a frame is real."""
        return mask_from(self.speech_lengths, self.speech.shape[-1 if self.speech.ndim == 2 else -2])

    @property
    def text_mask(self) -> Tensor:
        """(B, L), True where a token is real."""
        return mask_from(self.text_lengths, self.text.shape[1])

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> Self:
        """The batch on a device; ``dtype`` casts the floating-point inputs only."""

        def move(value: Any) -> Any:
            if isinstance(value, Tensor):
                return value.to(device, dtype if value.is_floating_point() else None, non_blocking=True)
            if isinstance(value, Segments):
                return Segments(*(move(getattr(value, f.name)) for f in fields(value)))
            if isinstance(value, dict):
                return {key: move(inner) for key, inner in value.items()}
            return value

        return replace(self, **{f.name: move(getattr(self, f.name)) for f in fields(self)})

    def without(self, *, speech: Tensor | None = None, text: Tensor | None = None) -> Self:
        """The batch with modalities taken away where the (B,) boolean masks are True."""
        gone = torch.zeros_like(self.present)
        if speech is not None:
            gone[:, 0] = speech
        if text is not None:
            gone[:, 1] = text
        kept = self.present & ~gone
        return replace(
            self,
            present=kept,
            speech_lengths=self.speech_lengths * kept[:, 0],
            text_lengths=self.text_lengths * kept[:, 1],
        )


def mask_from(lengths: Tensor, size: int) -> Tensor:
    """(B, size) mask, True where the index is below the length."""
    return torch.arange(size, device=lengths.device)[None, :] < lengths[:, None]


def collate(examples: Sequence[Example], dimensions: Dimensions) -> Batch:
    """Pad examples into one batch. Sizes of missing modalities come from ``dimensions``."""
    assert examples, "an empty batch has no meaning"
    speech = [e.speech for e in examples]
    text = [e.text if e.text is not None and len(e.text) else None for e in examples]
    speech_lengths = [0 if x is None else x.shape[0 if x.ndim < 3 else 1] for x in speech]
    text_lengths = [0 if x is None else len(x) for x in text]
    tiers = sorted({tier for e in examples for tier in e.segments})
    return Batch(
        ids=tuple(e.id for e in examples),
        speech=_pad_speech(speech, max(1, *speech_lengths), dimensions),
        speech_lengths=torch.tensor(speech_lengths),
        text=_pad_text(text, max(1, *text_lengths), dimensions),
        text_lengths=torch.tensor(text_lengths),
        segments={tier: _pad_segments(examples, tier) for tier in tiers},
        token_word=_pad_ints(
            [e.token_word if n else None for e, n in zip(examples, text_lengths, strict=True)],
            max(1, *text_lengths),
            -1,
        ),
        labels=_labels(examples),
        present=torch.tensor([[n > 0, m > 0] for n, m in zip(speech_lengths, text_lengths, strict=True)]),
        speakers=_pad_ints([e.speakers for e in examples], None, -1) if examples[0].ids else None,
        turns=tuple(e.ids for e in examples) if examples[0].ids else (),
    )


def _labels(examples: Sequence[Example]) -> Tensor:
    if examples[0].labels is None:
        return torch.tensor([e.label for e in examples])
    return _pad_ints([e.labels for e in examples], None, IGNORE)


def _pad_speech(items: Sequence[NDArray[Any] | None], size: int, dims: Dimensions) -> Tensor:
    shown = next((x for x in items if x is not None), None)
    if shown is not None and shown.ndim == 1:
        shape: tuple[int, ...] = (size,)
    elif dims.speech_layers:
        shape = (dims.speech_layers, size, dims.speech)
    else:
        shape = (size, dims.speech)
    out = np.zeros((len(items), *shape), np.float32)
    for row, item in zip(out, items, strict=True):
        if item is not None and item.ndim > 1:
            row[..., : item.shape[-2], :] = item
        elif item is not None:
            row[: len(item)] = item
    return torch.from_numpy(out)


def _pad_text(items: Sequence[NDArray[Any] | None], size: int, dims: Dimensions) -> Tensor:
    if dims.vocabulary:
        return _pad_ints(items, size, 0)
    out = np.zeros((len(items), size, dims.text), np.float32)
    for row, item in zip(out, items, strict=True):
        if item is not None:
            row[: len(item)] = item
    return torch.from_numpy(out)


def _pad_ints(items: Sequence[NDArray[Any] | None], size: int | None, fill: int) -> Tensor:
    width = size or max((len(x) for x in items if x is not None), default=1)
    out = np.full((len(items), width), fill, np.int64)
    for row, item in zip(out, items, strict=True):
        if item is not None:
            row[: len(item)] = item
    return torch.from_numpy(out)


def _pad_segments(examples: Sequence[Example], tier: str) -> Segments:
    spans = [e.segments.get(tier, np.zeros((0, 2), np.int64)) for e in examples]
    width = max(1, *(len(s) for s in spans))
    padded = np.zeros((len(spans), width, 2), np.int64)
    for row, item in zip(padded, spans, strict=True):
        row[: len(item)] = item
    words = [
        e.segment_word.get(tier, np.arange(len(s)) if tier == "word" else None)
        for e, s in zip(examples, spans, strict=True)
    ]
    return Segments(
        torch.from_numpy(padded), torch.tensor([len(s) for s in spans]), _pad_ints(words, width, -1)
    )
