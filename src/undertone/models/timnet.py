"""Gated causal convolutions at growing reach, forwards and backwards, and attention with the words.

TIM-Net after Ye et al. (2211.08233, ICASSP 2023), fused with text as TBM (Applied Sciences 14(8) 3276, 2024)
describes it. **F** is a fact of TIM-Net's paper or code, **R** reconstructed: TBM published no code.

    f₀, b₀ = maps of frames, one a direction (F; on features mapped to ``width``, R)
    block i: y = twice drop(ReLU(norm(conv of two frames 2^i apart))), h ⊙ σ(y)    (F: a gate, no sum)
    f_{i+1} = block(f_i) reads the past, b_{i+1} = block'(b_i) the future           (F)
    g_i = mean over frames of f_{i+1} + b_{i+1}; norm and mean over real frames     (F; masks R)
    text tokens and the levels g_i attend to each other, each added to what it was  (R)
    C logits = W [Σ ω_i s_i, mean of tokens], ω free numbers, even at first         (F of speech alone; R)
"""

from __future__ import annotations

from typing import Literal, Self

import torch
from pydantic import Field, PositiveInt, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from undertone.models.attention import Attention
from undertone.models.batch import Batch
from undertone.models.example import Dimensions
from undertone.models.inputs import SpeechInput, TextInput
from undertone.models.layers import masked_mean
from undertone.models.system import Output, System, SystemConfig

__all__ = ["MaskedBatchNorm", "Timnet", "TimnetConfig"]


class TimnetConfig(SystemConfig):
    """Sizes, and which frames a frame may read."""

    width: PositiveInt = 64
    """Filters of each direction, and the width of text (R: 39 there, over 39 coefficients)."""
    levels: PositiveInt = 8
    """n: the last block's frames are 2^(n-1) apart (F: 8, for IEMOCAP 10)."""
    direction: Literal["both", "forward"] = "both"
    """``forward``: the causal half alone, for streams: a frame reads those before it."""
    heads: PositiveInt = 4
    """Of the attention between levels and tokens (R)."""
    spatial_dropout: float = Field(default=0.1, ge=0.0, lt=1.0)
    """Share of filters that a block drops, each for a whole utterance (F)."""
    dropout: float = Field(default=0.1, ge=0.0, lt=1.0)
    """In attention, and in the learned layers of an input (R)."""

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"heads = {self.heads} does not divide width = {self.width}")
        return self


class MaskedBatchNorm(nn.Module):
    """Batch norm of (B, T, D) over the real frames of the batch; at test over those of training."""

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, width: int, momentum: float = 0.1, eps: float = 1e-3) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))
        self.momentum, self.eps = momentum, eps
        self.register_buffer("running_mean", torch.zeros(width))
        self.register_buffer("running_var", torch.ones(width))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        mean, var = self.running_mean, self.running_var
        if self.training and bool(mask.any()):
            # sums over real frames as products with the mask: few passes over x, which is what costs time
            rows, kept, count = x.float().flatten(0, 1), mask.flatten().float(), mask.sum()
            with torch.autocast(x.device.type, enabled=False):
                mean = kept @ rows / count
                # deviations sum to 0, so that the variance has no gradient through the mean
                var = kept @ (rows - mean.detach()).square() / count
            with torch.no_grad():
                self.running_mean.lerp_(mean, self.momentum)
                self.running_var.lerp_(var * count / (count - 1).clamp(min=1), self.momentum)
        scale = (var + self.eps).rsqrt() * self.weight
        return torch.addcmul(self.bias - mean * scale, x, scale)


