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

from undertone.judging.encoders import ClipFeatures
from undertone.models.example import Dimensions, filled, padded
from undertone.types import TIERS

__all__ = ["SIDES", "arrays_of", "input_names", "output_name"]

SIDES = ("fused", "speech", "text")


def input_names() -> list[str]:
    """Every input, in order."""
    plain = ["speech", "speech_lengths", "speech_gate", "text", "text_lengths", "text_gate", "token_word"]
    return plain + [f"{tier}_{part}" for tier in TIERS for part in ("spans", "lengths", "word")]


def output_name(side: str) -> str:
    return f"{side}_posterior"


def arrays_of(clips: Sequence[ClipFeatures], sizes: dict[str, int]) -> dict[str, NDArray[Any]]:
    """The clips as padded arrays; ``sizes`` are the system's dimensions, for what no clip has."""
    arrays = padded([clip.example for clip in clips], Dimensions(**sizes), TIERS)
    frames, tokens = arrays["speech"].shape[-2], arrays["text"].shape[1]
    arrays["speech_gate"] = filled([clip.frame_gate for clip in clips], frames, 1.0, np.float32)
    arrays["text_gate"] = filled([clip.token_gate for clip in clips], tokens, 1.0, np.float32)
    return arrays
