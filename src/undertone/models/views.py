"""A second view of a batch: the same utterances with other gain, speed and noise, and without some words.

What is changed are features, not samples: a gain scales standardised frames, noise is added to them, speed
repeats or leaves out frames (boundaries move with them), a dropped word's tokens are zeros.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from undertone.models.batch import Batch, Segments

__all__ = ["ViewKind", "second_view"]

ViewKind = Literal["gain", "noise", "speed", "words"]
GAIN, SPEED = 0.2, 0.1
"""Largest change, as a natural logarithm."""
NOISE = 0.1
"""Deviation, of a dimension's own over the training part."""
DROPPED = 0.15
"""Share of words that are left out."""


def second_view(
    batch: Batch, kinds: Collection[ViewKind], std: Tensor, generator: torch.Generator | None = None
) -> Batch:
    """The batch in another view; ``std``: the frames' deviations, as of ``System.speech_std``."""
    if "speed" in kinds:
        batch = _at_speed(batch, (SPEED * _signed(batch, (len(batch),), generator)).exp())
    if "noise" in kinds:
        noise = torch.randn(batch.speech.shape, generator=generator, device=_place(batch, generator))
        batch = replace(batch, speech=batch.speech + NOISE * std * noise.to(batch.speech))
    if "gain" in kinds:
        gain = (GAIN * _signed(batch, (len(batch), 1), generator)).exp()
        gate = batch.speech_mask * gain
        batch = replace(batch, speech_gate=gate if batch.speech_gate is None else gate * batch.speech_gate)
    if "words" in kinds:
        kept = _kept_words(batch, generator)
        batch = replace(batch, text_gate=kept if batch.text_gate is None else kept * batch.text_gate)
    return batch


def _place(batch: Batch, generator: torch.Generator | None) -> torch.device:
    return batch.speech.device if generator is None else generator.device


def _signed(batch: Batch, shape: tuple[int, ...], generator: torch.Generator | None) -> Tensor:
    """Uniform in -1 … 1."""
    drawn = torch.rand(shape, generator=generator, device=_place(batch, generator))
    return 2.0 * drawn.to(batch.speech.device) - 1.0


def _kept_words(batch: Batch, generator: torch.Generator | None) -> Tensor:
    """(B, L): 0 for the tokens of a dropped word, else 1; a token of no word stands for itself."""
    B, L = batch.token_word.shape
    own = L + torch.arange(L, device=batch.token_word.device)
    number = torch.where(batch.token_word >= 0, batch.token_word.clamp(max=L - 1), own)
    draw = torch.rand((B, 2 * L), generator=generator, device=_place(batch, generator))
    return (draw.to(number.device).gather(1, number) >= DROPPED).float()


def _at_speed(batch: Batch, rates: Tensor) -> Batch:
    """Each utterance ``rates (B,)`` times as fast."""
    lengths = batch.speech_lengths
    made = torch.where(lengths > 0, (lengths / rates).round().long().clamp(min=1), 0)
    size = max(1, int(made.max()))
    times = (torch.arange(size, device=rates.device) + 0.5) * rates[:, None]
    index = torch.minimum(times.long(), (lengths - 1).clamp(min=0)[:, None])  # (B, T)
    if batch.speech.ndim == 4:
        wide = index[:, None, :, None].expand(-1, batch.speech.shape[1], -1, batch.speech.shape[3])
    else:
        wide = index[..., None].expand(-1, -1, batch.speech.shape[2])
    gate = None if batch.speech_gate is None else batch.speech_gate.gather(1, index)
    speech = batch.speech.gather(-2, wide)
    segments: Mapping[str, Segments] = {
        name: replace(tier, spans=_moved(tier.spans, rates, made)) for name, tier in batch.segments.items()
    }
    return replace(batch, speech=speech, speech_lengths=made, segments=segments, speech_gate=gate)


def _moved(spans: Tensor, rates: Tensor, lengths: Tensor) -> Tensor:
    """(B, S, 2): spans in the frames at other speeds, none empty that was not."""
    last = lengths[:, None].clamp(min=1)
    start = torch.minimum((spans[..., 0] / rates[:, None]).floor().long(), last - 1)
    end = torch.minimum((spans[..., 1] / rates[:, None]).round().long(), last)
    full = spans[..., 1] > spans[..., 0]
    return torch.stack([start * full, torch.maximum(end, start + 1) * full], -1)
