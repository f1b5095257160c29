"""One transformer over speech and text together, and two further tasks on sides that are paired anew.

After Sun et al., arXiv 2302.13661 (ICASSP 2023), who state attention of K layers and two auxiliary tasks that
align emotion-related features, not their form; that follows DRKF (ACM MM 2025), whose code was public. **F**
is a fact of DRKF's code, **R** reconstructed.

    x = [0 ; S ; 0 ; U ; 0]: frames and tokens in one sequence, zeros before, between and after (F)
        positions by index within each side, or one code a word, and a code for each side (R; F: positions)
    h = transformer of K layers, post-norm, at the first zero (F: 6 layers; Sun: K layers)
    C logits = W h (F)
    paired anew, the speech of i with the text of j:
      match   do both carry the same emotion? 2 logits of h_ij, target y_i = y_j (F; there all pairs i ≠ j)
      sides   the emotion of each side, y_i and y_j, from h_ij (R)
    L = CE + λ match + λ sides (F: 0.2)
    pairs: a seeded permutation of the batch that moves each utterance, never across partitions (R)
"""

from __future__ import annotations

from typing import Literal, Self, cast

import torch
from pydantic import Field, PositiveInt, model_validator
from torch import Tensor, nn

from undertone.models.attention import BertLayer, Codes
from undertone.models.batch import Batch
from undertone.models.example import IGNORE, Dimensions
from undertone.models.inputs import SpeechInput, TextInput
from undertone.models.layers import frame_words, masked_mean
from undertone.models.system import Output, System, SystemConfig
from undertone.types import Tier

__all__ = ["PairedTasks", "PairedConfig", "permuted"]


class PairedConfig(SystemConfig):
    """Sizes, and the weights of the two tasks; a weight of 0 removes one."""

    match: float = Field(default=0.2, ge=0.0)
    """λ of whether both sides carry the same emotion."""
    sides_alone: float = Field(default=0.2, ge=0.0)
    """λ of the emotion of each side on pairs made anew (R)."""
    pairings: PositiveInt = 1
    """How many other texts each speech is paired with a step (R)."""
    width: PositiveInt = 256
    """Width of the sequence (R: 1024 there, that of both encoders)."""
    layers: PositiveInt = 2
    """K (R: 6 in DRKF)."""
    heads: PositiveInt = 8
    """Attention heads (F)."""
    ratio: PositiveInt = 4
    """Width inside a layer's feed-forward map, as a multiple of ``width`` (F)."""
    positions: Literal["index", "word", "none"] = "index"
    """``index``: frames and tokens numbered, each side on its own; ``word``: those of one word share a code
    (ours)."""
    read: Literal["first", "mean"] = "first"
    """What is classified: the first zero's place (F), or the mean over the sequence (R)."""
    dropout: float = Field(default=0.1, ge=0.0, lt=1.0)
    """In the transformer, and in the learned layers of an input."""

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"heads = {self.heads} does not divide width = {self.width}")
        return self


