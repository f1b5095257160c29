"""Co-attention whose weights are drawn in training, with a prior from the keys and from what words mean.

After arXiv 2302.09856 (ICASSP 2023), which published no code. **F** is a fact of it, or of the code of
Bayesian attention modules (Fan et al. 2020), which it is built on; **R** is reconstructed.

    speech of one level, tokens; co-attention both ways (F in kind; sizes, codes, pooling R), and in each
    a = softmax(Q Kᵀ / √d),  φ = log a
    Weibull      w = softmax(φ - log Γ(1 + 1/k) + (1/k) log(-log(1 - u))),  u ~ U(0, 1)      (F)
    log-normal   w = softmax(φ - σ²/2 + σ ε),  ε ~ N(0, 1)                                   (F)
    at test w = a: nothing is drawn (F)
    prior        π = softmax_j(W₂ f(W₁ k_j) + c e_j), a key's own score (F) and its word's emotional
                 intensity e (F in kind: "emotion-related knowledge"; form, scale c and list R)
    L = CE + ρ KL(w ‖ prior), the mean over real pairs, heads, layers and directions (F)

The list is fitted inside the fold: how much a token changes the classes' odds in the training part.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, NamedTuple, Self, cast

import torch
from pydantic import Field, PositiveFloat, PositiveInt, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from undertone.models.attention import Attention, CoAttention, Codes, Positions
from undertone.models.batch import Batch
from undertone.models.example import IGNORE, Dimensions
from undertone.models.inputs import SpeechInput, TextInput
from undertone.models.layers import (
    Head,
    Level,
    Pooling,
    PoolingKind,
    SegmentPool,
    frame_words,
    masked_softmax,
    tier_of,
)
from undertone.models.system import Observer, Output, System, SystemConfig
from undertone.types import TIERS, Tier

__all__ = ["Bayesian", "BayesianConfig", "Intensity", "lognormal_kl", "weibull_kl"]

Draw = Literal["weibull", "lognormal", "none"]
EULER = 0.5772156649015329


class BayesianConfig(SystemConfig):
    """What is drawn, its prior, and what the paper leaves open."""

    draw: Draw = "weibull"
    """The distribution of attention's weights in training; ``none``: plain co-attention."""
    shape: PositiveFloat = 10.0
    """k of Weibull: large is nearly no noise (R; 1000 in their code)."""
    sigma: PositiveFloat = 0.3
    """σ of the log-normal (R)."""
    kl: float = Field(default=1.0, ge=0.0)
    """ρ (F: 1 throughout, or growing with the epoch, which is not built)."""
    beta: PositiveFloat = 1.0
    """β of the prior Gamma(β π, β), or σ₀ of the log-normal's."""
    bend: Literal["leaky", "relu", "tanh"] = "leaky"
    """f of the prior."""
    knowledge: float = Field(default=1.0, ge=0.0)
    """c, weight of the words' intensity in the prior; 0: the keys alone (R)."""
    granularity: Level = "frame"
    """What speech is pooled into (R)."""
    width: PositiveInt = 256
    """Width of both sides (R)."""
    layers: PositiveInt = 1
    """Co-attention layers (R)."""
    heads: PositiveInt = 8
    """Attention heads (R)."""
    positions: Positions = "word"
    """As of ``multilevel`` (R); frames are in words too."""
    pooling: PoolingKind = "mean_std"
    """How a sequence is pooled into one vector (R)."""
    dropout: float = Field(default=0.1, ge=0.0, lt=1.0)
    """In attention layers, the MLP, and the learned layers of an input (R)."""

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"heads = {self.heads} does not divide width = {self.width}")
        return self


class Drawn(NamedTuple):
    """One direction of one layer, for its divergence."""

    logs: Tensor
    """(B, H, Q, M): φ."""
    prior: Tensor
    """(B, H, 1, M): log π."""
    real: Tensor
    """(B, 1, Q, M): which pairs count."""


