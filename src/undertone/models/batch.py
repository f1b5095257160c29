"""The batch every system takes, and how single utterances become one.

Dimensions, the same everywhere:

    B  utterances in a batch        L  text tokens
    T  speech frames                S  segments of a tier (phones, syllables or words)
    K  kept encoder layers          D  width
    C  classes                      U  turns of a dialogue (then B counts dialogues, and T = L = U)

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

from undertone.models.example import IGNORE, Dimensions, Example, filled, padded

__all__ = ["Batch", "Segments", "collate", "mask_from"]


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
    """What a system's forward takes. Missing modalities have length 0, with ``present`` False."""

    ids: tuple[str, ...]
    speech: Tensor
    """(B, T, D) | (B, K, T, D)"""
    speech_lengths: Tensor
    """(B,) frames; 0 where speech is missing."""
    text: Tensor
    """(B, L, D) float vectors | (B, L) integer token ids"""
    text_lengths: Tensor
    """(B,) tokens; 0 where text is missing."""
    segments: Mapping[str, Segments]
    """By tier: ``phone``, ``syllable``, ``word``; a tier that the corpus lacks is missing."""
    token_word: Tensor
    """(B, L), -1 for none."""
    labels: Tensor
    """(B,), or (B, U) at dialogue level; IGNORE where there is none."""
    present: Tensor
    """(B, 2) bool: whether there is speech / text."""
    targets: Mapping[str, Tensor] = field(default_factory=dict)
    """(B, n) by name: further targets in training, IGNORE on padding and where there is none; and ``votes``
    (B, C) and ``ratings`` (B, n), at dialogue level (B, U, …), nan there."""
    speakers: Tensor | None = None
    """(B, U) at dialogue level."""
    turn_present: Tensor | None = None
    """(B, U, 2) bool at dialogue level: does the turn have speech / text?"""
    turns: tuple[tuple[str, ...], ...] = ()
    """The ids of the turns at dialogue level."""
    speech_gate: Tensor | None = None
    """(B, T) factors on the (standardised) frames, by which explanations leave frames out."""
    text_gate: Tensor | None = None
    """(B, L) factors on the token vectors."""

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def speech_mask(self) -> Tensor:
        """(B, T), True where a frame is real; a turn without speech has none."""
        mask = mask_from(self.speech_lengths, self.speech.shape[-2])
        return mask if self.turn_present is None else mask & self.turn_present[..., 0]

    @property
    def text_mask(self) -> Tensor:
        """(B, L), True where a token is real; a turn without text has none."""
        mask = mask_from(self.text_lengths, self.text.shape[1])
        return mask if self.turn_present is None else mask & self.turn_present[..., 1]

    @property
    def modalities(self) -> Tensor:
        """(B, 2), or (B, U, 2) at dialogue level: which modalities what is judged has."""
        return self.present if self.turn_present is None else self.present[:, None] & self.turn_present

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
        """The batch without modalities where the (B,) boolean masks are True."""
        removed = torch.zeros_like(self.present)
        if speech is not None:
            removed[:, 0] = speech
        if text is not None:
            removed[:, 1] = text
        kept = self.present & ~removed
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
    tiers = sorted({tier for e in examples for tier in e.segments})
    arrays = {name: torch.from_numpy(x) for name, x in padded(examples, dimensions, tiers).items()}
    lengths = arrays["speech_lengths"], arrays["text_lengths"]
    dialogues = bool(examples[0].ids)
    return Batch(
        ids=tuple(e.id for e in examples),
        speech=arrays["speech"],
        speech_lengths=lengths[0],
        text=arrays["text"],
        text_lengths=lengths[1],
        segments={
            tier: Segments(*(arrays[f"{tier}_{part}"] for part in ("spans", "lengths", "word")))
            for tier in tiers
        },
        token_word=arrays["token_word"],
        labels=_labels(examples),
        present=torch.stack(lengths, 1) > 0,
        targets={
            name: torch.from_numpy(_targets([e.targets.get(name) for e in examples]))
            for name in sorted({name for e in examples for name in e.targets})
        },
        speakers=torch.from_numpy(filled([e.speakers for e in examples], None, -1)) if dialogues else None,
        turns=tuple(e.ids for e in examples) if dialogues else (),
        turn_present=_turn_present(examples) if dialogues else None,
    )


def _turn_present(examples: Sequence[Example]) -> Tensor:
    """(B, U, 2), False on padding."""
    present = torch.zeros(len(examples), max(len(e.ids) for e in examples), 2, dtype=torch.bool)
    for row, example in zip(present, examples, strict=True):
        whole = np.array([example.speech is not None, example.text is not None])
        known = example.turn_present
        row[: len(example.ids)] = torch.from_numpy(whole if known is None else known)
    return present


def _targets(items: Sequence[NDArray[Any] | None]) -> NDArray[Any]:
    """(B, n), or (B, U, n) of turns; whole numbers with IGNORE and others with nan where there is nothing."""
    first = next(x for x in items if x is not None)
    if first.ndim == 1:
        real = first.dtype.kind == "f"
        return filled(items, None, np.nan if real else IGNORE, np.float32 if real else np.int64)
    out = np.full(
        (len(items), max(len(x) for x in items if x is not None), first.shape[1]), np.nan, np.float32
    )
    for row, item in zip(out, items, strict=True):
        if item is not None:
            row[: len(item)] = item
    return out


def _labels(examples: Sequence[Example]) -> Tensor:
    if examples[0].labels is None:
        return torch.tensor([e.label for e in examples])
    return torch.from_numpy(filled([e.labels for e in examples], None, IGNORE))
