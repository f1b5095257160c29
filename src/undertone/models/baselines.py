"""What a reader compares with: speech alone, text alone, both concatenated, and their scores combined."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from undertone.models.batch import Batch, Dimensions
from undertone.models.ensemble import Answer, Ensemble, Rule
from undertone.models.inputs import SpeechInput, TextInput
from undertone.models.layers import Head, Pooling, PoolingKind
from undertone.models.system import Output, System, SystemConfig, scored

__all__ = ["Baseline", "Concat", "Score", "ScoreConfig", "Speech", "Text", "Unimodal"]


class Baseline(SystemConfig):
    """Sizes of the baselines."""

    width: PositiveInt = 256
    """Width of the projected sequences and of the MLP."""
    pooling: PoolingKind = "mean_std"
    """How a sequence becomes one vector."""
    dropout: float = Field(default=0.3, ge=0.0, lt=1.0)
    """In the MLP."""


class ScoreConfig(Baseline):
    """Sizes of ``score``, and how the two posteriors are combined."""

    late: Rule = "product"
    """The rule; ``mean`` is always reported beside."""
    shrink: float = Field(default=20.0, ge=0.0)
    """For ``weighted``: utterances' worth of pull towards even weights."""


class Pooled(nn.Module):
    """One side's sequence: projected, bent, pooled: (B, ``width``)."""

    def __init__(self, config: Baseline, dimensions: Dimensions, side: Literal["speech", "text"]) -> None:
        super().__init__()
        self.side = side
        self.input = (
            SpeechInput(dimensions, config.width, config.convolutions, config.dropout)
            if side == "speech"
            else TextInput(dimensions, config.width, config.dropout)
        )
        self.pool = Pooling(config.width, config.pooling)
        self.width = self.pool.width

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        mask = batch.speech_mask if self.side == "speech" else batch.text_mask
        x = nn.functional.gelu(self.input(batch))
        place = "frame" if self.side == "speech" else "token"
        return self.pool(x, mask), {place: self.pool.weights(x, mask)}


class Unimodal(nn.Module):
    """One side pooled, and an MLP: a member of ``score``, and the whole of ``speech`` and ``text``."""

    def __init__(self, config: Baseline, dimensions: Dimensions, side: Literal["speech", "text"]) -> None:
        super().__init__()
        self.pooled = Pooled(config, dimensions, side)
        self.head = Head(self.pooled.width, config.width, dimensions.classes, config.dropout)

    def forward(self, batch: Batch, attention: bool = False) -> Answer:
        pooled, weights = self.pooled(batch)
        vector = self.head.hidden(pooled)
        here = batch.present[:, 0 if self.pooled.side == "speech" else 1]
        logits = self.head.last(vector) * here[:, None]  # of nothing, nothing is said
        return Answer(logits, here, vector, weights if attention else {})


class _One(System):
    side: Literal["speech", "text"]

    def __init__(self, config: Baseline, dimensions: Dimensions) -> None:
        super().__init__(config, dimensions)
        self.branch = Unimodal(config, dimensions, self.side)

    def forward(self, batch: Batch, attention: bool = False) -> Output:
        answer = self.branch(batch, attention)
        logits = {self.side: answer.logits}
        return Output(answer.logits, **logits, vectors={"fused": answer.vector}, attention=answer.attention)

    def terms(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        here = batch.present[:, 0 if self.side == "speech" else 1]
        return {"fused": self.criterion(output.logits, scored(batch.labels, here))}


class Speech(_One):
    """Speech alone: frames pooled, and an MLP."""

    side = "speech"


class Text(_One):
    """Text alone: token vectors pooled, and an MLP."""

    side = "text"


class Concat(System):
    """Both sides pooled and concatenated, and an MLP."""

    def __init__(self, config: Baseline, dimensions: Dimensions) -> None:
        super().__init__(config, dimensions)
        self.speech = Pooled(config, dimensions, "speech")
        self.text = Pooled(config, dimensions, "text")
        width = self.speech.width + self.text.width
        self.head = Head(width, config.width, dimensions.classes, config.dropout)

    def forward(self, batch: Batch, attention: bool = False) -> Output:
        speech, frames = self.speech(batch)
        text, tokens = self.text(batch)
        vector = self.head.hidden(torch.cat([speech, text], -1))
        return Output(
            self.head.last(vector),
            vectors={"fused": vector},
            attention={**frames, **tokens} if attention else {},
        )


class Score(Ensemble):
    """The speech and the text baseline, trained apart, their posteriors combined."""

    def __init__(self, config: ScoreConfig, dimensions: Dimensions) -> None:
        sides: tuple[Literal["speech", "text"], ...] = ("speech", "text")
        build: dict[str, Callable[[], nn.Module]] = {
            side: partial(Unimodal, config, dimensions, side) for side in sides
        }
        super().__init__(config, dimensions, build, [list(sides)], config.late, config.shrink)

    def forward(self, batch: Batch, attention: bool = False) -> Output:
        output = super().forward(batch, attention)
        output.speech, output.text = output.members["speech"], output.members["text"]
        return output
