"""The text side of ``compact``: subword pieces, a convolution, a GRU, four looks and one maximum."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from undertone.models.batch import Batch, Dimensions
from undertone.models.inputs import TextEmbedding
from undertone.models.layers import BiGRU, masked_softmax

__all__ = ["LOOKS", "TextNet"]

LOOKS = 4
"""Weighted means over the tokens, each with its own weights."""


class TextNet(nn.Module):
    """Tokens to scores."""

    def __init__(self, dimensions: Dimensions, outputs: int, dropout: float) -> None:
        super().__init__()
        width = dimensions.text
        self.embedding = (
            TextEmbedding(dimensions.vocabulary, width, dropout) if dimensions.vocabulary else None
        )
        self.gru = BiGRU(width, width)
        self.look = nn.Linear(width, LOOKS, bias=False)
        self.dropout = nn.Dropout(min(0.9, dropout + 0.05))
        self.last = nn.Linear((LOOKS + 1) * width, outputs)

    def forward(self, batch: Batch) -> Tensor:
        """Scores (B, outputs); of a row without text, whatever they be."""
        return self.read(batch)[0]

    def read(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Scores, and how much each token was looked at (B, L)."""
        vector, looks = self.vector(batch)
        return self.last(self.dropout(vector)), looks

    def vector(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """What the scores are read off (B, 5 D), and how much each token was looked at (B, L)."""
        mask = batch.text_mask
        x = self._tokens(batch, mask)
        x = x + self.gru(x, batch.text_lengths)
        looks = masked_softmax(self.look(x).transpose(1, 2), mask[:, None].expand(-1, LOOKS, -1))  # (B, 4, L)
        means = (looks.to(x.dtype) @ x).flatten(1)
        peak = x.masked_fill(~mask[..., None], -1e4).amax(1)
        peak = torch.where(mask.any(1, keepdim=True), peak, 0.0)
        return torch.cat([means, peak], -1), looks.mean(1)

    def _tokens(self, batch: Batch, mask: Tensor) -> Tensor:
        """(B, L, D), zeros on padding."""
        gate = batch.text_gate
        if self.embedding is not None:
            x: Tensor = self.embedding(batch.text, mask, gate)
        else:
            x = batch.text if gate is None else batch.text * gate[..., None]
        return torch.where(mask[..., None], x, 0.0)
