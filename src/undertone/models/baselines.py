"""Baselines: speech alone, text alone, both concatenated, and their posteriors combined."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from undertone.models.batch import Batch
from undertone.models.branches import Pooled, Side, Unimodal
from undertone.models.ensemble import Ensemble, Rule
from undertone.models.example import Dimensions
from undertone.models.inputs import Moments
from undertone.models.layers import Head, PoolingKind
from undertone.models.system import Output, System, SystemConfig, scored

__all__ = ["BaselineConfig", "Concat", "Score", "ScoreConfig", "SpeechOnly", "TextOnly"]


class BaselineConfig(SystemConfig):
    """Sizes of the baselines."""

    width: PositiveInt = 256
    """Width of the projected sequences and of the MLP."""
    pooling: PoolingKind | Literal["statistics", "average"] = "statistics"
    """How a sequence is pooled into one vector. ``statistics``: mean and deviation of the features as they
    are, which is best for those of pretrained encoders; ``average``: their mean alone, which carries over
    best from one of their hidden states; all others pool what a first layer makes of each position, which
    ``acoustic`` features need."""
    dropout: float = Field(default=0.3, ge=0.0, lt=1.0)
    """In the MLP and in the learned layers of an input."""
    text_pooling: PoolingKind | None = None
    """How text is pooled, where not as speech: ``attention`` is best for a pretrained encoder's tokens, of
    which a few carry the emotion."""

    @property
    def by_statistics(self) -> bool:
        return self.pooling in ("statistics", "average")


class ScoreConfig(BaselineConfig):
    """Sizes of ``score``, and how the two posteriors are combined."""

    late: Rule = "product"
    """The rule by which posteriors are combined."""
    shrink: float = Field(default=20.0, ge=0.0)
    """Of ``weighted`` and ``pool``: utterances' weight of the prior for even weights or powers of 1."""


def _pooled(config: BaselineConfig, dimensions: Dimensions, side: Side) -> Pooled | Moments:
    if side == "text" and config.text_pooling:
        return Pooled(side, dimensions, config.width, config.text_pooling, config.dropout)
    if config.pooling == "statistics" or config.pooling == "average":
        if side == "speech" or not dimensions.vocabulary:
            return Moments(side, dimensions, deviation=config.pooling == "statistics")
        return Pooled(side, dimensions, config.width, "mean_std", config.dropout)  # pieces are learned here
    return Pooled(side, dimensions, config.width, config.pooling, config.dropout, config.convolutions)


def _unimodal(config: BaselineConfig, dimensions: Dimensions, side: Side) -> Unimodal:
    return Unimodal(_pooled(config, dimensions, side), config.width, dimensions.classes, config.dropout)


class _One(System):
    cost = 1.0

    def __init__(self, config: BaselineConfig, dimensions: Dimensions) -> None:
        super().__init__(config, dimensions)
        self.branch = _unimodal(config, dimensions, self.sides[0])

    def forward(self, batch: Batch, attention: bool = False) -> Output:
        branch = self.branch(batch, attention)
        output = Output(branch.logits, vectors={"fused": branch.vector}, attention=branch.attention)
        setattr(output, self.sides[0], branch.logits)
        return output

    def terms(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        present = batch.present[:, 0 if self.sides == ("speech",) else 1]
        return {"fused": self.criterion(output.logits, scored(batch.labels, present))}


class SpeechOnly(_One):
    """Speech alone: frames pooled, and an MLP."""

    sides = ("speech",)


class TextOnly(_One):
    """Text alone: token vectors pooled, and an MLP."""

    sides = ("text",)


class Concat(System):
    """Both sides pooled, each normalised so that neither dominates, concatenated, and an MLP."""

    cost = 2.0

    def __init__(self, config: BaselineConfig, dimensions: Dimensions) -> None:
        super().__init__(config, dimensions)
        self.speech = _pooled(config, dimensions, "speech")
        self.text = _pooled(config, dimensions, "text")
        self.speech_norm = nn.LayerNorm(self.speech.width)
        self.text_norm = nn.LayerNorm(self.text.width)
        width = self.speech.width + self.text.width
        self.head = Head(width, config.width, dimensions.classes, config.dropout, norm=False)

    def forward(self, batch: Batch, attention: bool = False) -> Output:
        speech, frames = self.speech(batch)
        text, tokens = self.text(batch)
        vector = self.head.hidden(torch.cat([self.speech_norm(speech), self.text_norm(text)], -1))
        weights = {**frames, **tokens} if attention else {}
        return Output(self.head.last(vector), vectors={"fused": vector}, attention=weights)


class Score(Ensemble):
    """The speech and the text baseline, trained independently, their posteriors combined."""

    cost = 2.0

    def __init__(self, config: ScoreConfig, dimensions: Dimensions) -> None:
        build: dict[str, Callable[[], nn.Module]] = {
            side: partial(_unimodal, config, dimensions, side) for side in self.sides
        }
        super().__init__(config, dimensions, build, [list(self.sides)], config.late, config.shrink)

    def forward(self, batch: Batch, attention: bool = False) -> Output:
        output = super().forward(batch, attention)
        output.speech, output.text = output.members["speech"], output.members["text"]
        return output
