"""Fusion strategies and the perspective loss, for single utterances and for whole dialogues.

After arXiv 2304.03899 (ICASSP 2023). **F** is a fact of the authors' published code, **R** ours.

    dialogue   each side: linear to 100 (none where speech is already of that width) → BiGRU (50 a direction)
               → dropout 0.2 → self-attention, 4 heads, dropout 0.2 of its weights, neither residual nor norm
               → dropout(ReLU(linear)) → linear to C logits z (F)
    utterance  speech: each utterance's frames at mean 0 and deviation 1 → linear to 100 → BiGRU → dropout 0.3
               → self-attention, 1 head → masked mean → linear to C logits (F)
               text: linear to 100 → self-attention, 1 head → masked mean → linear to C logits (F)

    early   the inputs are fused, then one branch; heads on the inputs for the unimodal terms (F)
    middle  the attentions' outputs are added (F)
    late    the logits are fused (F)

    add        x_s + x_t                   concat   W [x_s, x_t], no bias        product   x_s · x_t
    attention  u_m = W x_m, α = softmax_m(ωᵀ dropout(ReLU(u_m))), Σ α_m u_m, ω fixed and random (F)
    gate       weights from a linear map of both, learned (R)

    L = Σ_utterances CE(p_fused, y) + CE(p_text, y) + CE(p_speech, y),  p = softmax(z),
    CE(v, y) = -log softmax(v)_y: its input are probabilities, so softmax is applied twice (F)

At level ``utterance`` frames and tokens are of different lengths, so that early fusion first brings text
to the frames: each frame gets the mean of the tokens, or attends to them (R).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal, Self

import torch
from pydantic import Field, PositiveInt, model_validator
from torch import Tensor, nn

from undertone.models.attention import Attention
from undertone.models.batch import Batch
from undertone.models.example import IGNORE, Dimensions
from undertone.models.inputs import SpeechInput, TextInput
from undertone.models.layers import masked_mean
from undertone.models.recurrence import BiGRU
from undertone.models.system import Output, System, SystemConfig, scored

__all__ = ["Perspective", "PerspectiveConfig"]

Stage = Literal["early", "middle", "late"]
Operator = Literal["add", "concat", "attention", "gate", "product"]
OPERATORS: dict[Stage, tuple[Operator, ...]] = {
    "early": ("add", "concat", "attention", "gate"),
    "middle": ("add",),
    "late": ("add", "concat", "attention", "gate", "product"),
}
"""What was compared (F), and our learned gate (R)."""


class PerspectiveConfig(SystemConfig):
    """The published choices, and what they were compared with."""

    level: Literal["utterance", "dialogue"] = "utterance"
    """``dialogue``: a sample is a whole conversation, one vector a turn."""
    context: Literal["none", "past", "full"] | None = None
    """Which other turns of a dialogue a turn depends on; None: ``full`` at level ``dialogue`` (F)."""
    stage: Stage = "late"
    """Where the sides are fused."""
    operator: Operator = "add"
    """How (F: adding the logits won)."""
    perspective_inputs: Literal["probabilities", "logits"] = "probabilities"
    """Input of the cross-entropies: ``probabilities`` as published, ``logits`` as in textbooks."""
    loss: Literal["perspective", "single"] = "perspective"
    """``single``: the fused term alone."""
    delta: float = Field(default=1.0, ge=0.0)
    """Weight of the two unimodal terms (F: 1; an earlier version weighted them)."""
    reduction: Literal["sum", "mean"] = "sum"
    """Over the utterances of a batch (F: sum)."""
    width: PositiveInt = 100
    """Of each branch (F)."""
    heads: PositiveInt | None = None
    """Of the self-attention; None: 4 at level ``dialogue``, 1 at level ``utterance`` (F)."""
    activation: Literal["relu", "tanh"] = "relu"
    """Of the hidden layer and in ``attention`` (F: ``relu`` in the released state; with ``tanh`` and 1 head
    the study was run)."""
    hidden: bool | None = None
    """A layer between a branch and its classifier; None: at level ``dialogue`` only (F)."""
    dropout: float = Field(default=0.2, ge=0.0, lt=1.0)
    """After the GRU, after the hidden layer, and in ``attention`` (F)."""
    speech_dropout: float | None = Field(default=None, ge=0.0, lt=1.0)
    """Before the attention over speech; None: 0.3 at level ``utterance`` (F), else as ``dropout``."""
    text_dropout: float | None = Field(default=None, ge=0.0, lt=1.0)
    """Before the attention over text; None: 0 at level ``utterance`` (F), else as ``dropout``."""
    attention_dropout: float = Field(default=0.2, ge=0.0, lt=1.0)
    """Of the weights of self-attention (F)."""
    normalise: Literal["utterance", "training"] | None = None
    """Whose mean and deviation the frames are relative to: each utterance's own, or the training part's
    alone. None: ``utterance`` at that level (F)."""
    project: Literal["needed", "always"] = "needed"
    """``needed``: at level ``dialogue`` speech that is as wide as the branch goes in as it is (F)."""
    concat_bias: bool = False
    """Whether concatenation is followed by a map with a bias (F: not)."""

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        if self.operator not in OPERATORS[self.stage]:
            known = ", ".join(OPERATORS[self.stage])
            raise ValueError(f"operator = {self.operator!r} is none of stage = {self.stage!r}: {known}")
        if self.level == "utterance" and self.context not in (None, "none"):
            raise ValueError(f"context = {self.context!r} needs level = 'dialogue'")
        if self.level == "dialogue" and self.normalise == "utterance":
            raise ValueError("normalise = 'utterance' needs level = 'utterance': a turn is one vector")
        if self.width % self.attention_heads:
            raise ValueError(f"heads = {self.attention_heads} does not divide width = {self.width}")
        return self

    @property
    def turns(self) -> Literal["none", "past", "full"]:
        """The context, with its default filled in."""
        return self.context or ("full" if self.level == "dialogue" else "none")

    @property
    def attention_heads(self) -> int:
        """The heads, with their default filled in."""
        return self.heads or (4 if self.level == "dialogue" else 1)

    @property
    def with_hidden(self) -> bool:
        """Whether there is a hidden layer, with the default filled in."""
        return self.level == "dialogue" if self.hidden is None else self.hidden

    @property
    def by_utterance(self) -> bool:
        """Whether frames are relative to their utterance, with the default filled in."""
        return self.level == "utterance" and self.normalise != "training"

    def before_attention(self, side: Literal["speech", "text"]) -> float:
        """The dropout before the attention over a side, with its default filled in."""
        own = self.speech_dropout if side == "speech" else self.text_dropout
        if own is not None:
            return own
        return self.dropout if self.level == "dialogue" else {"speech": 0.3, "text": 0.0}[side]

    @classmethod
    def upgraded(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        """Folders of schema 1 hold the system before it had the authors' form."""
        dropout = values.get("dropout", 0.2)
        before = {
            "hidden": True,
            "heads": 4,
            "speech_dropout": dropout,
            "text_dropout": dropout,
            "attention_dropout": 0.0,
            "normalise": "training",
            "project": "always",
            "concat_bias": True,
        }
        changed = dict(values)
        if values.get("operator") == "attention":
            changed["operator"] = "gate"
        if values.get("stage") == "early":  # it had the fused term alone, whatever ``loss`` was
            changed["loss"] = "single"
        return before | changed


