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
from undertone.types import TIERS

__all__ = ["SIDES", "arrays_of", "input_names", "output_name"]

SIDES = ("fused", "speech", "text")


def input_names() -> list[str]:
    """Every input, in order."""
    plain = ["speech", "speech_lengths", "speech_gate", "text", "text_lengths", "text_gate", "token_word"]
    return plain + [f"{tier}_{part}" for tier in TIERS for part in ("spans", "lengths", "word")]


def output_name(side: str) -> str:
    return f"{side}_posterior"


def arrays_of(rows: Sequence[Row], sizes: dict[str, int]) -> dict[str, NDArray[Any]]:
    """The rows as padded arrays; ``sizes`` are the system's dimensions, for what no row has."""
    frames = max(1, *(row.frame_count for row in rows))
    tokens = max(1, *(row.token_count for row in rows))
    found: dict[str, NDArray[Any]] = {
        "speech": _speech(rows, frames, sizes),
        "speech_lengths": np.array([row.frame_count for row in rows], np.int64),
        "speech_gate": _padded([row.frame_gate for row in rows], frames, 1.0, np.float32),
        "text": _text(rows, tokens, sizes),
        "text_lengths": np.array([row.token_count for row in rows], np.int64),
        "text_gate": _padded([row.token_gate for row in rows], tokens, 1.0, np.float32),
        "token_word": _padded([_token_word(row) for row in rows], tokens, -1, np.int64),
    }
    for tier in TIERS:
        found |= _tier(rows, tier)
    return found


def _speech(rows: Sequence[Row], frames: int, sizes: dict[str, int]) -> NDArray[np.float32]:
    layers = (sizes["speech_layers"],) if sizes.get("speech_layers") else ()
    out = np.zeros((len(rows), *layers, frames, sizes["speech"]), np.float32)
    for place, row in zip(out, rows, strict=True):
        if row.frames is not None:
            place[..., : row.frame_count, :] = row.frames
    return out


def _text(rows: Sequence[Row], tokens: int, sizes: dict[str, int]) -> NDArray[Any]:
    if sizes.get("vocabulary"):
        return _padded([row.tokens for row in rows], tokens, 0, np.int64)
    out = np.zeros((len(rows), tokens, sizes["text"]), np.float32)
    for place, row in zip(out, rows, strict=True):
        if row.tokens is not None:
            place[: row.token_count] = row.tokens
    return out


def _token_word(row: Row) -> NDArray[np.int64] | None:
    return row.of.parts["token_word"] if row.tokens is not None else None


def _tier(rows: Sequence[Row], tier: str) -> dict[str, NDArray[Any]]:
    spans = [row.of.parts["segments"].get(tier) if row.speech else None for row in rows]
    words = [row.of.parts["segment_word"].get(tier) if row.speech else None for row in rows]
    lengths = [0 if span is None else len(span) for span in spans]
    size = max(1, *lengths)
    out = np.zeros((len(rows), size, 2), np.int64)
    for place, span in zip(out, spans, strict=True):
        if span is not None:
            place[: len(span)] = span
    return {
        f"{tier}_spans": out,
        f"{tier}_lengths": np.array(lengths, np.int64),
        f"{tier}_word": _padded(words, size, -1, np.int64),
    }


def _padded(items: Sequence[NDArray[Any] | None], size: int, fill: float, kind: Any) -> NDArray[Any]:
    out = np.full((len(items), size), fill, kind)
    for place, item in zip(out, items, strict=True):
        if item is not None:
            place[: len(item)] = item
    return out
