"""Which speech and which tokens are near each other in time, for attention whose heads read so many seconds.

After MGAT (ICASSP 2023) and SWRR (Interspeech 2023), which cut by index; the times of words make it exact.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from undertone.errors import ConfigError
from undertone.models.batch import Batch, Segments

__all__ = ["Windows", "check_windows", "known_hop", "near"]

Windows = tuple[Annotated[float, Field(gt=0.0)], ...]
"""Seconds; ``inf``: everything. Each is for as many heads as the others."""


def check_windows(windows: Windows, heads: int) -> None:
    """Refuse windows that do not divide the heads."""
    if windows and heads % len(windows):
        raise ValueError(f"heads = {heads} is no multiple of the {len(windows)} windows")


def known_hop(windows: Windows, hop: float) -> float:
    """Seconds a frame, which windows need; ConfigError where they are not known."""
    if windows and not hop > 0:
        raise ConfigError("windows are in seconds, and these features have no times")
    return hop


def near(batch: Batch, tier: Segments | None, windows: Sequence[float], heads: int, hop: float) -> Tensor:
    """(B, H, S, L): whether the centre of a tier's segment (None: of a frame) is within a head's seconds of
    the centre of the token's word. A token whose word has no time is near everything."""
    words = batch.segments.get("word")
    if tier is None:
        size = batch.speech_mask.shape[1]
        speech = torch.arange(size, device=batch.token_word.device)[None] + 0.5
    else:
        speech = tier.spans.float().mean(-1)
    if words is None:
        known, centres = torch.zeros_like(batch.token_word, dtype=torch.bool), batch.token_word.float()
    else:
        known = (batch.token_word >= 0) & (batch.token_word < words.lengths[:, None])
        centres = words.spans.float().mean(-1).gather(1, torch.where(known, batch.token_word, 0))
    apart = (speech[:, :, None] - centres[:, None]).abs() * hop  # (B, S, L)
    most = [w if math.isfinite(w) else 1e9 for w in windows for _ in range(heads // len(windows))]
    limits = torch.tensor(most, device=apart.device)[:, None, None]
    return (apart[:, None] <= limits) | ~known[:, None, None]
