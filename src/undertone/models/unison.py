"""Ours: the ideas of the three published systems in one network.

    frames ── with their difference from the utterance's mean ──► x
      ├─ pooled by word, syllable, phone, each with its duration ──► segments
      │     tokens y are joined with the speech s of their word: y + MLP[y, s, y·s];
      │     and pooled by weights that this speech gives them (emphasis)
      ├─ co-attention of segments and tokens, one code a word ──► max pooling
      ├─ joint logits from segments, tokens, emphasis and frames
      ├─ delivery, for speech alone: pace, pauses, and the course of the voice
      └─ logits of speech alone and of text alone; the three are added: z = z_joint + z_speech + z_text
    L = CE(z) + δ [CE(z_speech) + CE(z_text)] + λ_d distribution + λ_i instance (+ CE(z of a second view))

A missing side contributes zeros everywhere, so the other decides; modality dropout trains for that.
"""

from __future__ import annotations

from typing import Literal, Self, cast

import torch
from pydantic import Field, PositiveFloat, PositiveInt, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from undertone.models.attention import CoAttention, Codes
from undertone.models.batch import Batch, Segments
from undertone.models.contrast import contrast, negatives, products, wasserstein
from undertone.models.delivery import Delivery
from undertone.models.example import Dimensions
from undertone.models.inputs import Moments, SpeechInput, TextInput
from undertone.models.layers import Head, Pooling, SegmentPool, masked_mean, masked_softmax, tier_of
from undertone.models.system import Output, System, SystemConfig, scored
from undertone.models.views import ViewKind, second_view
from undertone.models.windows import Windows, check_windows, known_hop, near
from undertone.types import TIERS, Tier

__all__ = ["Unison", "UnisonConfig"]


STATISTICS_DROPOUT = 0.4
"""In the heads over pooled statistics, which are wide; as in recipes/transfer/speech.toml."""


class UnisonConfig(SystemConfig):
    """Sizes, and the switches of its ablation."""

    tiers: tuple[Tier, ...] = ("word", "syllable", "phone")
    """The tiers whose segments speech is pooled into."""
    meeting: bool = True
    """Join tokens with the speech of their own word before co-attention."""
    relative: bool = True
    """Add a map of the frames' difference from their mean over the utterance."""
    durations: bool = True
    """Add a map of each segment's duration, relative to the utterance's others."""
    delivery: bool = True
    """For speech alone, use pace and pauses, and the mean, deviation and slope of the voice."""
    statistics: bool = False
    """For each side alone, use the mean and deviation of its features as they are, as ``speech`` and ``text``
    do: for frames of pretrained encoders, which know their neighbours."""
    positions: Literal["word", "none"] = "word"
    """``word``: the segments and tokens of one word share a code."""
    windows: Windows = ()
    """Seconds within which co-attention's heads read, as of ``multilevel``."""
    views: tuple[ViewKind, ...] = ()
    """What a second view of each training batch changes, as of ``mmer``: its cross-entropy counts as much as
    that of the first. Empty: there is none, and a step takes half the time."""
    layers: int = Field(default=1, ge=0)
    """Co-attention layers."""
    width: PositiveInt = 256
    """Width of both sides."""
    heads: PositiveInt = 8
    """Attention heads."""
    delta: float = Field(default=0.3, ge=0.0)
    """δ, weight of each side's own cross-entropy."""
    distribution: float = Field(default=0.05, ge=0.0)
    """λ_d, weight of aligning the sides' distributions."""
    instance: float = Field(default=0.05, ge=0.0)
    """λ_i, weight of aligning matched instances."""
    temperature: PositiveFloat = 0.07
    """Of the contrastive losses."""
    dropout: float = Field(default=0.1, ge=0.0, lt=1.0)
    """In attention layers, MLPs, and the learned layers of an input."""
    modality_dropout: float = Field(default=0.1, ge=0.0, lt=1.0)
    """Share of training utterances that lose one modality (which one: even odds), taken by the loop."""

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        if not self.tiers or len(set(self.tiers)) != len(self.tiers):
            raise ValueError("tiers must name at least one tier, and none twice")
        if self.meeting and self.tiers[0] != "word":
            raise ValueError(
                "meeting needs tiers to begin with 'word': it joins tokens with their word's speech"
            )
        if self.width % self.heads:
            raise ValueError(f"heads = {self.heads} does not divide width = {self.width}")
        check_windows(self.windows, self.heads)
        return self


