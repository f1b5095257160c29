"""Fusion strategies and the perspective loss, for single utterances and for whole dialogues.

After arXiv 2304.03899 (ICASSP 2023). **F** is a fact of the authors' published code, **R** ours.

    each side: linear to 100 → BiGRU (50 a direction) → dropout → self-attention, 4 heads, neither
    residual nor norm → dropout(ReLU(linear)) → linear to C logits z (F)
    early   the inputs are fused, then one branch        add | concat | attention (F)
    middle  the attentions' outputs are added (F)
    late    the logits are fused                         add | concat | attention | product (F)

    L = Σ_utterances CE(p_fused, y) + CE(p_text, y) + CE(p_speech, y),  p = softmax(z),
    CE(v, y) = -log softmax(v)_y: its input are probabilities, so softmax is applied twice (F)

At level ``utterance`` the sequences are the utterance's own frames (BiGRU, attention, masked mean) and
tokens (attention, masked mean; F); they are of different lengths, so that early fusion first brings
text to the frames: each frame gets the mean of the tokens, or attends to them (R).
"""

from __future__ import annotations

from typing import Literal, Self

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
Operator = Literal["add", "concat", "attention", "product"]
OPERATORS: dict[Stage, tuple[Operator, ...]] = {
    "early": ("add", "concat", "attention"),
    "middle": ("add",),
    "late": ("add", "concat", "attention", "product"),
}
"""What was compared (F)."""


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
    heads: PositiveInt = 4
    """Of the self-attention (F)."""
    dropout: float = Field(default=0.2, ge=0.0, lt=1.0)
    """After the GRU and after the last hidden layer (F)."""

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        if self.operator not in OPERATORS[self.stage]:
            known = ", ".join(OPERATORS[self.stage])
            raise ValueError(f"operator = {self.operator!r} is none of stage = {self.stage!r}: {known}")
        if self.level == "utterance" and self.context not in (None, "none"):
            raise ValueError(f"context = {self.context!r} needs level = 'dialogue'")
        if self.width % self.heads:
            raise ValueError(f"heads = {self.heads} does not divide width = {self.width}")
        return self

    @property
    def turns(self) -> Literal["none", "past", "full"]:
        """The context, with its default filled in."""
        return self.context or ("full" if self.level == "dialogue" else "none")


class Branch(nn.Module):
    """One side's sequence (B, S, width), through the GRU and self-attention."""

    def __init__(self, config: PerspectiveConfig, recurrent: bool) -> None:
        super().__init__()
        dialogue = config.level == "dialogue"
        self.causal = dialogue and config.turns == "past"
        self.by_turn = dialogue and config.turns == "none"
        self.pooled = not dialogue
        self.gru = BiGRU(config.width, config.width, self.causal) if recurrent else None
        self.dropout = nn.Dropout(config.dropout)
        self.attention = Attention(config.width, config.heads)

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
    """A branch's vector → dropout(ReLU(linear)) → C logits."""

    def __init__(self, config: PerspectiveConfig, classes: int) -> None:
        super().__init__()
        self.hidden = nn.Sequential(
            nn.Linear(config.width, config.width), nn.ReLU(), nn.Dropout(config.dropout)
        )
        self.last = nn.Linear(config.width, classes)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        vector: Tensor = self.hidden(x)
        return self.last(vector), vector


