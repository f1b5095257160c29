"""The inputs of every system: from any form of speech and text to sequences of one width.

speech  frames (B, T, Ds) | layers (B, K, T, Ds)   → (B, T, width)
text    vectors (B, L, Dt) | token ids (B, L)      → (B, L, width)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from undertone.models.batch import Batch
from undertone.models.example import Dimensions
from undertone.models.layers import Pooling, PoolingKind, masked_mean
from undertone.models.system import Observer

__all__ = ["LayerSum", "Side", "SpeechInput", "Moments", "TextEmbedding", "TextInput", "bag", "prompts"]

Side = Literal["speech", "text"]
Encode = Callable[[str], "NDArray[Any]"]


PROMPT = "emotion is {}"
"""What a class is called, to a system that takes prompts."""


def prompts(labels: Sequence[str], encode: Encode, dimensions: Dimensions) -> Tensor:
    """(C, P): the prompts of these classes; ``encode`` gives a text's ids or its vectors."""
    return torch.stack([bag(encode(PROMPT.format(label)), dimensions) for label in labels])


def bag(tokens: NDArray[Any], dimensions: Dimensions) -> Tensor:
    """(P,): a text as one vector: the share of each of its ids (L,), or the mean of its vectors (L, D)."""
    given = torch.from_numpy(np.asarray(tokens))
    if not dimensions.vocabulary:
        return given.float().mean(0) if len(given) else torch.zeros(dimensions.text)
    counts = torch.bincount(given.long(), minlength=dimensions.vocabulary).float()
    return counts / counts.sum().clamp(min=1.0)


