"""Multimodal multi-task learning: tokens read frames, frames read tokens, and four losses.

After arXiv 2203.16794 (Interspeech 2023). **F** is a fact of the authors' code, **R** reconstructed.

    T = BERT layer(text), H = frames of the speech encoder, both of one width (F; mapped to it, R)
    q = X_D(T ← W₁H)            tokens that read frames; X is a BERT layer of attention over the other (F)
    p = X_B(W₂H ← T)            frames that read tokens (F)
    r = X_C(T ← p)              tokens that read these frames (F)
    g = σ(W_g[r; q]),  m = [r; g ⊙ q]    (F, code; the figure draws r ⊙ g)
    u = W_d max_L(m),  v = max_T(H),  C logits = W_c [v; u]   (F; masked, R)
    L = CE + λ (L_ctc + L_scl + L_acl) (F)
       ctc   characters of the transcript from dropout(H) (F)
       scl   contrast of the batch by labels, over o = W₂ GELU(W₁ z) (F)
       acl   contrast of both views of each utterance, over o' from a head of its own (F); the views are other
             gain, speed and noise, and words left out (R: theirs are translated and spoken again)
"""

from __future__ import annotations

from typing import Literal, Self

import torch
from pydantic import Field, PositiveFloat, PositiveInt, model_validator
from torch import Tensor, nn

from undertone.models.attention import BertLayer, Codes
from undertone.models.batch import Batch
from undertone.models.characters import Characters
from undertone.models.contrast import contrast, negatives, of_equal_labels, products
from undertone.models.example import Dimensions
from undertone.models.inputs import SpeechInput, TextInput
from undertone.models.layers import Pooling, PoolingKind, frame_words
from undertone.models.system import Output, System, SystemConfig
from undertone.models.views import ViewKind, second_view
from undertone.types import Tier

__all__ = ["Mmer", "MmerConfig"]

Form = Literal["clean", "published"]


class MmerConfig(SystemConfig):
    """Sizes, weights, and what the code does beside its clean form. A weight of 0 removes a loss."""

    width: PositiveInt = 256
    """d, of both sides (R: 768 there, that of both encoders)."""
    heads: PositiveInt = 8
    """Attention heads (R: 12 of 768)."""
    ratio: PositiveInt = 4
    """Width inside a layer's feed-forward map, as a multiple of ``width``."""
    gate: Literal["concatenate", "multiply"] = "concatenate"
    """m: [r; g ⊙ q] as in the code, or r ⊙ g as in the figure."""
    pooling: PoolingKind = "max"
    """Of m over tokens; the code has all four."""
    ctc: float = Field(default=0.1, ge=0.0)
    """λ of the characters' loss."""
    ctc_reduction: Literal["mean", "sum"] = "mean"
    """``sum`` over the batch, as theirs: it grows with batch and length. ``mean``: a character."""
    scl: float = Field(default=0.1, ge=0.0)
    """λ of the contrast by labels."""
    acl: float = Field(default=0.1, ge=0.0)
    """λ of the contrast of two views."""
    contrast: Form = "clean"
    """``published``: products without normalisation, the anchor among its own pairs, and P / τ after the
    logarithm, which is a factor of 14.3 on the loss and no temperature. ``clean``: cosines over τ, the anchor
    left out (SupCon)."""
    temperature: PositiveFloat = 0.07
    """τ of both contrasts."""
    views: tuple[ViewKind, ...] = ("gain", "noise", "speed", "words")
    """What the second view changes (R)."""
    positions: Literal["none", "word"] = "none"
    """``word``: frames and tokens of one word share a code (ours); they have none there."""
    dropout: float = Field(default=0.1, ge=0.0, lt=1.0)
    """In attention layers, before characters, and in the learned layers of an input."""

    @property
    def targets(self) -> tuple[str, ...]:
        return ("characters",) if self.ctc else ()

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"heads = {self.heads} does not divide width = {self.width}")
        return self