class Block(nn.Module):
    """One temporal-aware block: a gate from two convolutions of frames ``dilation`` apart, past or future."""

    def __init__(self, width: int, dilation: int, forwards: bool, dropout: float) -> None:
        super().__init__()
        self.dilation, self.forwards = dilation, forwards
        # without biases: the norm after them takes any constant off
        self.convolutions = nn.ModuleList(
            nn.Conv1d(width, width, 2, dilation=dilation, bias=False) for _ in range(2)
        )
        self.norms = nn.ModuleList(MaskedBatchNorm(width) for _ in range(2))
        self.dropout = nn.Dropout1d(dropout)

    def forward(self, h: Tensor, mask: Tensor) -> Tensor:
        """(B, T, D) from ``h (B, T, D)``, which is zeros on padding; so is the result."""
        y = h
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            y = norm(self._pair(y, convolution.get_parameter("weight")), mask).relu()
            kept = self.dropout(torch.ones_like(h[:, 0, :, None])).transpose(1, 2)  # (B, 1, D)
            # what is read of padding by the second is 0; what the second makes there meets zeros of h
            y = y * (kept * mask[..., None] if convolution is self.convolutions[0] else kept)
        return h * y.sigmoid()

    def _pair(self, x: Tensor, weight: Tensor) -> Tensor:
        """The convolution, as two products: each frame's own, and that of the frame ``dilation`` away."""
        early, late = weight.unbind(-1)
        own, other = (late, early) if self.forwards else (early, late)
        made, away = F.linear(x, own), self.dilation
        if away >= x.shape[1]:
            return made
        if self.forwards:
            return made + F.pad(F.linear(x[:, :-away], other), (0, 0, away, 0))
        return made + F.pad(F.linear(x[:, away:], other), (0, 0, 0, away))


class Direction(nn.Module):
    """One direction's blocks: each one's output, from frames."""

    def __init__(self, config: TimnetConfig, forwards: bool) -> None:
        super().__init__()
        self.first = nn.Linear(config.width, config.width)
        self.blocks = nn.ModuleList(
            Block(config.width, 2**i, forwards, config.spatial_dropout) for i in range(config.levels)
        )

    def forward(self, x: Tensor, mask: Tensor) -> list[Tensor]:
        h = self.first(x) * mask[..., None]
        made = []
        for block in self.blocks:
            h = block(h, mask)
            made.append(h)
        return made


class Timnet(System):
    """TIM-Net with attention to the words (2211.08233, after TBM): gated convolutions at growing reach."""

    cost = 5.0
    rank = 1
    demonstrated = False

    def __init__(self, config: TimnetConfig, dimensions: Dimensions) -> None:
        super().__init__(config, dimensions)
        self.settings = config
        width = config.width
        self.speech_input = SpeechInput(dimensions, width, config.convolutions, config.dropout)
        self.text_input = TextInput(dimensions, width, config.dropout)
        ways = (True, False) if config.direction == "both" else (True,)
        self.directions = nn.ModuleList(Direction(config, forwards) for forwards in ways)
        self.share = nn.Parameter(torch.full((config.levels,), 1.0 / config.levels))  # ω
        self.levels_read, self.tokens_read = (Attention(width, config.heads) for _ in range(2))
        self.dropout = nn.Dropout(config.dropout)
        self.last = nn.Linear(2 * width, dimensions.classes)

    def forward(self, batch: Batch, attention: bool = False) -> Output:
        mask, tokens = batch.speech_mask, batch.text_mask
        levels, text = (
            self._levels(self.speech_input(batch), mask),
            self.text_input(batch),
        )  # (B, n, D), (B, L, D)
        there = batch.present[:, :1].expand(-1, self.settings.levels)
        s = (levels + self.dropout(self.levels_read(levels, text, tokens))) * there[..., None]
        t = text + self.dropout(self.tokens_read(text, levels, there))
        vector = torch.cat([torch.einsum("n,bnd->bd", self.share, s), masked_mean(t, tokens)], -1)
        weights = {}
        if attention:
            every = torch.ones_like(there)
            weights = {"token": self.levels_read.weights(levels, text, (every, tokens))}
            weights["frame"] = mask / mask.sum(1, keepdim=True).clamp(min=1)
        return Output(self.last(vector), vectors={"fused": vector}, attention=weights)

    def _levels(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, n, D): g_i."""
        ways = [direction(x, mask) for direction in self.directions]
        sums = [torch.stack(level).sum(0) for level in zip(*ways, strict=True)]
        return torch.stack([masked_mean(level, mask) for level in sums], 1)