class LayerSum(nn.Module):
    """A learned mixture of an encoder's layers: softmax weights, one a layer, even at first."""

    def __init__(self, layers: int, free: bool = False) -> None:
        """``free``: the weights are numbers of any size, without a softmax."""
        super().__init__()
        self.free = free
        self.weight = nn.Parameter(torch.full((layers,), 1.0 / layers) if free else torch.zeros(layers))

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) from (B, K, T, D)."""
        weights = self.weight if self.free else self.weight.softmax(0)
        return torch.einsum("k,bktd->btd", weights.to(x.dtype), x)


class _Neighbours(nn.Module):
    """A residual convolution over a sequence; padding is 0."""

    def __init__(self, width: int, reach: int, dropout: float, norm: bool = True) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width) if norm else nn.Identity()
        self.convolution = nn.Conv1d(width, width, 2 * reach + 1, padding=reach)
        self.rest = nn.Sequential(nn.GELU(), nn.Dropout(dropout))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        context = self.convolution((self.norm(x) * mask[..., None]).transpose(1, 2)).transpose(1, 2)
        x = x + self.rest(context)
        return x


class SpeechInput(nn.Module):
    """Speech of a batch as (B, T, width), zeros on padding."""

    def __init__(
        self,
        dimensions: Dimensions,
        width: int,
        convolutions: int = 0,
        dropout: float = 0.0,
        project: bool = True,
        free_layers: bool = False,
    ) -> None:
        """``convolutions``: residual layers over five frames each, for features that contain no context.
        ``project``: map features of that width too. ``free_layers``: their weights without a softmax."""
        super().__init__()
        layers = dimensions.speech_layers
        self.layers = LayerSum(layers, free_layers) if layers else None
        mapped = project or dimensions.speech != width
        self.project = nn.Linear(dimensions.speech, width) if mapped else nn.Identity()
        self.convolutions = nn.ModuleList(_Neighbours(width, 2, dropout) for _ in range(convolutions))

    def forward(self, batch: Batch) -> Tensor:
        mask = batch.speech_mask
        frames = batch.speech if self.layers is None else self.layers(batch.speech)
        if batch.speech_gate is not None:
            frames = frames * batch.speech_gate[..., None]
        x: Tensor = self.project(frames)
        for layer in self.convolutions:
            x = layer(x, mask)
        return x * mask[..., None]


class TextEmbedding(nn.Module):
    """The small text encoder in the graph: token ids (B, L) to vectors (B, L, D)."""

    def __init__(self, vocabulary: int, width: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        # weights are stored √width times smaller than used, so that an optimizer's step changes an embedding
        # as much as the layers after it. A token missing in training keeps its small vector (0.1), where
        # values of 1 would be noise; for the same reason there is no norm
        self.scale = width**0.5
        nn.init.normal_(self.embedding.weight, std=0.1 / self.scale)
        self.dropout = nn.Dropout(dropout)
        self.neighbours = _Neighbours(width, 1, dropout, norm=False)

    def forward(self, ids: Tensor, mask: Tensor, gate: Tensor | None = None) -> Tensor:
        x: Tensor = self.dropout(self.embedding(ids) * self.scale)
        if gate is not None:
            x = x * gate[..., None]
        x = self.neighbours(x, mask)
        return x


class TextInput(nn.Module):
    """Text of a batch as (B, L, width), zeros on padding."""

    def __init__(
        self, dimensions: Dimensions, width: int, dropout: float = 0.1, project: bool = True
    ) -> None:
        """``project``: map vectors of that width too."""
        super().__init__()
        words = dimensions.vocabulary
        self.embedding = TextEmbedding(words, dimensions.text, dropout) if words else None
        mapped = project or dimensions.text != width
        self.project = nn.Linear(dimensions.text, width) if mapped else nn.Identity()

    def forward(self, batch: Batch) -> Tensor:
        mask, gate = batch.text_mask, batch.text_gate
        if self.embedding is not None:
            x = self.embedding(batch.text, mask, gate)
        else:
            x = batch.text if gate is None else batch.text * gate[..., None]
        projected: Tensor = self.project(x)
        return projected * mask[..., None]


class Moments(Observer):
    """A side's features pooled as they are, to (B, ``width``), and standardised by the training part.

    speech  mean over frames, of each layer, and with ``deviation`` the deviation too
    text    mean of the vectors; of token ids, the share of each
    """

    mean: Tensor
    std: Tensor
    """(width,) over what was observed; 0 and 1 until then."""

    def __init__(self, side: Side, dimensions: Dimensions, deviation: bool = True) -> None:
        super().__init__()
        self.side, self.vocabulary = side, dimensions.vocabulary
        kind: PoolingKind = "mean_std" if deviation else "mean"
        self.pool = Pooling(dimensions.speech * max(1, dimensions.speech_layers), kind)
        self.width = self.pool.width if side == "speech" else dimensions.vocabulary or dimensions.text
        self.register_buffer("mean", torch.zeros(self.width))
        self.register_buffer("std", torch.ones(self.width))
        self._sums = (0, torch.zeros(()), torch.zeros(()))

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The standardised vectors, 0 where the side is missing, and each position's equal weight."""
        name, mask = ("frame", batch.speech_mask) if self.side == "speech" else ("token", batch.text_mask)
        vectors = (self.pooled(batch) - self.mean) / self.std
        return vectors * mask.any(1, keepdim=True), {name: mask / mask.sum(1, keepdim=True).clamp(min=1)}

    def pooled(self, batch: Batch) -> Tensor:
        """(B, width), not standardised."""
        return self._speech(batch) if self.side == "speech" else self._text(batch)

    def observe(self, batch: Batch) -> None:
        """Standardise by this batch of the training part and those before it."""
        mask = batch.speech_mask if self.side == "speech" else batch.text_mask
        rows = self.pooled(batch)[mask.any(1)].double()
        count, total, square = self._sums
        count, total, square = count + len(rows), total + rows.sum(0), square + rows.square().sum(0)
        self._sums = (count, total, square)
        mean = total / max(count, 1)
        deviation = (square / max(count, 1) - mean.square()).clamp(min=0).sqrt()
        self.mean.copy_(mean)
        self.std.copy_(torch.where(deviation < 1e-4, 1.0, deviation))

    def _speech(self, batch: Batch) -> Tensor:
        frames = batch.speech if batch.speech.ndim == 3 else batch.speech.transpose(1, 2).flatten(2)
        if batch.speech_gate is not None:
            frames = frames * batch.speech_gate[..., None]
        mask, rows = batch.speech_mask, 1 if torch.is_grad_enabled() else len(frames)
        parts = zip(frames.chunk(rows), mask.chunk(rows), strict=True)  # a row at a time takes little memory
        return torch.cat([self.pool(x * real[..., None], real) for x, real in parts])

    def _text(self, batch: Batch) -> Tensor:
        mask, gate = batch.text_mask, batch.text_gate
        if not self.vocabulary:
            return masked_mean(batch.text if gate is None else batch.text * gate[..., None], mask)
        kept = mask.float() if gate is None else mask * gate
        counts = kept.new_zeros(len(batch.text), self.vocabulary)
        counts = counts.scatter_add(1, batch.text * mask, kept)
        return counts / mask.sum(1, keepdim=True).clamp(min=1)
