"""Frames and tokens in one sequence, pooled by one attention vector, and an MLP.

After arXiv 2407.12467 (BSC-UPC at EmoSPeech 2024). **F** is a fact of paper or code, **R** reconstructed.

    S = norm(Σ w_l h_l)            layers of the speech encoder, w free numbers, even at first (F)
    U = norm(last hidden state)    of the text encoder (F)
    each mapped to ``width`` where it is not of that width (R: theirs are)
    X = [S ; U] along time (F)
      └─ self-attention without biases, residual or norm (F, off: it did not help there)
    a = softmax(x_tᵀu / √E), c = Σ a_t x_t (F; their code has no √E), padding masked (R: theirs pools it)
    C logits = MLP(c): dropout, 1 + n times (linear, norm, GELU, dropout), linear (F)
"""

from __future__ import annotations

from typing import Self

import torch
from pydantic import Field, PositiveInt, model_validator
from torch import Tensor, nn

from undertone.models.attention import Attention
from undertone.models.batch import Batch
from undertone.models.example import Dimensions
from undertone.models.inputs import SpeechInput, TextInput
from undertone.models.layers import masked_softmax
from undertone.models.system import Output, System, SystemConfig

__all__ = ["AttentionPooled", "PooledConfig"]


class PooledConfig(SystemConfig):
    """Sizes, and what their code does otherwise than their paper."""

    width: PositiveInt = 512
    """E, width of both sides in one sequence (R: 1024 there, that of both encoders)."""
    hidden: PositiveInt = 512
    """Width of the MLP's layers."""
    depth: int = Field(default=2, ge=0)
    """n: layers of the MLP beside its first."""
    scaled: bool = True
    """Divide scores by √E, as the paper has it; their code does not."""
    attention: int = Field(default=0, ge=0)
    """Heads of the self-attention before pooling; 0: none."""
    free_layers: bool = True
    """Weights of the speech encoder's layers are free numbers, as theirs; else their softmax."""
    dropout: float = Field(default=0.1, ge=0.0, lt=1.0)
    """In the MLP, and in the learned layers of an input."""

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        if self.attention and self.width % self.attention:
            raise ValueError(f"attention = {self.attention} does not divide width = {self.width}")
        return self


class OneVector(nn.Module):
    """Attention pooling by one learned vector: a sequence (B, S, E) to (B, E)."""

    def __init__(self, width: int, scaled: bool) -> None:
        super().__init__()
        self.vector = nn.Parameter(nn.init.xavier_uniform_(torch.empty(width, 1)).squeeze(1))
        self.scale = width**-0.5 if scaled else 1.0

    def scores(self, x: Tensor) -> Tensor:
        """(B, S) before the softmax."""
        return x @ self.vector * self.scale

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        weights = masked_softmax(self.scores(x), mask)
        return (weights[..., None].to(x.dtype) * x).sum(1)


class AttentionPooled(System):
    """Attention pooling (2407.12467): frames and tokens in one sequence, pooled by one vector."""

    cost = 2.0
    demonstrated = False

    def __init__(self, config: PooledConfig, dimensions: Dimensions) -> None:
        super().__init__(config, dimensions)
        self.settings = config
        width, dropout = config.width, config.dropout
        self.speech_input = SpeechInput(
            dimensions, width, config.convolutions, dropout, project=False, free_layers=config.free_layers
        )
        self.text_input = TextInput(dimensions, width, dropout, project=False)
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        heads = config.attention
        self.within = Attention(width, heads, bias=False) if heads else None
        self.pool = OneVector(width, config.scaled)
        self.hidden = nn.Sequential(
            nn.Dropout(dropout), *_layers(width, config.hidden, config.depth, dropout)
        )
        self.last = nn.Linear(config.hidden, dimensions.classes)

    def forward(self, batch: Batch, attention: bool = False) -> Output:
        masks = batch.speech_mask, batch.text_mask
        sides = self.speech_input(batch), self.text_input(batch)  # (B, T, E), (B, L, E)
        normed = [
            norm(side) * mask[..., None] for norm, side, mask in zip(self.norms, sides, masks, strict=True)
        ]
        x, mask = torch.cat(normed, 1), torch.cat(masks, 1)  # (B, T + L, E)
        if self.within is not None:
            x = self.within(x, x, mask) * mask[..., None]
        vector = self.hidden(self.pool(x, mask))
        weights = self._weights(x, masks) if attention else {}
        return Output(self.last(vector), vectors={"fused": vector}, attention=weights)

    def _weights(self, x: Tensor, masks: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        """Each side's share of the pooling, scaled to sum to 1."""
        scores = torch.split(self.pool.scores(x), [mask.shape[1] for mask in masks], 1)
        return {
            name: masked_softmax(score, mask)
            for name, score, mask in zip(("frame", "token"), scores, masks, strict=True)
        }


def _layers(inputs: int, width: int, more: int, dropout: float) -> list[nn.Module]:
    made: list[nn.Module] = []
    for size in (inputs, *[width] * more):
        made += [nn.Linear(size, width), nn.LayerNorm(width), nn.GELU(), nn.Dropout(dropout)]
    return made
