"""Multi-level fusion of wav2vec 2.0 and BERT: co-attention at several granularities, and late fusion.

After Zhao et al., arXiv 2207.04697 (Interspeech 2022). **F** is a fact of the paper, **R** reconstructed
(no code was published); every R is a field of ``MultilevelConfig``.

    speech at frame, phone, syllable, word level (F), segments by the mean of their frames (R)
        │                     text tokens
        └── co-attention, one network a level (F; sizes, codes, pooling R) ──► early members
    speech classifier · text classifier (F), posteriors combined (rule R) ──► the late model
    final: posteriors of the early members and of the late model, combined (F)
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal, Self, cast

import torch
from pydantic import Field, PositiveInt, model_validator
from torch import Tensor, nn

from undertone.models.attention import CoAttention, Codes, Positions
from undertone.models.batch import Batch, Segments
from undertone.models.branches import Pooled, Unimodal
from undertone.models.ensemble import Ensemble, MemberOutput, Rule
from undertone.models.example import Dimensions
from undertone.models.inputs import SpeechInput, TextInput
from undertone.models.layers import Head, Level, Pooling, PoolingKind, SegmentPool, SegmentPooling, tier_of
from undertone.models.system import Output, SystemConfig
from undertone.models.windows import Windows, check_windows, known_hop, near
from undertone.types import TIERS, Tier

__all__ = ["Multilevel", "MultilevelConfig"]

Member = Literal[
    "early-frame", "early-phone", "early-syllable", "early-word",
    "late-frame", "late-phone", "late-syllable", "late-word",
]  # fmt: skip


class MultilevelConfig(SystemConfig):
    """What the paper leaves open, and which members there are."""

    members: tuple[Member, ...] = ("early-frame", "early-word", "late-frame")
    """``early-LEVEL``: a co-attention model of speech at that level and text. ``late-LEVEL``: a speech
    classifier at that level; with any of these there is a text classifier too."""
    width: PositiveInt = 256
    """Width both sides are projected to (R)."""
    layers: PositiveInt = 2
    """Co-attention layers (R)."""
    heads: PositiveInt = 8
    """Attention heads (R)."""
    positions: Positions = "word"
    """``word``: the segments and tokens of one word share a code, which matches the speech of a word to its
    tokens (frames have no word: they are numbered). ``index``: each side is
    numbered. ``none`` (R)."""
    windows: Windows = ()
    """Seconds within which co-attention's heads read, as ``[0.5, 1, 2, inf]``, the heads in as many groups:
    speech reads the words so near, and words the speech. None: each head reads everything (R, ours)."""
    segment_pooling: SegmentPooling = "mean"
    """How a segment's frames are pooled into one vector (R)."""
    pooling: PoolingKind = "mean_std"
    """How a sequence is pooled into one vector (R)."""
    late: Rule = "mean"
    """How posteriors are combined (R): within the late model, and it with the early members."""
    shrink: float = Field(default=20.0, ge=0.0)
    """Of ``weighted`` and ``pool``: utterances' weight of the prior for even weights or powers of 1 (R)."""
    dropout: float = Field(default=0.1, ge=0.0, lt=1.0)
    """In attention layers, MLPs, and the learned layers of an input (R)."""

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        if not self.members or len(set(self.members)) != len(self.members):
            raise ValueError("members must name at least one part, and none twice")
        if self.width % self.heads:
            raise ValueError(f"heads = {self.heads} does not divide width = {self.width}")
        check_windows(self.windows, self.heads)
        return self