class Stochastic(Attention):
    """Attention whose weights are drawn in training, beside a prior over its keys."""

    def __init__(self, width: int, heads: int, config: BayesianConfig) -> None:
        super().__init__(width, heads, matching=True)
        self.settings = config
        self.prior: nn.ModuleList | None = None
        if config.draw != "none" and config.kl:
            each = width // heads
            self.prior = nn.ModuleList([nn.Linear(each, each), nn.Linear(each, 1, bias=False)])
            for layer in self.prior:
                nn.init.normal_(cast(Tensor, layer.weight), std=each**-0.5)

    def drawn(
        self,
        x: tuple[Tensor, Tensor],
        masks: tuple[Tensor, Tensor],
        codes: tuple[Tensor, Tensor] | None,
        intensity: Tensor,
        generator: torch.Generator | None,
    ) -> tuple[Tensor, Drawn | None]:
        """(B, Q, D) from queries and memory, and what the divergence needs; ``intensity (B, M)``."""
        q, k = self._queries_keys(*x, codes)
        v = self._split(self.value(x[1]))
        real = masks[1][:, None, None]  # (B, 1, 1, M)
        logs = _log_softmax(q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1]), real)  # (B, H, Q, M)
        noisy = self._noisy(logs, generator) if self.training else logs
        weights = masked_softmax(noisy, real.expand_as(noisy))
        B, Q, D = x[0].shape
        values: Tensor = self.out((weights.to(v.dtype) @ v).transpose(1, 2).reshape(B, Q, D))
        values = values * masks[1].any(1)[:, None, None]
        if self.prior is None:
            return values, None
        score = self.prior[1](_BENDS[self.settings.bend](self.prior[0](k)))[..., 0]  # (B, H, M)
        score = score.float() + self.settings.knowledge * intensity[:, None]
        prior = _log_softmax(score[:, :, None], real)
        return values, Drawn(logs, prior, real & masks[0][:, None, :, None])

    def _noisy(self, logs: Tensor, generator: torch.Generator | None) -> Tensor:
        """Logarithms of drawn weights, before they are made to sum to 1."""
        place = logs.device if generator is None else generator.device
        if self.settings.draw == "weibull":
            u = torch.rand(logs.shape, generator=generator, device=place).to(logs.device)
            k = self.settings.shape
            return logs - math.lgamma(1 + 1 / k) + (-(-u).log1p()).clamp(min=1e-20).log() / k
        if self.settings.draw == "lognormal":
            e = torch.randn(logs.shape, generator=generator, device=place).to(logs.device)
            return logs - self.settings.sigma**2 / 2 + self.settings.sigma * e
        return logs


_BENDS: dict[str, Callable[[Tensor], Tensor]] = {
    "leaky": lambda x: F.leaky_relu(x, 0.1),
    "relu": F.relu,
    "tanh": torch.tanh,
}


def _log_softmax(scores: Tensor, real: Tensor) -> Tensor:
    """Over the real entries of the last dimension; a small number on the others."""
    kept = torch.where(real, scores.float(), -1e9)
    return torch.where(real, kept.log_softmax(-1), -30.0).clamp(min=-30.0)


def weibull_kl(logs: Tensor, prior: Tensor, k: float, beta: float) -> Tensor:
    """KL of Weibull(k, λ) of mean a from Gamma(α = β π, β), for ``logs`` = log a and ``prior`` = log π."""
    gamma = math.lgamma(1 + 1 / k)
    log_scale, alpha = logs - gamma, beta * prior.exp()  # log λ
    rest = math.log(k) - EULER - 1 - alpha * math.log(beta) + torch.lgamma(alpha)
    return EULER * alpha / k - alpha * log_scale + beta * (log_scale + gamma).exp() + rest


def lognormal_kl(logs: Tensor, prior: Tensor, sigma: float, spread: float) -> Tensor:
    """KL of the log-normal (φ - σ²/2, σ) from the log-normal (log π, σ₀)."""
    gap = logs - sigma**2 / 2 - prior
    return math.log(spread / sigma) + (sigma**2 + gap**2) / (2 * spread**2) - 0.5