class Mmer(System):
    """Multimodal multi-task learning (2203.16794): cross-attention, a gate, characters, two contrasts."""

    cost = 8.0
    rank = 1
    demonstrated = False
    generator: torch.Generator | None = None
    """Draws the second view; None: the common stream."""

    def __init__(self, config: MmerConfig, dimensions: Dimensions) -> None:
        super().__init__(config, dimensions)
        self.settings = config
        d, dropout = config.width, config.dropout
        self.speech_input = SpeechInput(dimensions, d, config.convolutions, dropout, project=False)
        self.text_input = TextInput(dimensions, d, dropout, project=False)
        layer = (d, config.heads, dropout, config.ratio)
        self.within, self.tokens_read, self.frames_read, self.tokens_again = (
            BertLayer(*layer) for _ in range(4)
        )
        self.to_tokens, self.to_frames = nn.Linear(d, d), nn.Linear(d, d)  # W₁, W₂
        self.gate = nn.Linear(2 * d, d)
        merged = 2 * d if config.gate == "concatenate" else d
        self.pool, self.loudest = Pooling(merged, config.pooling), Pooling(d, "max")
        self.down = nn.Linear(self.pool.width, d)
        self.last = nn.Linear(2 * d, dimensions.classes)
        self.codes = Codes(d, ordered=False)
        self.characters = Characters(d, dropout) if config.ctc else None
        self.by_label = _projection(2 * d) if config.scl else None
        self.by_view = nn.ModuleList(_projection(2 * d) for _ in range(2)) if config.acl else None
        self.weights = {"fused": 1.0} | {
            k: w for k in ("ctc", "scl", "acl") if (w := float(getattr(config, k)))
        }
        self.reductions = {k: "gathered" for k in ("scl", "acl") if k in self.weights}
        if config.ctc and config.ctc_reduction == "sum":
            self.reductions["ctc"] = "sum"

    @property
    def tiers(self) -> tuple[Tier, ...]:
        return ("word",) if self.settings.positions == "word" else ()

    def forward(self, batch: Batch, attention: bool = False) -> Output:
        frames, tokens = batch.speech_mask, batch.text_mask
        H = self.speech_input(batch)  # (B, T, d)
        T = self.text_input(batch)  # (B, L, d)
        T = self.within(T, T, (tokens, tokens))
        codes = self.codes.pair(self.settings.positions, (batch.token_word, frame_words(batch)))
        swapped = codes and (codes[1], codes[0])
        q = self.tokens_read(T, self.to_tokens(H), (tokens, frames), codes)
        p = self.frames_read(self.to_frames(H), T, (frames, tokens), swapped)
        r = self.tokens_again(T, p, (tokens, frames), codes)
        g = self.gate(torch.cat([r, q], -1)).sigmoid()
        m = torch.cat([r, g * q], -1) if self.settings.gate == "concatenate" else r * g
        m = m * tokens[..., None]
        u = self.down(self.pool(m, tokens)) * batch.present[:, 1:]
        v = self.loudest(H, frames)
        z = torch.cat([v, u], -1)
        weights = {}
        if attention:
            weights = {"frame": self.loudest.weights(H, frames), "token": self.pool.weights(m, tokens)}
        return Output(self.last(z), vectors={"fused": z}, attention=weights, extra={"frames": H})

    def second_view(self, output: Output, batch: Batch) -> Output | None:  # noqa: ARG002
        if self.by_view is None:
            return None
        other: Output = self(second_view(batch, self.settings.views, self.speech_std, self.generator))
        return other

    def terms(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        """Cross-entropy; characters; contrasts by labels and of two views."""
        terms, z = super().terms(output, batch), output.vectors["fused"]
        published = self.settings.contrast == "published"
        if self.characters is not None:
            terms["ctc"] = self.characters(output.extra["frames"], batch, self.settings.ctc_reduction)
        if self.by_label is not None:
            labels = self.gather(batch.labels.float()).long()
            vectors = self.gather(self.by_label(z))
            terms["scl"] = of_equal_labels(vectors, labels, self.settings.temperature, published)
        if self.by_view is not None:
            assert output.second is not None, "the second view has not been computed"
            pair = z, output.second.vectors["fused"]
            own, other = (self.gather(f(x)) for f, x in zip(self.by_view, pair, strict=True))
            terms["acl"] = _of_views(own, other, self.settings.temperature, published)
        return terms


def _projection(width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, width // 2), nn.GELU(), nn.Linear(width // 2, width // 2))


def _of_views(own: Tensor, other: Tensor, temperature: float, published: bool) -> Tensor:
    """Contrast of two views (n, D): one direction of products as published, or both of cosines."""
    if published:
        scores = products(own, other) / temperature
        return nn.functional.cross_entropy(scores, torch.arange(len(scores), device=scores.device))
    a, b = (nn.functional.normalize(x.float(), dim=-1) for x in (own, other))
    order = torch.arange(len(a), device=a.device)
    return contrast(products(a, b) / temperature, negatives(order, False))
