"""Legs of transformer layers for each modality, and two more over all of them at two depths; mixed vectors.

After arXiv 2506.09556 (MEDUSA, first in task 1 of Interspeech 2025's challenge). **F** is a fact of paper or
code, **R** reconstructed.

    leg(x): linear, ReLU, linear; h¹, h² after each of two post-norm transformer layers of one head; h³ =
            mean_t h²  (F; GELU inside where theirs has ReLU, R)
    one leg for the frames, one for the tokens (R: theirs are three, with frames of two speech encoders)
    f = leg([h¹ … along time])²,  g = leg([h² …, f along time])³  (F; padding masked, R: theirs is read)
    x = W₁[h³ …; g], mixed; u = ReLU(x); C logits = W₂u (F); heads of targets read u (F) and logits (R)
    before the first legs a norm, and maps that keep their input's size (R: theirs has unit size from its
            encoders; of learned vectors, a tenth of that, a post-norm layer would give what is mostly biases)
    mixing, of a training batch with probability p: x ← λx + (1 - λ)x of another utterance, λ ~ Beta(α, α)
            for each, and labels, votes and ratings likewise (F)
    several networks: combined on the validation part (R: theirs, of other settings, by an MLP)

As published the votes are learned in place of a class, and three ratings by their squared error beside them:
``target = ["distribution", "dimensions"]`` in a recipe. The second stage is an option of any training.
"""

from __future__ import annotations

from functools import partial

import torch
from pydantic import Field, PositiveFloat, PositiveInt, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from undertone.models.attention import BertLayer
from undertone.models.batch import Batch
from undertone.models.ensemble import Ensemble, MemberOutput, Rule
from undertone.models.example import IGNORE, Dimensions
from undertone.models.inputs import SpeechInput, TextInput
from undertone.models.layers import masked_mean
from undertone.models.system import Output, SystemConfig, scored
from undertone.models.targets import blend

__all__ = ["DeepSer", "DeepSerConfig", "Leg"]


class DeepSerConfig(SystemConfig):
    """Sizes, mixing, and how many networks there are."""

    width: PositiveInt = 512
    """Of every leg (F)."""
    heads: PositiveInt = 1
    """Attention heads (F)."""
    ratio: PositiveInt = 4
    """Width inside a layer's feed-forward map, as a multiple of ``width`` (F: 2048 of 512)."""
    mixup: float = Field(default=0.3, ge=0.0, le=1.0)
    """p, share of the training batches that are mixed."""
    alpha: PositiveFloat = 0.2
    """Of λ's Beta distribution: the smaller, the nearer λ is to 0 or 1."""
    networks: PositiveInt = 1
    """Members, which differ by their first values."""
    late: Rule = "weighted"
    """How several members' posteriors are combined."""
    shrink: float = Field(default=20.0, ge=0.0)
    """Utterances with even weights that are added when weights are fitted on the validation part."""
    dropout: float = Field(default=0.1, ge=0.0, lt=1.0)
    """In transformer layers, and in the learned layers of an input."""

    @model_validator(mode="after")
    def _holds_together(self) -> DeepSerConfig:
        if self.width % self.heads:
            raise ValueError(f"heads = {self.heads} does not divide width = {self.width}")
        return self


class Leg(nn.Module):
    """Two maps and two transformer layers over one sequence."""

    def __init__(self, config: DeepSerConfig) -> None:
        super().__init__()
        d = config.width
        self.maps = nn.Sequential(nn.Linear(d, d), nn.ReLU(), nn.Linear(d, d))
        for one in self.maps:
            if isinstance(one, nn.Linear):
                nn.init.kaiming_normal_(one.weight, nonlinearity="relu")
                nn.init.zeros_(one.bias)
        self.layers = nn.ModuleList(
            BertLayer(d, config.heads, config.dropout, config.ratio) for _ in range(2)
        )

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """h¹ and h² (B, S, d) of ``x (B, S, d)``; zeros on padding."""
        first = self.layers[0](y := self.maps(x), y, (mask, mask))
        return first, self.layers[1](first, first, (mask, mask))