class BayesianCoAttention(CoAttention):
    """One layer of co-attention with both its attentions drawn."""

    def __init__(self, width: int, config: BayesianConfig) -> None:
        super().__init__(width, config.heads, config.dropout, lambda: Stochastic(width, config.heads, config))

    def drawn(
        self,
        x: tuple[Tensor, Tensor],
        masks: tuple[Tensor, Tensor],
        codes: tuple[Tensor, Tensor] | None,
        intensity: tuple[Tensor, Tensor],
        generator: torch.Generator | None,
    ) -> tuple[tuple[Tensor, Tensor], list[Drawn]]:
        """Both sides after attention over the other, and what the divergences need."""
        a, b = self.norms[0](x[0]), self.norms[1](x[1])
        swapped = (codes[1], codes[0]) if codes else None
        reads = cast(Stochastic, self.speech_reads), cast(Stochastic, self.text_reads)
        s, first = reads[0].drawn((a, b), masks, codes, intensity[1], generator)
        t, second = reads[1].drawn((b, a), (masks[1], masks[0]), swapped, intensity[0], generator)
        speech, text = x[0] + self.dropout(s), x[1] + self.dropout(t)
        made = speech + self.forward_maps[0](speech), text + self.forward_maps[1](text)
        return made, [one for one in (first, second) if one is not None]


class Intensity(Observer):
    """How emotional each token is, 0 … 1, by the training part: 0 until it has been observed.

    ids       the divergence of the classes' shares given the token from their shares overall, smoothed
    vectors   the largest cosine of a vector with a class' mean, both less the mean and over the deviation
    """

    shrink = 5.0
    """Occurrences' weight of the classes' overall shares."""
    table: Tensor
    """(V,) of ids, or (C + 2, D) of vectors: mean, deviation, and the classes' directions."""

    def __init__(self, dimensions: Dimensions) -> None:
        super().__init__()
        self.ids, C = dimensions.vocabulary > 0, dimensions.classes
        size = (C, dimensions.vocabulary) if self.ids else (C, dimensions.text)
        self._sums, self._counts = torch.zeros(size, dtype=torch.float64), torch.zeros(C, dtype=torch.float64)
        self._squares = torch.zeros(size[1], dtype=torch.float64)
        self.register_buffer("table", torch.zeros(size[1]) if self.ids else torch.zeros(C + 2, size[1]))

    def forward(self, batch: Batch) -> Tensor:
        """(B, L)"""
        if self.ids:
            return self.table[batch.text] * batch.text_mask
        mean, std, classes = self.table[0], self.table[1], self.table[2:]
        x = (batch.text.float() - mean) / std.clamp(min=1e-4)
        cosine = F.normalize(x, dim=-1) @ F.normalize(classes, dim=-1).T  # (B, L, C)
        return cosine.amax(-1).clamp(min=0.0) * batch.text_mask

    def observe(self, batch: Batch) -> None:
        """Count the tokens of each class."""
        known = (batch.labels != IGNORE)[:, None] & batch.text_mask
        labels = batch.labels.clamp(min=0)[:, None].expand_as(known)[known].cpu()
        tokens = batch.text[known].cpu()
        self._counts.index_add_(0, labels, torch.ones(len(labels), dtype=torch.float64))
        if self.ids:
            place = labels * self._sums.shape[1] + tokens
            self._sums.view(-1).index_add_(0, place, torch.ones(len(place), dtype=torch.float64))
            self.table.copy_(self._divergence())
            return
        self._sums.index_add_(0, labels, tokens.double())
        self._squares += tokens.double().square().sum(0)
        count = self._counts.sum().clamp(min=1)
        mean = self._sums.sum(0) / count
        std = (self._squares / count - mean.square()).clamp(min=1e-8).sqrt()
        means = self._sums / self._counts[:, None].clamp(min=1)
        self.table.copy_(torch.cat([mean[None], std[None], (means - mean) / std]))

    def _divergence(self) -> Tensor:
        overall = ((self._counts + 1e-9) / (self._counts + 1e-9).sum())[:, None]
        shares = (self._sums + self.shrink * overall) / (self._sums.sum(0) + self.shrink)
        return ((shares * (shares / overall).log()).sum(0) / math.log(len(overall))).clamp(0.0, 1.0)