class Early(nn.Module):
    """Co-attention of speech at one level with the text's tokens."""

    def __init__(self, config: MultilevelConfig, dimensions: Dimensions, level: Level) -> None:
        super().__init__()
        width, dropout = config.width, config.dropout
        self.level, self.windows, self.heads = level, config.windows, config.heads
        self.hop = known_hop(config.windows, dimensions.hop)
        self.positions: Positions = config.positions
        if level == "frame" and config.positions == "word":
            self.positions = "index"
        self.speech = SpeechInput(dimensions, width, config.convolutions, dropout)
        self.text = TextInput(dimensions, width, dropout)
        self.segments = None if level == "frame" else SegmentPool(width, config.segment_pooling)
        self.codes = Codes(width, ordered=self.positions != "word")
        self.mix = nn.ModuleList(CoAttention(width, config.heads, dropout) for _ in range(config.layers))
        self.pools = nn.ModuleList([Pooling(width, config.pooling), Pooling(width, config.pooling)])
        pooled = sum(cast(Pooling, pool).width for pool in self.pools)
        self.head = Head(pooled, width, dimensions.classes, dropout)

    def forward(self, batch: Batch, attention: bool = False) -> MemberOutput:
        speech, speech_mask, words, tier = self._speech(batch)  # (B, S, D), S = T at frame level
        x = (speech, self.text(batch))
        masks = (speech_mask, batch.text_mask)
        codes = self.codes.pair(self.positions, (words, batch.token_word))
        reach = near(batch, tier, self.windows, self.heads, self.hop) if self.windows else None
        attended: dict[str, Tensor] = {}
        for layer in self.mix:
            if attention:
                weights = cast(CoAttention, layer).weights(x, masks, codes, reach)
                attended = {self.level: weights[0], "token": weights[1]}
            x = layer(x, masks, codes, reach)
        pooled = [pool(side, mask) for pool, side, mask in zip(self.pools, x, masks, strict=True)]
        vector = self.head.hidden(torch.cat(pooled, -1))
        return MemberOutput(self.head.last(vector), batch.present.any(1), vector, attended)

    def _speech(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor, Segments | None]:
        """Speech at this level, its mask, the word of each position, and the tier where it is one."""
        frames = self.speech(batch)
        if self.segments is None:
            return frames, batch.speech_mask, torch.full_like(batch.speech_mask, -1, dtype=torch.long), None
        tier = tier_of(batch, self.level)
        return self.segments(frames, tier), tier.mask, tier.word, tier


class Multilevel(Ensemble):
    """Multi-level fusion (2207.04697): co-attention at several granularities of speech, and late fusion."""

    cost = 8.0
    rank = 3

    def __init__(self, config: MultilevelConfig, dimensions: Dimensions) -> None:
        build: dict[str, Callable[[], nn.Module]] = {}
        for name in config.members:
            kind, _, level = name.partition("-")
            make = _early if kind == "early" else _late
            build[name] = partial(make, config, dimensions, cast(Level, level))
        late: list[str] = [name for name in config.members if name.startswith("late")]
        if late:
            build["late-text"] = partial(_text, config, dimensions)
            late.append("late-text")
        early = [[name] for name in config.members if name.startswith("early")]
        super().__init__(
            config, dimensions, build, [*early, *([late] if late else [])], config.late, config.shrink
        )
        self.settings = config

    @property
    def tiers(self) -> tuple[Tier, ...]:
        used = {name.partition("-")[2] for name in self.settings.members} | {self.settings.positions}
        used |= {"word"} if self.settings.windows else set()
        return tuple(tier for tier in TIERS if tier in used)

    def forward(self, batch: Batch, attention: bool = False) -> Output:
        output = super().forward(batch, attention)
        if "late-text" in output.members:
            output.text = output.members["late-text"]
            speech = [
                x.log_softmax(-1)
                for n, x in output.members.items()
                if n.startswith("late") and n != "late-text"
            ]
            output.speech = torch.stack(speech).logsumexp(0)
        return output


def _early(config: MultilevelConfig, dimensions: Dimensions, level: Level) -> nn.Module:
    return Early(config, dimensions, level)


def _late(config: MultilevelConfig, dimensions: Dimensions, level: Level) -> nn.Module:
    pooled = Pooled(
        "speech",
        dimensions,
        config.width,
        config.pooling,
        config.dropout,
        config.convolutions,
        level,
        config.segment_pooling,
    )
    return Unimodal(pooled, config.width, dimensions.classes, config.dropout)


def _text(config: MultilevelConfig, dimensions: Dimensions) -> nn.Module:
    pooled = Pooled("text", dimensions, config.width, config.pooling, config.dropout)
    return Unimodal(pooled, config.width, dimensions.classes, config.dropout)
