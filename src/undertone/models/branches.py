"""One side alone, from a batch to logits: the branches of baselines and of late fusion."""

from __future__ import annotations

from torch import Tensor, nn

from undertone.models.batch import Batch
from undertone.models.ensemble import MemberOutput
from undertone.models.example import Dimensions
from undertone.models.inputs import Moments, Side, SpeechInput, TextInput
from undertone.models.layers import Head, Level, Pooling, PoolingKind, SegmentPool, SegmentPooling, tier_of

__all__ = ["Pooled", "Side", "Unimodal"]


class Pooled(nn.Module):
    """One side's sequence: projected, GELU, and pooled to (B, ``width``)."""

    def __init__(
        self,
        side: Side,
        dimensions: Dimensions,
        width: int,
        pooling: PoolingKind,
        dropout: float,
        convolutions: int = 0,
        level: Level = "frame",
        segment_pooling: SegmentPooling = "mean",
    ) -> None:
        """``level``: frames are first pooled into that tier's segments."""
        super().__init__()
        self.side, self.level = side, level
        self.input = (
            SpeechInput(dimensions, width, convolutions, dropout)
            if side == "speech"
            else TextInput(dimensions, width, dropout)
        )
        self.segments = SegmentPool(width, segment_pooling) if level != "frame" else None
        self.bend = nn.GELU()
        self.pool = Pooling(width, pooling)
        self.width = self.pool.width

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The pooled vectors, and each position's weight under the name of the level."""
        x = self.bend(self.input(batch))
        name, mask = ("token", batch.text_mask) if self.side == "text" else (self.level, batch.speech_mask)
        if self.segments is not None:
            tier = tier_of(batch, self.level)
            x, mask = self.segments(x, tier), tier.mask
        return self.pool(x, mask), {name: self.pool.weights(x, mask)}


class Unimodal(nn.Module):
    """One side pooled, and an MLP; where that side is missing, logits of 0."""

    def __init__(self, pooled: Pooled | Moments, width: int, classes: int, dropout: float) -> None:
        super().__init__()
        self.pooled = pooled
        self.head = Head(pooled.width, width, classes, dropout, norm=not isinstance(pooled, Moments))

    def forward(self, batch: Batch, attention: bool = False) -> MemberOutput:
        x, weights = self.pooled(batch)
        vector = self.head.hidden(x)
        present = batch.present[:, 0 if self.pooled.side == "speech" else 1]
        logits = self.head.last(vector) * present[:, None]
        return MemberOutput(logits, present, vector, weights if attention else {})
