"""The tensors that go into an exported graph, and what comes out. Numpy alone: no torch here.

    speech (B, T, D) | (B, K, T, D)   speech_lengths (B)   speech_gate (B, T)
    text (B, L) ids | (B, L, D)       text_lengths (B)     text_gate (B, L)   token_word (B, L)
    TIER_spans (B, S, 2)              TIER_lengths (B)     TIER_word (B, S)   for word, syllable, phone

A graph has those of them that its system uses. It gives posteriors (B, C), calibrated: ``fused_posterior``,
and ``speech_posterior`` / ``text_posterior`` where the system has such branches.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from undertone.judging.rows import Row
from undertone.models.example import Dimensions, Example, filled, padded
from undertone.types import TIERS

__all__ = ["SIDES", "arrays_of", "example_of", "input_names", "output_name"]

SIDES = ("fused", "speech", "text")


def input_names() -> list[str]:
    """Every input, in order."""
    plain = ["speech", "speech_lengths", "speech_gate", "text", "text_lengths", "text_gate", "token_word"]
    return plain + [f"{tier}_{part}" for tier in TIERS for part in ("spans", "lengths", "word")]


def output_name(side: str) -> str:
    return f"{side}_posterior"


def example_of(row: Row) -> Example:
    """The row as an example; its gates come beside it."""
    parts = row.of.parts
    return Example(
        id=row.of.clip.id,
        speech=row.frames,
        text=row.tokens,
        segments=parts["segments"] if row.speech else {},
        segment_word=parts["segment_word"] if row.speech else {},
        token_word=parts["token_word"] if row.tokens is not None else None,
    )


def arrays_of(rows: Sequence[Row], sizes: dict[str, int]) -> dict[str, NDArray[Any]]:
    """The rows as padded arrays; ``sizes`` are the system's dimensions, for what no row has."""
    arrays = padded([example_of(row) for row in rows], Dimensions(**sizes), TIERS)
    frames, tokens = arrays["speech"].shape[-2], arrays["text"].shape[1]
    arrays["speech_gate"] = filled([row.frame_gate for row in rows], frames, 1.0, np.float32)
    arrays["text_gate"] = filled([row.token_gate for row in rows], tokens, 1.0, np.float32)
    return arrays
