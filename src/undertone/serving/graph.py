"""A system as a graph between plain tensors (``tensors``), the form in which it leaves torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from unittest.mock import patch

import torch
from torch import Tensor, nn

from undertone.judging.tensors import input_names
from undertone.models import layers
from undertone.models.batch import Batch, Segments
from undertone.models.system import System
from undertone.models.targets import target_asides
from undertone.types import TIERS

__all__ = ["Graph", "dense_pooling", "dynamic_axes", "tensors_of"]


def dynamic_axes(batch: Batch) -> dict[str, dict[int, str]]:
    """The dimensions that differ from call to call, by input."""
    axes: dict[str, dict[int, str]] = {name: {0: "B"} for name in input_names()}
    axes["speech"][batch.speech.ndim - 2] = axes["speech_gate"][1] = "T"
    for name in ("text", "text_gate", "token_word"):
        axes[name][1] = "L"
    for tier in TIERS:
        axes[f"{tier}_spans"][1] = axes[f"{tier}_word"][1] = f"S_{tier}"
    return axes


def tensors_of(batch: Batch) -> list[Tensor]:
    """A batch's tensors in the order of ``input_names``; a tier that is not there is empty."""
    B, T, L = len(batch), batch.speech.shape[-2], batch.text.shape[1]
    gates = (
        torch.ones(B, T) if batch.speech_gate is None else batch.speech_gate,
        torch.ones(B, L) if batch.text_gate is None else batch.text_gate,
    )
    tensors = [
        batch.speech,
        batch.speech_lengths,
        gates[0],
        batch.text,
        batch.text_lengths,
        gates[1],
        batch.token_word,
    ]
    for tier in TIERS:
        nothing = Segments(
            torch.zeros(B, 1, 2, dtype=torch.int64),
            torch.zeros(B, dtype=torch.int64),
            -torch.ones(B, 1, dtype=torch.int64),
        )
        segments = batch.segments.get(tier, nothing)
        tensors += [segments.spans, segments.lengths, segments.word]
    return tensors


class Graph(nn.Module):
    """The system between plain tensors."""

    def __init__(self, system: System, sides: Sequence[str]) -> None:
        super().__init__()
        self.system = system
        self.sides = tuple(sides)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        named = dict(zip(input_names(), inputs, strict=True))
        lengths = named["speech_lengths"], named["text_lengths"]
        batch = Batch(
            ids=("",) * int(named["speech"].shape[0]),
            speech=named["speech"],
            speech_lengths=lengths[0],
            text=named["text"],
            text_lengths=lengths[1],
            segments={
                tier: Segments(*(named[f"{tier}_{part}"] for part in ("spans", "lengths", "word")))
                for tier in TIERS
            },
            token_word=named["token_word"],
            labels=torch.zeros_like(lengths[0]),
            present=torch.stack([lengths[0] > 0, lengths[1] > 0], 1),
            speech_gate=named["speech_gate"],
            text_gate=named["text_gate"],
        )
        output = self.system(batch)
        made = {side: self.system.posteriors(logits) for side, logits in output.sides().items()}
        made |= target_asides(self.system, output)
        return tuple(made[name] for name in self.sides)


@contextmanager
def dense_pooling() -> Iterator[None]:
    """While exporting, segments are pooled by a mask over all frames: slower, but a graph can say it."""
    with patch.object(layers, "pool", _pool), patch.object(layers, "attend", _attend):
        yield


def _inside(frames: Tensor, spans: Tensor, lengths: Tensor) -> Tensor:
    """(B, S, T): whether a frame lies in a segment."""
    at = torch.arange(frames.shape[1])
    real = torch.arange(spans.shape[1]) < lengths[:, None]
    return (at >= spans[..., :1]) & (at < spans[..., 1:]) & real[..., None]


def _pool(frames: Tensor, spans: Tensor, lengths: Tensor, how: str = "mean") -> Tensor:
    inside = _inside(frames, spans, lengths)
    if how == "max":
        most = frames[:, None].masked_fill(~inside[..., None], -1e30).amax(2)
        return torch.where(inside.any(-1, keepdim=True), most, torch.zeros_like(most))
    weights = inside.to(frames.dtype)
    return (weights @ frames) / weights.sum(-1, keepdim=True).clamp(min=1.0)


def _attend(frames: Tensor, scores: Tensor, spans: Tensor, lengths: Tensor) -> Tensor:
    inside = _inside(frames, spans, lengths)
    hidden = scores[:, None].expand_as(inside).masked_fill(~inside, -1e30)
    return (hidden.softmax(-1) * inside) @ frames