class Bayesian(System):
    """Knowledge-aware Bayesian co-attention (2302.09856): drawn attention with a prior."""

    cost = 6.0
    rank = 1
    demonstrated = False
    generator: torch.Generator | None = None
    """Draws attention's weights; None: the common stream."""

    def __init__(self, config: BayesianConfig, dimensions: Dimensions) -> None:
        super().__init__(config, dimensions)
        self.settings = config
        width, dropout = config.width, config.dropout
        self.speech_input = SpeechInput(dimensions, width, config.convolutions, dropout)
        self.text_input = TextInput(dimensions, width, dropout)
        self.segments = None if config.granularity == "frame" else SegmentPool(width)
        self.codes = Codes(width, ordered=config.positions != "word")
        self.mix = nn.ModuleList(BayesianCoAttention(width, config) for _ in range(config.layers))
        self.pools = nn.ModuleList([Pooling(width, config.pooling), Pooling(width, config.pooling)])
        pooled = sum(cast(Pooling, pool).width for pool in self.pools)
        self.head = Head(pooled, width, dimensions.classes, dropout)
        informed = config.draw != "none" and config.kl
        self.intensity = Intensity(dimensions) if informed and config.knowledge else None
        self.weights = {"fused": 1.0} | ({"kl": config.kl} if informed else {})

    @property
    def tiers(self) -> tuple[Tier, ...]:
        used = {self.settings.granularity, self.settings.positions} | (
            {"word"} if self.intensity is not None else set()
        )
        return tuple(tier for tier in TIERS if tier in used)

    def forward(self, batch: Batch, attention: bool = False) -> Output:
        speech, mask, words = self._speech(batch)  # (B, S, D), S = T at frame level
        x, masks = (speech, self.text_input(batch)), (mask, batch.text_mask)
        codes = self.codes.pair(self.settings.positions, (words, batch.token_word))
        intensity = self._intensity(batch, words)
        drawn: list[Drawn] = []
        looked: dict[str, Tensor] = {}
        for layer in self.mix:
            block = cast(BayesianCoAttention, layer)
            if attention:
                weights = block.weights(x, masks, codes)
                looked = {self.settings.granularity: weights[0], "token": weights[1]}
            x, made = block.drawn(x, masks, codes, intensity, self.generator)
            drawn += made
        pooled = [pool(side, m) for pool, side, m in zip(self.pools, x, masks, strict=True)]
        vector = self.head.hidden(torch.cat(pooled, -1))
        extra = {f"{name} {i}": value for i, one in enumerate(drawn) for name, value in one._asdict().items()}
        return Output(self.head.last(vector), vectors={"fused": vector}, attention=looked, extra=extra)

    def terms(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        """Cross-entropy, and the divergence of the drawn weights from their prior."""
        terms, extra, config = super().terms(output, batch), output.extra, self.settings
        if "kl" not in self.weights:
            return terms
        sums = torch.zeros((), device=output.logits.device)
        for i in range(2 * config.layers):
            logs, prior, real = (extra[f"{name} {i}"] for name in Drawn._fields)
            each = (
                weibull_kl(logs, prior, config.shape, config.beta)
                if config.draw == "weibull"
                else lognormal_kl(logs, prior, config.sigma, config.beta)
            )
            kept = real.expand_as(each)
            sums = sums + torch.where(kept, each, 0.0).sum() / kept.sum().clamp(min=1)
        return terms | {"kl": sums / (2 * config.layers)}

    def _speech(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Speech at the level, its mask, and the word of each position."""
        frames = self.speech_input(batch)
        if self.segments is None:
            return frames, batch.speech_mask, frame_words(batch)
        tier = tier_of(batch, self.settings.granularity)
        return self.segments(frames, tier), tier.mask, tier.word

    def _intensity(self, batch: Batch, words: Tensor) -> tuple[Tensor, Tensor]:
        """(B, S) and (B, L): of each position's word, and of each token."""
        if self.intensity is None:
            return torch.zeros_like(words, dtype=torch.float), batch.text_mask * 0.0
        tokens = self.intensity(batch)
        same = (words[:, :, None] == batch.token_word[:, None]) & (words >= 0)[:, :, None]  # (B, S, L)
        return torch.where(same, tokens[:, None], 0.0).amax(-1), tokens
