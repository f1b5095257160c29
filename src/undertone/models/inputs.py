"""The inputs of every system: from any form of speech and text to sequences of one width.

speech  frames (B, T, Ds) | layers (B, K, T, Ds)   → (B, T, width)
text    vectors (B, L, Dt) | token ids (B, L)      → (B, L, width)
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from undertone.models.batch import Batch
from undertone.models.example import Dimensions

__all__ = ["LayerSum", "SpeechInput", "TextEmbedding", "TextInput"]


class LayerSum(nn.Module):
    """A learned mixture of an encoder's layers: softmax weights, one a layer, even at first."""

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(layers))

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) from (B, K, T, D)."""
        return torch.einsum("k,bktd->btd", self.weight.softmax(0).to(x.dtype), x)


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
    ) -> None:
        """``convolutions``: residual layers over five frames each, for features that contain no context.
        ``project``: map features of that width too."""
        super().__init__()
        self.layers = LayerSum(dimensions.speech_layers) if dimensions.speech_layers else None
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

    def __init__(self, dimensions: Dimensions, width: int, dropout: float = 0.1) -> None:
        super().__init__()
        words = dimensions.vocabulary
        self.embedding = TextEmbedding(words, dimensions.text, dropout) if words else None
        self.project = nn.Linear(dimensions.text, width)

    def forward(self, batch: Batch) -> Tensor:
        mask, gate = batch.text_mask, batch.text_gate
        if self.embedding is not None:
            x = self.embedding(batch.text, mask, gate)
        else:
            x = batch.text if gate is None else batch.text * gate[..., None]
        projected: Tensor = self.project(x)
        return projected * mask[..., None]