class Branch(nn.Module):
    """One side's sequence (B, S, width), through the GRU and self-attention."""

    def __init__(self, config: PerspectiveConfig, side: Literal["speech", "text"]) -> None:
        super().__init__()
        recurrent = side == "speech" or config.level == "dialogue"
        dialogue = config.level == "dialogue"
        self.causal = dialogue and config.turns == "past"
        self.by_turn = dialogue and config.turns == "none"
        self.pooled = not dialogue
        self.gru = BiGRU(config.width, config.width, self.causal) if recurrent else None
        self.dropout = nn.Dropout(config.before_attention(side))
        self.attention = Attention(config.width, config.attention_heads, dropout=config.attention_dropout)

    def forward(self, x: Tensor, lengths: Tensor, mask: Tensor) -> Tensor:
        """(B, width), or (B, U, width) at dialogue level."""
        B, S, D = x.shape
        if self.by_turn:  # each turn a sequence of its own
            x, mask, lengths = x.reshape(B * S, 1, D), mask.reshape(-1, 1), mask.reshape(-1).long()
        if self.gru is not None:
            x = self.gru(x, lengths)
        x = self.dropout(x)
        if self.pooled:
            return self.attention.mean(x, mask)
        x = self.attention(x, x, mask, causal=self.causal)
        return (x * mask[..., None]).reshape(B, S, D)


class Classifier(nn.Module):
    """A branch's vector → (dropout(ReLU(linear)) →) C logits."""

    def __init__(self, config: PerspectiveConfig, classes: int, hidden: bool) -> None:
        super().__init__()
        width = config.width
        bend = nn.ReLU() if config.activation == "relu" else nn.Tanh()
        layers = (nn.Linear(width, width), bend, nn.Dropout(config.dropout)) if hidden else ()
        self.hidden = nn.Sequential(*layers)
        self.last = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        vector: Tensor = self.hidden(x)
        return self.last(vector), vector