class DeepSerNetwork(nn.Module):
    """One member: the legs and their two fusions."""

    def __init__(self, config: DeepSerConfig, dimensions: Dimensions) -> None:
        super().__init__()
        d, dropout = config.width, config.dropout
        self.mixup, self.alpha = config.mixup, config.alpha
        self.speech_input = SpeechInput(dimensions, d, config.convolutions, dropout)
        self.text_input = TextInput(dimensions, d, dropout)
        # vectors of pieces that are rare or missing in training stay small, as in ``attention._norm``
        self.norms = nn.ModuleList([nn.LayerNorm(d, eps=0.1), nn.LayerNorm(d, eps=0.1)])
        self.speech_leg, self.text_leg, self.early, self.late = (Leg(config) for _ in range(4))
        self.join = nn.Linear(3 * d, d)  # W₁
        self.last = nn.Linear(d, dimensions.classes)  # W₂

    def forward(self, batch: Batch, attention: bool = False) -> MemberOutput:
        masks = batch.speech_mask, batch.text_mask
        speech = self.speech_leg(self.norms[0](self.speech_input(batch)), masks[0])  # h¹, h² (B, T, d)
        text = self.text_leg(self.norms[1](self.text_input(batch)), masks[1])  # h¹, h² (B, L, d)
        both = torch.cat(masks, 1)
        early = self.early(torch.cat([speech[0], text[0]], 1), both)[1]  # (B, T + L, d)
        twice = torch.cat([both, both], 1)
        before, after = self.late(torch.cat([speech[1], text[1], early], 1), twice)
        means = masked_mean(speech[1], masks[0]), masked_mean(text[1], masks[1])
        x = self.join(torch.cat([*means, masked_mean(after, twice)], -1))
        mixed = _draw(len(x), self.mixup, self.alpha, x.device) if self.training else None
        u = F.relu(x if mixed is None else blend(x, mixed))
        weights = self._weights(before, masks, twice) if attention else {}
        return MemberOutput(self.last(u), batch.present.any(1), u, weights, mixed)

    def _weights(self, before: Tensor, masks: tuple[Tensor, Tensor], twice: Tensor) -> dict[str, Tensor]:
        """Of each frame and token in the last layer, both places in its sequence; of a side they sum to 1."""
        layer = self.late.layers[1]
        assert isinstance(layer, BertLayer)
        first, second = layer.attention.weights(before, before, (twice, twice)).chunk(2, 1)
        parts = torch.split(first + second, [mask.shape[1] for mask in masks], 1)
        return {
            name: part / part.sum(1, keepdim=True).clamp(min=1e-12)
            for name, part in zip(("frame", "token"), parts, strict=True)
        }


class DeepSer(Ensemble):
    """DeepSER (2506.09556): a leg a modality, fused at two depths, with mixed vectors."""

    cost = 8.0
    demonstrated = False

    def __init__(self, config: DeepSerConfig, dimensions: Dimensions) -> None:
        names = [f"network-{i + 1}" for i in range(config.networks)]
        build = dict.fromkeys(names, partial(DeepSerNetwork, config, dimensions))
        super().__init__(config, dimensions, build, [names], config.late, config.shrink)

    def terms(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        """Cross-entropy of each network; of a mixed batch that of both labels, by their shares."""
        terms = super().terms(output, batch)
        for name, logits in output.members.items():
            mixed = output.mixed.get(name)
            if mixed is None:
                continue
            labels = scored(batch.labels, output.extra[f"present {name}"])
            shares = F.one_hot(labels.clamp(min=0), logits.shape[-1]).float()
            shares = blend(torch.where((labels == IGNORE)[:, None], torch.nan, shares), mixed)
            known = shares.isfinite().all(-1)
            terms[name] = (
                self.soft_criterion(logits[known], shares[known]) if known.any() else logits.sum() * 0
            )
        return terms


def _draw(count: int, chance: float, alpha: float, device: torch.device) -> tuple[Tensor, Tensor] | None:
    """By utterance λ and which other is mixed in, for a share of all batches; else None."""
    if not chance or float(torch.rand(())) >= chance:
        return None
    share = torch.distributions.Beta(alpha, alpha).sample((count,))
    return share.to(device), torch.randperm(count).to(device)