class EarlyFusion(nn.Module):
    """Two input sequences to one, as long as the speech (as the text, at dialogue level: the same)."""

    def __init__(self, config: PerspectiveConfig) -> None:
        super().__init__()
        self.operator = config.operator
        self.aligned = config.level == "dialogue"
        width = config.width
        self.join = nn.Linear(2 * width, width) if config.operator == "concat" else None
        attends = config.operator == "attention"
        self.reads = Attention(width, config.heads) if attends and not self.aligned else None
        self.gate = nn.Linear(2 * width, 2) if attends else None

    def forward(self, speech: Tensor, text: Tensor, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
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
        return self._fuse(speech, text, batch.modalities) * mask[..., None], lengths, mask

    def _to_frames(self, speech: Tensor, text: Tensor, mask: Tensor) -> Tensor:
        if self.reads is not None:
            attended: Tensor = self.reads(speech, text, mask)
            return attended
        return masked_mean(text, mask)[:, None].expand_as(speech)

    def _fuse(self, speech: Tensor, text: Tensor, present: Tensor) -> Tensor:
        if self.join is not None:
            joined: Tensor = self.join(torch.cat([speech, text], -1))
            return joined
        if self.gate is not None:
            weights = _gates(self.gate(torch.cat([speech, text], -1)), present)
            return weights[..., :1] * speech + weights[..., 1:] * text
        return speech + text


class LateFusion(nn.Module):
    """Two branches' logits to the fused ones; a missing side adds 0 and multiplies by 1."""

    def __init__(self, operator: Operator, classes: int) -> None:
        super().__init__()
        self.operator = operator
        self.join = nn.Linear(2 * classes, classes) if operator == "concat" else None
        self.gate = nn.Linear(2 * classes, 2) if operator == "attention" else None

    def forward(self, speech: Tensor, text: Tensor, present: Tensor) -> Tensor:
        if self.operator == "product":
            missing = ~present
            return torch.where(missing[..., :1], 1.0, speech) * torch.where(missing[..., 1:], 1.0, text)
        both = torch.cat([speech, text], -1)
        if self.join is not None:
            joined: Tensor = self.join(both)
            return joined
        if self.gate is not None:
            weights = _gates(self.gate(both), present)
            return weights[..., :1] * speech + weights[..., 1:] * text
        return speech + text


def _gates(scores: Tensor, present: Tensor) -> Tensor:
    """(…, 2) weights of speech and text, summing to 1 over the sides that are present."""
    mask = present if scores.ndim == present.ndim else present[:, None]
    return scores.masked_fill(~mask, -1e4).softmax(-1) * mask


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
        dialogue = config.level == "dialogue"
        self.speech_input = SpeechInput(dimensions, width, config.convolutions, config.dropout)
        self.text_input = TextInput(dimensions, width, config.dropout)
        self.early = EarlyFusion(config) if config.stage == "early" else None
        self.fused_branch = Branch(config, recurrent=True) if self.early else None
        self.speech_branch = None if self.early else Branch(config, recurrent=True)
        self.text_branch = None if self.early else Branch(config, recurrent=dialogue)
        # where the sides are fused early or in the middle, the fused vector has its own classifier
        self.fused = Classifier(config, C) if config.stage != "late" else None
        unimodal = config.stage == "late" or (config.stage == "middle" and self._unimodal_terms())
        self.speech_classifier = Classifier(config, C) if unimodal else None
        self.text_classifier = Classifier(config, C) if unimodal else None
        self.late = LateFusion(config.operator, C) if config.stage == "late" else None
        self.weights = {"fused": 1.0}
        if self._unimodal_terms():
            self.weights |= {"speech": config.delta, "text": config.delta}
        self.reductions = dict.fromkeys(self.weights, config.reduction)
        self.apply(_glorot)

    def _unimodal_terms(self) -> bool:
        c = self.settings
        return c.loss == "perspective" and c.stage != "early" and c.delta > 0

    def forward(self, batch: Batch, attention: bool = False) -> Output:
        speech, text = self.speech_input(batch), self.text_input(batch)  # (B, T, D), (B, L, D)
        weights = self._attention(speech, text, batch) if attention else {}
        if self.early is not None:
            assert self.fused_branch is not None and self.fused is not None
            logits, vector = self.fused(self.fused_branch(*self.early(speech, text, batch)))
            return Output(logits, vectors={"fused": vector}, attention=weights)
        assert self.speech_branch is not None and self.text_branch is not None
        x_speech = self.speech_branch(speech, batch.speech_lengths, batch.speech_mask)
        x_text = self.text_branch(text, batch.text_lengths, batch.text_mask)
        z_speech, v_speech = self._unimodal(self.speech_classifier, x_speech, batch.modalities[..., 0])
        z_text, v_text = self._unimodal(self.text_classifier, x_text, batch.modalities[..., 1])
        if self.fused is not None:
            logits, vector = self.fused(x_speech + x_text)
        else:
            assert self.late is not None and z_speech is not None and z_text is not None
            logits, vector = self.late(z_speech, z_text, batch.modalities), torch.cat([v_speech, v_text], -1)
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

    def _cross_entropy(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Of the logits, or as published of their softmax, in which case softmax is applied twice."""
        published = self.settings.perspective_inputs == "probabilities"
        loss = self.criterion(logits.float().softmax(-1) if published else logits, labels)
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