class Operation(nn.Module):
    """Two sides (…, D) to one (…, D), by the operator; a missing side adds 0 and multiplies by 1."""

    omega: Tensor

    def __init__(self, config: PerspectiveConfig, width: int) -> None:
        super().__init__()
        operator = self.operator = config.operator
        self.join = nn.Linear(2 * width, width, bias=config.concat_bias) if operator == "concat" else None
        self.gate = nn.Linear(2 * width, 2) if operator == "gate" else None
        self.shared = None
        if operator == "attention":
            self.shared = nn.Linear(width, width, bias=False)
            bend = nn.ReLU() if config.activation == "relu" else nn.Tanh()
            self.bend = nn.Sequential(bend, nn.Dropout(config.dropout))
            self.register_buffer("omega", 0.01 * torch.randn(width))

    def forward(self, speech: Tensor, text: Tensor, present: Tensor) -> Tensor:
        mask = present if speech.ndim == present.ndim else present[:, None]
        if self.operator == "product":
            return torch.where(mask[..., :1], speech, 1.0) * torch.where(mask[..., 1:], text, 1.0)
        if self.shared is not None:
            both = self.shared(torch.stack([speech, text], -2))  # (…, 2, D)
            return _weighted(both, self.bend(both) @ self.omega, mask)
        both = torch.cat([speech, text], -1)
        if self.join is not None:
            joined: Tensor = self.join(both)
            return joined
        if self.gate is not None:
            return _weighted(torch.stack([speech, text], -2), self.gate(both), mask)
        return speech + text


def _weighted(x: Tensor, scores: Tensor, present: Tensor) -> Tensor:
    """(…, D): the sides ``x (…, 2, D)`` weighted by the softmax of their scores (…, 2), over the present
    ones."""
    weights = scores.masked_fill(~present, -1e4).softmax(-1) * present
    return weights[..., :1] * x[..., 0, :] + weights[..., 1:] * x[..., 1, :]


