"""Speech beside one prompt a class, by cosines: classes are words, and may be others at prediction.

After GEmo-CLAP, arXiv 2306.07848 (ICASSP 2024). Its authors published no code; **F** is a fact of the paper
or of a third party's code that names the paper's equations, **R** reconstructed.

    P = norm(MLP(prompt of each class)), "emotion is happy" (F); the mean of its tokens ([CLS] there, R)
    A = norm(MLP(pooled frames)) (F); with the pooled transcript beside them (R, ours: off as published)
    C_a = s_a A Pᵀ, C_t = s_t P Aᵀ over the batch, P of each clip's own class; s = exp(learned), 1 … 100 (F)
    M_e, M_g: 1 where two clips are of the same emotion, of the same gender (F)
    L(M) = ½ [KL(M ‖ softmax(C_a)) + KL(M ‖ softmax(C_t))], rows of M made to sum to 1 (F, equation 4)
    α L(M_e) + (1 - α) L(M_g), or L(α M_e + (1 - α) M_g) (F, equations 6 and 7)
    C logits = s_a A P_classᵀ (F: the largest cosine)
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from undertone.models.batch import Batch
from undertone.models.contrast import products
from undertone.models.example import IGNORE, Dimensions
from undertone.models.inputs import SpeechInput, TextInput
from undertone.models.layers import Pooling, PoolingKind
from undertone.models.system import Output, System, SystemConfig

__all__ = ["Clap", "ClapConfig", "matching_loss"]


class ClapConfig(SystemConfig):
    """What is compared with the prompts, and by which losses."""

    transcript: bool = True
    """The transcript is pooled beside speech (R, ours); published without it."""
    width: PositiveInt = 512
    """Of both MLPs and the vectors that are compared."""
    pooling: PoolingKind = "mean"
    """How frames, and tokens, are pooled into one vector."""
    rows: Literal["equal", "softmax"] = "equal"
    """How rows of M are made to sum to 1: an equal share to each of the same class, or a softmax of 0 and 1,
    as published, which among 32 clips gives one of eight equals 0.059 and any other 0.022."""
    second: Literal["none", "gender", "speaker"] = "none"
    """A second matrix, of the same gender (published) or speaker (ours)."""
    mix: Literal["losses", "matrices"] = "losses"
    """``losses``: equation 6, multi-task; ``matrices``: equation 7, soft labels."""
    alpha: float = Field(default=0.8, gt=0.0, le=1.0)
    """α, weight of the emotion beside the second (F: 0.8 to 0.9)."""
    cross_entropy: float = Field(default=0.0, ge=0.0)
    """Weight of a cross-entropy over the classes' prompts (R, ours: off)."""
    dropout: float = Field(default=0.1, ge=0.0, lt=1.0)
    """In the MLPs, and in the learned layers of an input (R)."""

    @property
    def targets(self) -> tuple[str, ...]:
        return () if self.second == "none" else (self.second,)