class Granular(nn.Module):
    """Frames pooled into segments of several tiers, one after the other in one sequence."""

    def __init__(self, config: UnisonConfig) -> None:
        super().__init__()
        self.tiers = config.tiers
        self.pool = SegmentPool(config.width)
        self.kind = nn.Parameter(torch.randn(len(config.tiers), config.width) * 0.1)
        self.lasting = nn.Linear(1, config.width, bias=False) if config.durations else None

    def forward(self, frames: Tensor, batch: Batch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Segments (B, S, D), their mask and words (B, S), and the first tier's segments alone."""
        segments, masks, words = [], [], []
        for i, name in enumerate(self.tiers):
            tier = tier_of(batch, name)
            pooled = self.pool(frames, tier) + self.kind[i]
            if self.lasting is not None:
                pooled = pooled + self.lasting(_durations(tier).to(pooled.dtype)[..., None])
            segments.append(pooled * tier.mask[..., None])
            masks.append(tier.mask)
            words.append(tier.word)
        return torch.cat(segments, 1), torch.cat(masks, 1), torch.cat(words, 1), segments[0]


def _durations(tier: Segments) -> Tensor:
    """(B, S): the logarithm of each segment's frames, less its mean over the utterance."""
    length = (tier.spans[..., 1] - tier.spans[..., 0]).clamp(min=1).float().log()
    return (length - masked_mean(length[..., None], tier.mask)) * tier.mask


class Meeting(nn.Module):
    """Each token joined with the speech of its word, y + MLP[y, s, y·s]; s is 0 for a token of no word.

    And the emphasised: the tokens pooled by weights that depend on the speech of their words alone.
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.emphasis = nn.Linear(width, heads, bias=False)
        self.norm = nn.LayerNorm(width)  # not of tokens: rare ones keep their small vectors
        self.join = nn.Sequential(
            nn.Linear(3 * width, width), nn.GELU(), nn.Dropout(dropout), nn.Linear(width, width)
        )

    def forward(
        self, tokens: Tensor, speech: Tensor, spoken: Tensor, words: Tensor, mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Tokens (B, L, D) and the emphasised (B, D), from tokens (B, L, D), the speech (B, S, D) of ``spoken
        (B,)`` words, and the tokens' ``words (B, L)``."""
        known = (words >= 0) & mask & (words < spoken[:, None])
        index = torch.where(known, words, 0)[..., None].expand(-1, -1, speech.shape[-1])
        s = self.norm(speech).gather(1, index) * known[..., None]
        y: Tensor = tokens + self.join(torch.cat([tokens, s, tokens * s], -1))
        B, L, D = tokens.shape
        weights = masked_softmax(self.emphasis(s).transpose(1, 2), known[:, None])  # (B, H, L)
        values = tokens.reshape(B, L, weights.shape[1], -1).transpose(1, 2)  # (B, H, L, D / H)
        emphasised = (weights[..., None].to(values.dtype) * values).sum(2).reshape(B, D)
        return y * mask[..., None], emphasised


class Gaussian(nn.Module):
    """A pooled vector (B, D) as a diagonal Gaussian of half the width: mean and log deviation."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.both = nn.Sequential(nn.LayerNorm(inputs), nn.Linear(inputs, width))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_std = self.both(x).float().chunk(2, -1)
        return mean, log_std.clamp(-6.0, 4.0)


class Unison(System):
    """Ours: segments joined with their words, co-attention, three perspectives, auxiliary alignments."""

    cost = 7.0
    rank = 4
    generator: torch.Generator | None = None
    """Draws the second view; None: the common stream."""

    def __init__(self, config: UnisonConfig, dimensions: Dimensions) -> None:
        super().__init__(config, dimensions)
        self.settings = config
        C, width, dropout = dimensions.classes, config.width, config.dropout
        self.hop = known_hop(config.windows, dimensions.hop)
        self.speech_input = SpeechInput(dimensions, width, config.convolutions, dropout)
        self.text_input = TextInput(dimensions, width, dropout)
        self.relative = nn.Linear(width, width, bias=False) if config.relative else None
        self.granular = Granular(config)
        self.meeting = Meeting(width, config.heads, dropout) if config.meeting else None
        self.codes = Codes(width, ordered=False)
        self.mix = nn.ModuleList(CoAttention(width, config.heads, dropout) for _ in range(config.layers))
        self.frames = Pooling(width, "mean_std")
        sides = self._sides(dimensions)
        # a single word in a contrary tone can decide: hence the maximum, not the mean
        self.joint = nn.ModuleList([Pooling(width, "max"), Pooling(width, "max")])
        alone = STATISTICS_DROPOUT if config.statistics else dropout
        self.speech_head = Head(sides[0], width, C, alone, norm=not config.statistics)
        self.text_head = Head(sides[1], width, C, alone, norm=not config.statistics)
        self.joint_head = Head(5 * width, width, C, dropout)
        if config.distribution:
            self.gaussians = nn.ModuleList(Gaussian(n, width) for n in sides)
        if config.instance:
            self.instances = nn.ModuleList(nn.Linear(n, width // 2) for n in sides)
        named = {"speech": config.delta, "text": config.delta}
        named |= {"distribution": config.distribution, "instance": config.instance}
        named["second"] = 1.0 if config.views else 0.0
        self.weights = {"fused": 1.0} | {k: w for k, w in named.items() if w}
        self.reductions = {k: "gathered" for k in ("distribution", "instance") if k in self.weights}

    def _sides(self, dimensions: Dimensions) -> tuple[int, int]:
        """Build what each side alone is pooled by, and give the widths of their vectors."""
        config, width = self.settings, self.settings.width
        self.delivery = None
        if config.statistics:
            pools = [Moments("speech", dimensions), Moments("text", dimensions)]
            self.plain: nn.ModuleList | None = nn.ModuleList(pools)
            return pools[0].width, pools[1].width
        self.plain = None
        self.alone = nn.ModuleList([Pooling(width, "attention"), Pooling(width, "mean_std")])
        self.delivery = Delivery(width, config.tiers) if config.delivery else None
        return (7 if config.delivery else 3) * width, 2 * width

    @property
    def tiers(self) -> tuple[Tier, ...]:
        used = {*self.settings.tiers, self.settings.positions, *(["word"] if self.settings.windows else [])}
        return tuple(tier for tier in TIERS if tier in used)

    def forward(self, batch: Batch, attention: bool = False) -> Output:
        x, y = self._frames(batch), self.text_input(batch)  # (B, T, D), (B, L, D)
        segments, mask, words, spoken = self.granular(x, batch)  # (B, S, D), S of all tiers
        masks = mask, batch.text_mask
        frames = self.frames(x, batch.speech_mask)
        if self.plain is not None:
            (speech, _), (text, _) = (pool(batch) for pool in self.plain)
        else:
            delivery = [self.delivery(x, batch)] if self.delivery is not None else []
            speech = torch.cat([frames, self.alone[0](segments, mask), *delivery], -1)
            text = self.alone[1](y, masks[1])
        emphasised = y.new_zeros(y.shape[0], y.shape[-1])
        if self.meeting is not None:
            y, emphasised = self.meeting(
                y, spoken, tier_of(batch, "word").lengths, batch.token_word, masks[1]
            )
        both = segments, y
        codes = self.codes.pair(self.settings.positions, (words, batch.token_word))
        reach = self._near(batch)
        for layer in self.mix:
            both = layer(both, masks, codes, reach)
        pooled = [pool(s, m) for pool, s, m in zip(self.joint, both, masks, strict=True)]
        vector = self.joint_head.hidden(torch.cat([frames, *pooled, emphasised], -1))
        z_speech = self.speech_head(speech) * batch.present[:, :1]
        z_text = self.text_head(text) * batch.present[:, 1:]
        return Output(
            logits=self.joint_head.last(vector) + z_speech + z_text,
            speech=z_speech,
            text=z_text,
            vectors={"fused": vector, "speech": speech, "text": text},
            attention=self._attention(both, masks, batch) if attention else {},
        )

    def second_view(self, output: Output, batch: Batch) -> Output | None:  # noqa: ARG002
        if not self.settings.views:
            return None
        other: Output = self(second_view(batch, self.settings.views, self.speech_std, self.generator))
        return other

    def terms(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        """The three perspectives' cross-entropies, and the alignments' losses over complete pairs."""
        present, sides = batch.present, (output.vectors["speech"], output.vectors["text"])
        terms = super().terms(output, batch)
        if "speech" in self.weights:
            assert output.speech is not None and output.text is not None
            terms["speech"] = self.criterion(output.speech, scored(batch.labels, present[:, 0]))
            terms["text"] = self.criterion(output.text, scored(batch.labels, present[:, 1]))
        if output.second is not None:
            terms["second"] = self.criterion(output.second.logits, batch.labels)
        complete = self.gather(present.all(1).float()).bool()
        against = negatives(self.gather(batch.labels.float()).long()[complete], True)
        if "distribution" in self.weights:
            terms["distribution"] = contrast(self._similarity(sides, complete), against)
        if "instance" in self.weights:
            a, b = (
                self.gather(F.normalize(f(v).float(), dim=-1))[complete]
                for f, v in zip(self.instances, sides, strict=True)
            )
            terms["instance"] = contrast(products(a, b) / self.settings.temperature, against)
        return terms

    def _near(self, batch: Batch) -> Tensor | None:
        """(B, H, S, L) over the segments of all tiers."""
        windows, heads = self.settings.windows, self.settings.heads
        if not windows:
            return None
        tiers = [tier_of(batch, name) for name in self.settings.tiers]
        return torch.cat([near(batch, tier, windows, heads, self.hop) for tier in tiers], 2)

    def _frames(self, batch: Batch) -> Tensor:
        x: Tensor = self.speech_input(batch)
        if self.relative is not None:
            mask = batch.speech_mask
            x = (x + self.relative(x - masked_mean(x, mask)[:, None])) * mask[..., None]
        return x

    def _similarity(self, sides: tuple[Tensor, Tensor], complete: Tensor) -> Tensor:
        parts = [
            tuple(self.gather(v)[complete] for v in f(side))
            for f, side in zip(self.gaussians, sides, strict=True)
        ]
        (mean_a, log_a), (mean_b, log_b) = parts
        distance = wasserstein(mean_a, log_a.exp(), mean_b, log_b.exp()) / mean_a.shape[-1]
        return -distance / self.settings.temperature

    def _attention(
        self, both: tuple[Tensor, Tensor], masks: tuple[Tensor, Tensor], batch: Batch
    ) -> dict[str, Tensor]:
        """Weights of the joint pooling: of each segment among its tier's, and of each token."""
        speech, text = (cast(Pooling, pool) for pool in self.joint)
        sizes = [tier_of(batch, name).spans.shape[1] for name in self.settings.tiers]
        parts = zip(torch.split(both[0], sizes, 1), torch.split(masks[0], sizes, 1), strict=True)
        weights = {n: speech.weights(*part) for n, part in zip(self.settings.tiers, parts, strict=True)}
        return weights | {"token": text.weights(both[1], masks[1])}
