"""Multi-granularity cross-modal alignment: distributions, tokens, instances.

After arXiv 2412.20821 (ICASSP 2025). **F** is a fact of the paper, **R** reconstructed (no code was
published; the distribution encoder follows MAP, CVPR 2023, which the description matches).

    speech, text → linear to ``width`` (R)
      ├─ distribution (F in kind): each side a diagonal Gaussian by self-attention split in two (R);
      │     squared 2-Wasserstein (F) → similarities → symmetric contrastive loss
      ├─ token (F in kind): self-attention a side, then cross-attention both ways (layers, heads R)
      └─ instance (F in kind): normalised projections, contrastive; hard negatives, matched or not (R)
    pooled, concatenated → MLP → C logits
    L = CE + λ_d distribution + λ_i instance + λ_m match (R: 0.1 each)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, cast

import torch
from pydantic import Field, PositiveFloat, PositiveInt, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from undertone.models.attention import Attention, CoAttention, Codes, Positions, SelfAttention
from undertone.models.batch import Batch
from undertone.models.contrast import (
    contrast,
    entropy_floor,
    hard_negatives,
    negatives,
    products,
    wasserstein,
)
from undertone.models.example import Dimensions
from undertone.models.inputs import SpeechInput, TextInput
from undertone.models.layers import Head, Pooling, PoolingKind, frame_words, masked_mean
from undertone.models.system import Output, System, SystemConfig
from undertone.types import Tier

__all__ = ["Mgcma", "MgcmaConfig"]


class MgcmaConfig(SystemConfig):
    """Which alignments are used, and what the paper leaves open. A weight of 0 removes a module."""

    distribution: float = Field(default=0.1, ge=0.0)
    """λ_d, weight of the distribution alignment (R)."""
    token: bool = True
    """Token alignment: attention within and across the sides."""
    instance: float = Field(default=0.1, ge=0.0)
    """λ_i, weight of the instance alignment (R)."""
    match: float = Field(default=0.1, ge=0.0)
    """λ_m, weight of classifying matched pairs and hard negatives (R)."""
    refine_ratio: PositiveInt = 4
    """Width of the layer inside the maps that refine a distribution, as a multiple of ``width`` (R: 4 in the
    template)."""
    entropy: float = Field(default=0.0, ge=0.0)
    """Weight of a floor under the distributions' entropy, against collapse (R: off)."""
    label_aware: bool = True
    """Other pairs of the same label are not negatives (R)."""
    width: PositiveInt = 256
    """Width of both sides (R)."""
    layers: PositiveInt = 2
    """Self-attention layers a side, and as many cross-attention layers (R)."""
    heads: PositiveInt = 4
    """Attention heads (R)."""
    positions: Positions = "word"
    """``word``: the tokens of a word and the frames in it share a code; ``index``: frames and tokens are
    numbered; ``none`` (R)."""
    temperature: PositiveFloat = 0.07
    """Of the contrastive losses: fixed for instances, learned from there for distributions (R)."""
    distance_scale: PositiveFloat = 2.0
    """a in Sim = (b - a·D/width) / τ, so that a·D/width/τ spans about 0-20 at first; b cancels (R)."""
    pooling: PoolingKind = "mean_std"
    """How the aligned sequences are pooled into vectors (R)."""
    dropout: float = Field(default=0.1, ge=0.0, lt=1.0)
    """In attention layers, the MLP, and the learned layers of an input (R)."""

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        if self.width % (2 * self.heads):
            raise ValueError(f"width = {self.width} is no multiple of twice heads = {self.heads}")
        if self.entropy and not self.distribution:
            raise ValueError("entropy needs distribution > 0: without it no distribution has an entropy")
        return self

    @classmethod
    def upgraded(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        return {"refine_ratio": 1} | dict(values)


class Distribution(nn.Module):
    """One side's sequence (B, S, D) as a diagonal Gaussian: its mean and log deviation, (B, D) each."""

    def __init__(self, width: int, heads: int, ratio: int) -> None:
        super().__init__()
        self.bend = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.LayerNorm(width))
        self.attention = Attention(width, heads)
        self.mean, self.log_std = (nn.Linear(width // 2, width) for _ in range(2))
        self.refine_mean, self.refine_log_std = (_refine(width, ratio) for _ in range(2))

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        y = self.bend(x)
        o = masked_mean(self.attention(y, y, mask), mask)  # (B, D)
        first, second = o.chunk(2, -1)
        mean = masked_mean(x, mask) + self.mean(first)
        log_std = self.log_std(second)
        mean, log_std = mean + self.refine_mean(mean), log_std + self.refine_log_std(log_std)
        return mean, log_std.clamp(-6.0, 4.0)


def _rows(codes: Tensor, rows: Tensor) -> Tensor:
    """The codes of some utterances; unchanged where all have the same."""
    return codes if len(codes) == 1 else codes[rows]


def _refine(width: int, ratio: int) -> nn.Sequential:
    return nn.Sequential(
        nn.LayerNorm(width), nn.Linear(width, ratio * width), nn.GELU(), nn.Linear(ratio * width, width)
    )


class Tokens(nn.Module):
    """Token alignment: attention within each side, then across."""

    def __init__(self, width: int, layers: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.speech = nn.ModuleList(SelfAttention(width, heads, dropout) for _ in range(layers))
        self.text = nn.ModuleList(SelfAttention(width, heads, dropout) for _ in range(layers))
        self.cross = nn.ModuleList(CoAttention(width, heads, dropout) for _ in range(layers))

    def within(self, x: tuple[Tensor, Tensor], masks: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Each side after its self-attention."""
        speech, text = x
        for layer in self.speech:
            speech = layer(speech, masks[0])
        for layer in self.text:
            text = layer(text, masks[1])
        return speech, text

    def across(
        self,
        x: tuple[Tensor, Tensor],
        masks: tuple[Tensor, Tensor],
        codes: tuple[Tensor, Tensor] | None,
    ) -> tuple[Tensor, Tensor]:
        """Each side after attention over the other."""
        for layer in self.cross:
            x = layer(x, masks, codes)
        return x


class Mgcma(System):
    """Multi-granularity cross-modal alignment (2412.20821): distributions, tokens, instances."""

    cost = 6.0
    rank = 2
    generator: torch.Generator | None = None
    """Draws the hard negatives; None: the common stream."""

    def __init__(self, config: MgcmaConfig, dimensions: Dimensions) -> None:
        super().__init__(config, dimensions)
        self.settings = config
        width, dropout = config.width, config.dropout
        self.speech_input = SpeechInput(dimensions, width, config.convolutions, dropout)
        self.text_input = TextInput(dimensions, width, dropout)
        self.codes = Codes(width, ordered=config.positions != "word")
        if config.distribution:
            self.distributions = nn.ModuleList(
                Distribution(width, config.heads, config.refine_ratio) for _ in range(2)
            )
            self.log_temperature = nn.Parameter(torch.tensor(config.temperature).log())
        self.tokens = Tokens(width, config.layers, config.heads, dropout) if config.token else None
        if config.instance:
            self.instances = nn.ModuleList(nn.Linear(width, width // 2) for _ in range(2))
        self.pools = nn.ModuleList(Pooling(width, config.pooling) for _ in range(2))
        pooled = sum(cast(Pooling, pool).width for pool in self.pools)
        self.head = Head(pooled, width, dimensions.classes, dropout)
        self.matched = nn.Sequential(nn.LayerNorm(pooled), nn.Linear(pooled, 1)) if config.match else None
        terms = ("distribution", "instance", "match", "entropy")
        self.weights = {"fused": 1.0} | {k: w for k in terms if (w := float(getattr(config, k)))}
        self.reductions = {k: "gathered" for k in ("distribution", "instance") if k in self.weights}

    @property
    def tiers(self) -> tuple[Tier, ...]:
        return ("word",) if self.settings.positions == "word" else ()

    def forward(self, batch: Batch, attention: bool = False) -> Output:
        masks = batch.speech_mask, batch.text_mask
        x = self.speech_input(batch), self.text_input(batch)  # (B, T, D), (B, L, D)
        extra: dict[str, Tensor] = {}
        if self.settings.distribution:
            for side, name in enumerate(("speech", "text")):
                mean, log_std = self.distributions[side](x[side], masks[side])
                extra |= {f"{name} mean": mean, f"{name} log_std": log_std}
        codes = self._codes(batch)
        if self.tokens is not None:
            x = self.tokens.within(x, masks)
        if self.settings.instance:
            for side, name in enumerate(("speech", "text")):
                mean = masked_mean(x[side], masks[side])
                extra[f"{name} instance"] = F.normalize(self.instances[side](mean).float(), dim=-1)
        extra |= {"speech within": x[0], "text within": x[1]}
        weights = self._attention(x, masks, codes) if attention else {}
        pooled = self._pooled(x, masks, codes)
        vector = self.head.hidden(pooled)
        extra["pooled"] = pooled
        return Output(self.head.last(vector), vectors={"fused": vector}, attention=weights, extra=extra)

    def terms(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        """Cross-entropy and the alignments' losses, over the pairs that are complete."""
        terms = super().terms(output, batch)
        extra = output.extra
        complete = self.gather(batch.present.all(1).float()).bool()
        labels = self.gather(batch.labels.float()).long()[complete]
        against = negatives(labels, self.settings.label_aware)
        if "distribution" in self.weights:
            similarity = self._similarity(extra, complete)
            terms["distribution"] = contrast(similarity, against)
        if "instance" in self.weights:
            speech, text = (self.gather(extra[f"{s} instance"])[complete] for s in ("speech", "text"))
            terms["instance"] = contrast(products(speech, text) / self.settings.temperature, against)
        if "match" in self.weights:
            terms["match"] = self._match(output, batch)
        if "entropy" in self.weights:
            rows = batch.present.all(1)
            floors = [entropy_floor(extra[f"{s} log_std"][rows], 0.0) for s in ("speech", "text")]
            terms["entropy"] = floors[0] + floors[1]
        return terms

    def _similarity(self, extra: dict[str, Tensor], complete: Tensor) -> Tensor:
        """(n, n) similarities of the speech's and the text's distributions."""
        parts = [
            (self.gather(extra[f"{s} mean"])[complete], self.gather(extra[f"{s} log_std"])[complete].exp())
            for s in ("speech", "text")
        ]
        distance = wasserstein(*parts[0], *parts[1]) / self.settings.width
        similarity: Tensor = -self.settings.distance_scale * distance / self.log_temperature.exp()
        return similarity

    def _match(self, output: Output, batch: Batch) -> Tensor:
        """Loss of a classifier: complete pairs, or their speech with a similar text of another utterance."""
        assert self.matched is not None
        extra = output.extra
        complete = batch.present.all(1).nonzero()[:, 0]
        against = negatives(batch.labels[complete], self.settings.label_aware)
        rows, columns = hard_negatives(self._local_similarity(extra, complete), against, self.generator)
        matched = self.matched(extra["pooled"][complete])[:, 0]
        if len(rows) == 0:
            return torch.as_tensor(matched.sum() * 0.0)
        speech, text = complete[rows], complete[columns]
        pair = extra["speech within"][speech], extra["text within"][text]
        masks = batch.speech_mask[speech], batch.text_mask[text]
        codes = self._codes(batch)
        mixed = codes and (_rows(codes[0], speech), _rows(codes[1], text))
        negative = self.matched(self._pooled(pair, masks, mixed))[:, 0]
        scores = torch.cat([matched, negative]).float()
        truth = torch.cat([torch.ones_like(matched), torch.zeros_like(negative)]).float()
        return F.binary_cross_entropy_with_logits(scores, truth)

    def _local_similarity(self, extra: dict[str, Tensor], rows: Tensor) -> Tensor:
        """(n, n) similarities by which hard negatives are drawn, within this process' batch."""
        if self.settings.instance:
            speech, text = extra["speech instance"][rows], extra["text instance"][rows]
            return products(speech, text) / self.settings.temperature
        return torch.zeros(len(rows), len(rows), device=rows.device)

    def _pooled(
        self,
        x: tuple[Tensor, Tensor],
        masks: tuple[Tensor, Tensor],
        codes: tuple[Tensor, Tensor] | None,
    ) -> Tensor:
        if self.tokens is not None:
            x = self.tokens.across(x, masks, codes)
        return torch.cat([pool(s, m) for pool, s, m in zip(self.pools, x, masks, strict=True)], -1)

    def _codes(self, batch: Batch) -> tuple[Tensor, Tensor] | None:
        return self.codes.pair(self.settings.positions, (frame_words(batch), batch.token_word))

    def _attention(
        self,
        x: tuple[Tensor, Tensor],
        masks: tuple[Tensor, Tensor],
        codes: tuple[Tensor, Tensor] | None,
    ) -> dict[str, Tensor]:
        if self.tokens is None:
            return {}
        for layer in self.tokens.cross[:-1]:
            x = layer(x, masks, codes)
        frames, tokens = cast(CoAttention, self.tokens.cross[-1]).weights(x, masks, codes)
        return {"frame": frames, "token": tokens}