class EarlyFusion(Operation):
    """Two input sequences to one, as long as the speech (as the text, at dialogue level: the same)."""

    def __init__(self, config: PerspectiveConfig) -> None:
        super().__init__(config, config.width)
        self.aligned = config.level == "dialogue"
        attends = config.operator in ("attention", "gate") and not self.aligned
        self.reads = Attention(config.width, config.attention_heads) if attends else None

    def sequence(self, speech: Tensor, text: Tensor, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """The fused sequence, its lengths, its mask."""
        lengths = batch.speech_lengths
        if self.aligned:
            lengths = torch.maximum(lengths, batch.text_lengths)
        else:
            lengths = lengths.clamp(min=1)  # where speech is missing, text is added to one frame of zeros
            text = self._to_frames(speech, text, batch.text_mask)
        mask = torch.arange(speech.shape[1], device=lengths.device) < lengths[:, None]
        if self.aligned:
            mask = mask & batch.modalities.any(-1)
        return self(speech, text, batch.modalities) * mask[..., None], lengths, mask

    def _to_frames(self, speech: Tensor, text: Tensor, mask: Tensor) -> Tensor:
        if self.reads is not None:
            attended: Tensor = self.reads(speech, text, mask)
            return attended
        return masked_mean(text, mask)[:, None].expand_as(speech)


def _normalised(batch: Batch) -> Tensor:
    """Frames (B, …, T, Ds) at mean 0 and deviation 1 over their utterance; a single frame as it is."""
    x, lengths = batch.speech, batch.speech_lengths.reshape(-1, *(1,) * (batch.speech.ndim - 1))
    # as a view, not a reshape to len(batch): a traced graph would keep the number of utterances
    real = batch.speech_mask[(slice(None), *(None,) * (x.ndim - 3), slice(None), None)]
    centred = (x - (x * real).sum(-2, keepdim=True) / lengths.clamp(min=1)) * real
    variance = (centred**2).sum(-2, keepdim=True) / (lengths - 1).clamp(min=1)
    return torch.where(lengths > 1, centred / (variance + 1e-5).sqrt(), x)


def _glorot(module: nn.Module) -> None:
    """Initial values that keep the variance from layer to layer (R): with neither residual nor norm, smaller
    ones would shrink it layer by layer, and text would be learned last."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


class Perspective(System):
    """Early, middle or late fusion under the perspective loss (2304.03899), by utterance or dialogue."""

    cost = 6.0
    rank = 1

    def __init__(self, config: PerspectiveConfig, dimensions: Dimensions) -> None:
        super().__init__(config, dimensions)
        self.settings = config
        C, width = dimensions.classes, config.width
        self.speech_input = SpeechInput(
            dimensions,
            width,
            config.convolutions,
            config.dropout,
            project=config.level == "utterance" or config.project == "always",
        )
        self.text_input = TextInput(dimensions, width, config.dropout)
        self.early = EarlyFusion(config) if config.stage == "early" else None
        self.fused_branch = Branch(config, "speech") if self.early else None
        self.speech_branch = None if self.early else Branch(config, "speech")
        self.text_branch = None if self.early else Branch(config, "text")
        # where the sides are fused early or in the middle, the fused vector has its own classifier
        self.fused = Classifier(config, C, config.with_hidden) if config.stage != "late" else None
        unimodal = config.stage == "late" or self._unimodal_terms()
        hidden = config.with_hidden and config.stage != "early"  # there the heads are on the inputs
        self.speech_classifier = Classifier(config, C, hidden) if unimodal else None
        self.text_classifier = Classifier(config, C, hidden) if unimodal else None
        self.late = Operation(config, C) if config.stage == "late" else None
        self.weights = {"fused": 1.0}
        if self._unimodal_terms():
            self.weights |= {"speech": config.delta, "text": config.delta}
        self.reductions = dict.fromkeys(self.weights, config.reduction)
        self.apply(_glorot)

    def _unimodal_terms(self) -> bool:
        c = self.settings
        return c.loss == "perspective" and c.delta > 0

    def forward(self, batch: Batch, attention: bool = False) -> Output:
        if self.settings.by_utterance:
            batch = replace(batch, speech=_normalised(batch))
        speech, text = self.speech_input(batch), self.text_input(batch)  # (B, T, D), (B, L, D)
        weights = self._attention(speech, text, batch) if attention else {}
        x_speech, x_text = self._vectors(speech, text, batch)  # (B, D) or (B, U, D)
        z_speech, v_speech = self._unimodal(self.speech_classifier, x_speech, batch.modalities[..., 0])
        z_text, v_text = self._unimodal(self.text_classifier, x_text, batch.modalities[..., 1])
        if self.late is not None:
            assert z_speech is not None and z_text is not None
            logits, vector = self.late(z_speech, z_text, batch.modalities), torch.cat([v_speech, v_text], -1)
        else:
            assert self.fused is not None
            fused = x_speech + x_text
            if self.early is not None and self.fused_branch is not None:
                fused = self.fused_branch(*self.early.sequence(speech, text, batch))
            logits, vector = self.fused(fused)
        return Output(logits, z_speech, z_text, vectors={"fused": vector}, attention=weights)

    def terms(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        """The three perspectives' cross-entropies; a missing side has no term."""
        has = batch.modalities
        present = {"fused": has.any(-1), "speech": has[..., 0], "text": has[..., 1]}
        return {
            name: self._cross_entropy(logits, scored(batch.labels, present[name]))
            for name, logits in output.sides().items()
            if name in self.weights
        }

    def _vectors(self, speech: Tensor, text: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """What each side's classifier takes: its branch's output, with early fusion the input alone."""
        masks = batch.speech_mask, batch.text_mask
        if self.speech_branch is not None and self.text_branch is not None:
            return (
                self.speech_branch(speech, batch.speech_lengths, masks[0]),
                self.text_branch(text, batch.text_lengths, masks[1]),
            )
        if self.settings.level == "dialogue":
            return speech, text
        return masked_mean(speech, masks[0]), masked_mean(text, masks[1])

    def _cross_entropy(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Of the logits, or as published of their softmax, in which case softmax is applied twice."""
        published = self.settings.perspective_inputs == "probabilities"
        if published:  # in single precision at least
            logits = logits.to(torch.promote_types(logits.dtype, torch.float32)).softmax(-1)
        loss = self.criterion(logits, labels)
        return loss * (labels != IGNORE).sum() if self.settings.reduction == "sum" else loss

    @staticmethod
    def _unimodal(classifier: Classifier | None, x: Tensor, present: Tensor) -> tuple[Tensor | None, Tensor]:
        if classifier is None:
            return None, x
        logits, vector = classifier(x)
        return logits * present[..., None], vector

    def _attention(self, speech: Tensor, text: Tensor, batch: Batch) -> dict[str, Tensor]:
        """The weight of each frame and token in its side's self-attention."""
        if self.speech_branch is None or self.text_branch is None or self.settings.level == "dialogue":
            return {}
        gru = self.speech_branch.gru
        frames = speech if gru is None else gru(speech, batch.speech_lengths)
        masks = batch.speech_mask, batch.text_mask
        return {
            "frame": self.speech_branch.attention.weights(frames, frames, (masks[0], masks[0])),
            "token": self.text_branch.attention.weights(text, text, (masks[1], masks[1])),
        }
