"""The text side of ``compact``: subword pieces, a convolution, a GRU, four looks and one maximum."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from undertone.models.batch import Batch
from undertone.models.example import Dimensions
from undertone.models.layers import masked_softmax
from undertone.models.recurrence import BiGRU

__all__ = ["LOOKS", "TextNet"]

LOOKS = 4
"""Weighted means over the tokens, each with its own weights."""


class TextNet(nn.Module):
    """Tokens to scores."""

    def __init__(self, dimensions: Dimensions, outputs: int, dropout: float) -> None:
        super().__init__()
        width = dimensions.text
        self.pieces = nn.Embedding(dimensions.vocabulary, width) if dimensions.vocabulary else None
        # read louder than kept, so that a step moves a piece as far as it moves what the piece meets;
        # what is never met in training stays quiet
        self.loudness = width**0.5
        if self.pieces is not None:
            nn.init.normal_(self.pieces.weight, std=0.1 / self.loudness)
        self.quiet = nn.Dropout(dropout)
        self.neighbours = nn.Conv1d(width, width, 3, padding=1)
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
        x = batch.text
        if self.pieces is not None:
            x = self.quiet(self.pieces(x) * self.loudness)
        if batch.text_gate is not None:
            x = x * batch.text_gate[..., None]
        x = torch.where(mask[..., None], x, 0.0)
        heard = self.neighbours(x.transpose(1, 2)).transpose(1, 2)
        sequence: Tensor = (x + self.quiet(F.gelu(heard))) * mask[..., None]
        return sequence