class Clap(System):
    """Speech and class prompts by cosines (GEmo-CLAP, 2306.07848): class sets may be given as words."""

    cost = 1.5
    demonstrated = False
    takes_prompts = True
    prompts: Tensor
    """(classes, P), as of ``inputs.bag``: the classes' prompts; random until ``describe`` sets them."""

    def __init__(self, config: ClapConfig, dimensions: Dimensions) -> None:
        super().__init__(config, dimensions)
        self.settings = config
        width, dropout = config.width, config.dropout
        self.speech_input = SpeechInput(dimensions, width, config.convolutions, dropout)
        self.pool = Pooling(width, config.pooling)
        self.text_input = TextInput(dimensions, width, dropout) if config.transcript else None
        self.text_pool = Pooling(width, config.pooling) if config.transcript else None
        if not config.transcript:
            self.sides = ("speech",)
        self.voice = _mlp(self.pool.width * (2 if config.transcript else 1), width, dropout)
        size = dimensions.vocabulary or dimensions.text
        self.words = _mlp(size, width, dropout)
        self.log_scales = nn.Parameter(torch.full((2,), math.log(1 / 0.07)))
        drawn = torch.randn(dimensions.classes, size, generator=torch.Generator().manual_seed(0))
        self.register_buffer("prompts", drawn)
        self.weights = {"match": 1.0} | ({"fused": config.cross_entropy} if config.cross_entropy else {})
        self.reductions = {"match": "gathered"}

    def describe(self, prompts: Tensor) -> None:
        """Judge by the classes of these prompts (C, P), which may be others than those learned."""
        self.prompts = prompts.to(self.prompts)

    def forward(self, batch: Batch, attention: bool = False) -> Output:
        x = self.speech_input(batch)
        pooled, weights = [self.pool(x, batch.speech_mask)], {}
        if attention:
            weights["frame"] = self.pool.weights(x, batch.speech_mask)
        if self.text_input is not None and self.text_pool is not None:
            y = self.text_input(batch)
            pooled.append(self.text_pool(y, batch.text_mask))
            if attention:
                weights["token"] = self.text_pool.weights(y, batch.text_mask)
        voice = F.normalize(self.voice(torch.cat(pooled, -1)).float(), dim=-1)
        classes = F.normalize(self.words(self.prompts).float(), dim=-1)
        logits = self._scales()[0] * products(voice, classes)
        return Output(logits, vectors={"fused": voice}, attention=weights, extra={"classes": classes})

    def terms(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        """How far the batch's cosines are from who is alike; where wanted, cross-entropy over the prompts."""
        terms = super().terms(output, batch) if "fused" in self.weights else {}
        present = batch.present[:, 0] if len(self.sides) == 1 else batch.present.any(1)
        labels = self.gather(torch.where(present, batch.labels, IGNORE).float()).long()
        known = labels != IGNORE
        voice, labels = self.gather(output.vectors["fused"])[known], labels[known]
        own = output.extra["classes"][labels]
        alike = [_same(labels)]
        if self.settings.second != "none":
            given = batch.targets.get(self.settings.second)
            numbers = torch.full_like(batch.labels, IGNORE) if given is None else given[:, 0]
            alike.append(_same(self.gather(numbers.double()).long()[known]))
        shares = [1.0] if len(alike) == 1 else [self.settings.alpha, 1.0 - self.settings.alpha]
        if self.settings.mix == "matrices":
            alike, shares = [torch.stack([a * m for a, m in zip(shares, alike, strict=True)]).sum(0)], [1.0]
        scores = products(voice, own)
        losses = [share * self._loss(m, scores) for share, m in zip(shares, alike, strict=True)]
        return terms | {"match": torch.stack(losses).sum()}

    def _loss(self, alike: Tensor, scores: Tensor) -> Tensor:
        return matching_loss(alike, scores, self._scales(), self.settings.rows == "softmax")

    def _scales(self) -> Tensor:
        return self.log_scales.exp().clamp(1.0, 100.0)


def matching_loss(alike: Tensor, cosines: Tensor, scales: Tensor, soft: bool = False) -> Tensor:
    """½ [KL(M ‖ softmax(s_a C)) + KL(M ‖ softmax(s_t Cᵀ))] of ``cosines (n, n)``, the mean over rows.

    M are the rows of ``alike (n, n)`` made to sum to 1: by their sum, or by a softmax (``soft``).
    """
    if not len(cosines):
        return (cosines.sum() + scales.sum()) * 0.0
    wanted = alike.softmax(-1) if soft else alike / alike.sum(-1, keepdim=True)
    both = (scales[0] * cosines).log_softmax(-1), (scales[1] * cosines.T).log_softmax(-1)
    entropy = torch.special.xlogy(wanted, wanted).sum(-1)
    return torch.stack([(entropy - (wanted * logs).sum(-1)).mean() for logs in both]).mean()


def _same(numbers: Tensor) -> Tensor:
    """(n, n): 1 where two are of one number, else 0; one whose number is not known is like itself alone."""
    same = (numbers[:, None] == numbers[None, :]) & (numbers != IGNORE)[:, None]
    return (same | torch.eye(len(numbers), dtype=torch.bool, device=numbers.device)).float()


def _mlp(inputs: int, width: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, width), nn.ReLU(), nn.Dropout(dropout), nn.Linear(width, width))