class PairedTasks(System):
    """Auxiliary tasks on pairs made anew (2302.13661, after DRKF): one transformer over both sides."""

    cost = 8.0
    rank = 1
    demonstrated = False
    generator: torch.Generator | None = None
    """Draws the pairs; None: the common stream."""

    def __init__(self, config: PairedConfig, dimensions: Dimensions) -> None:
        super().__init__(config, dimensions)
        self.settings = config
        width, dropout, C = config.width, config.dropout, dimensions.classes
        self.speech_input = SpeechInput(dimensions, width, config.convolutions, dropout, project=False)
        self.text_input = TextInput(dimensions, width, dropout, project=False)
        self.codes = Codes(width, ordered=config.positions != "word")
        self.side = nn.Parameter(torch.randn(5, width) * 0.1)
        layer = (width, config.heads, dropout, config.ratio)
        self.stack = nn.ModuleList(BertLayer(*layer) for _ in range(config.layers))
        self.last = nn.Linear(width, C)
        self.matched = nn.Linear(width, 2) if config.match else None
        self.each = nn.ModuleList(nn.Linear(width, C) for _ in range(2)) if config.sides_alone else None
        named = {"match": config.match, "sides": config.sides_alone}
        self.weights = {"fused": 1.0} | {name: weight for name, weight in named.items() if weight}

    @property
    def tiers(self) -> tuple[Tier, ...]:
        return ("word",) if self.settings.positions == "word" else ()

    def forward(self, batch: Batch, attention: bool = False) -> Output:
        masks = batch.speech_mask, batch.text_mask
        sides = self._placed(batch)
        vector, weights = self._read(sides, masks, attention)
        extra = {"speech": sides[0], "text": sides[1]}
        return Output(self.last(vector), vectors={"fused": vector}, attention=weights, extra=extra)

    def terms(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        """Cross-entropy; on pairs made anew, whether they match, and the emotion of each side."""
        terms = super().terms(output, batch)
        if self.matched is None and self.each is None:
            return terms
        whole = (batch.present.all(1) & (batch.labels != IGNORE)).nonzero()[:, 0]
        speech, text = (whole[rows] for rows in self._pairs(len(whole), batch.labels.device))
        y_speech, y_text = batch.labels[speech], batch.labels[text]
        sides = output.extra["speech"][speech], output.extra["text"][text]
        masks = batch.speech_mask[speech], batch.text_mask[text]
        h = self._read(sides, masks)[0] if len(speech) else output.vectors["fused"][:0]
        if self.matched is not None:
            same = (y_speech == y_text).long()
            scores = self.matched(h).float()
            terms["match"] = nn.functional.cross_entropy(scores, same) if len(h) else scores.sum() * 0.0
        if self.each is not None:
            first, second = self.each
            losses = self.criterion(first(h), y_speech), self.criterion(second(h), y_text)
            terms["sides"] = (losses[0] + losses[1]) / 2
        return terms

    def _pairs(self, count: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Rows of speech and of text, each speech ``pairings`` times with another's text."""
        texts = [permuted(count, self.generator).to(device) for _ in range(self.settings.pairings)]
        if count < 2:
            nothing = torch.zeros(0, dtype=torch.long, device=device)
            return nothing, nothing
        return torch.arange(count, device=device).repeat(len(texts)), torch.cat(texts)

    def _placed(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Both sides, each position with its code and its side's."""
        x, y = self.speech_input(batch), self.text_input(batch)
        codes = self.codes.pair(self.settings.positions, (frame_words(batch), batch.token_word))
        if codes is not None:
            x, y = x + codes[0], y + codes[1]
        return x + self.side[3], y + self.side[4]

    def _read(
        self, sides: tuple[Tensor, Tensor], masks: tuple[Tensor, Tensor], attention: bool = False
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """(B, D) at the first place of [0 ; S ; 0 ; U ; 0], and the last layer's weights from there."""
        (B, T), L = sides[0].shape[:2], sides[1].shape[1]
        blank = torch.split(self.side[:3].expand(B, 3, -1), 1, 1)
        one = masks[0].new_ones(B, 1)
        x = torch.cat([blank[0], sides[0], blank[1], sides[1], blank[2]], 1)
        mask = torch.cat([one, masks[0], one, masks[1], one], 1)
        x = x * mask[..., None]
        weights: dict[str, Tensor] = {}
        for number, layer in enumerate(self.stack, 1):
            if attention and number == len(self.stack):
                looked = cast(BertLayer, layer).attention.weights(x[:, :1], x, (one, mask))
                weights = {
                    "frame": _scaled(looked[:, 1 : T + 1]),
                    "token": _scaled(looked[:, T + 2 : T + 2 + L]),
                }
            x = layer(x, x, (mask, mask))
        return x[:, 0] if self.settings.read == "first" else masked_mean(x, mask), weights


def permuted(count: int, generator: torch.Generator | None = None) -> Tensor:
    """(count,): a permutation that leaves no number at its place, where there are two at least.

    The numbers in random order, each followed by the next: one cycle through all of them.
    """
    place = None if generator is None else generator.device
    order = torch.randperm(count, generator=generator, device=place)
    after = torch.empty_like(order)
    after[order] = order.roll(1)
    return after


def _scaled(weights: Tensor) -> Tensor:
    """Rows that sum to 1, or are zeros."""
    return weights / weights.sum(-1, keepdim=True).clamp(min=1e-12)
