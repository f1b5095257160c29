"""``compact``: small networks for each modality, trained from scratch, and the product rule.

    frames ─▶ denoised, levelled, cropped ─┬─ bands ──────┬─▶ classifiers of one view, of all views ─▶ kinds
                                           ├─ modulation ─┤
                                           └─ contour ────┴─▶ distance from all known speech ─▶ is it speech?
    tokens ─▶ networks over subword pieces ─▶ classes

Speech is scored in finer kinds than the classes, if the settings say so (``classifiers.py``). A clip that is
no speech gets even classes from the speech side: its confidence is low, and words, if there are any, decide.

Speech and words of the same class are independent given the class, so posteriors multiply: the fused logits
are ``a log p(speech) + b log p(text) + c``, with a, b and c fitted on data that neither side was trained on.
"""

from __future__ import annotations

from typing import TypeVar

import torch
from pydantic import Field, PositiveInt, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from undertone.models.batch import Batch
from undertone.models.compact.classifiers import (
    FunctionalsClassifier,
    SpeechDistance,
    class_scores,
    reject_nonspeech,
)
from undertone.models.compact.functionals import VIEWS, View
from undertone.models.compact.spectrum import spectrum
from undertone.models.example import Dimensions
from undertone.models.inputs import LayerSum
from undertone.models.layers import masked_softmax
from undertone.models.recurrence import BiGRU
from undertone.models.system import Output, System, SystemConfig, scored

Net = TypeVar("Net", bound=nn.Module)

__all__ = ["Compact", "CompactConfig", "TextNet"]

QUERIES = 4
"""Weighted means over the tokens, each with its own weights."""


class CompactConfig(SystemConfig):
    """Sizes, and what the speech side's kinds mean."""

    views: tuple[tuple[View, ...], ...] = (*((view,) for view in VIEWS), tuple(VIEWS))
    """The views of the speech that each classifier gets: one, or several."""
    networks: PositiveInt = 1
    """Classifiers of each; the log posteriors of all are averaged."""
    hidden: PositiveInt = 64
    """Their width."""
    axes: int = Field(default=0, ge=0)
    """Axes of the distance from all speech; 0: it is not computed."""
    kinds: tuple[int, ...] = ()
    """The class of each of the speech side's kinds; -1: no emotional speech at all, -2: emotional speech of
    none of the classes. Empty: the classes themselves."""
    aside: str = ""
    """The name of a posterior over the first kinds that is reported beside the classes'."""
    first: int = Field(default=0, ge=0)
    """How many kinds that posterior is over."""
    texts: PositiveInt = 1
    """Networks over the words, averaged likewise."""
    emotions: int = Field(default=0, ge=0)
    """Further outputs of the text side that help it learn and are not used afterwards."""
    dropout: float = Field(default=0.3, ge=0.0, lt=0.9)
    """Of both sides."""

    @model_validator(mode="after")
    def _names_fit(self) -> CompactConfig:
        if self.first > len(self.kinds) or bool(self.aside) != bool(self.first):
            raise ValueError("'aside' names a posterior over the 'first' of the 'kinds'")
        if not self.views or not all(self.views):
            raise ValueError("'views' lists the views of each classifier: lists of views, none of them empty")
        return self


class Compact(System):
    """Small networks of its own for speech and words, and the product rule: the system of the starter."""

    cost = 5.0
    exportable = False  # each clip is cropped to what is active in it
    limit: Tensor
    """The distance from all known speech at which a clip is as likely none."""
    lean: Tensor
    """(C,): added to the speech side's classes, for how common they are."""
    speech_temperature: Tensor
    text_temperature: Tensor
    balance: Tensor
    """(2,): the weights of speech and text."""
    shift: Tensor
    """(C,): added where both modalities are present."""

    def __init__(self, config: CompactConfig, dimensions: Dimensions) -> None:
        super().__init__(config, dimensions)
        self.kinds = config.kinds or tuple(range(dimensions.classes))
        self.aside, self.first = config.aside, config.first
        self.layers = LayerSum(dimensions.speech_layers) if dimensions.speech_layers else None
        self.judges = nn.ModuleList(
            FunctionalsClassifier(dimensions.speech, views, len(self.kinds), config.hidden, config.dropout)
            for views in config.views
            for _ in range(config.networks)
        )
        self.known = SpeechDistance(dimensions.speech, config.axes) if config.axes else None
        self.text_nets = nn.ModuleList(
            TextNet(dimensions, dimensions.classes + config.emotions, config.dropout)
            for _ in range(config.texts)
        )
        self.weights = {"speech": 1.0, "text": 1.0}
        self.register_buffer("limit", torch.full((), 10.0))
        self.register_buffer("lean", torch.zeros(dimensions.classes))
        self.register_buffer("speech_temperature", torch.ones(()))
        self.register_buffer("text_temperature", torch.ones(()))
        self.register_buffer("balance", torch.ones(2))
        self.register_buffer("shift", torch.zeros(dimensions.classes))

    def forward(self, batch: Batch, attention: bool = False) -> Output:
        has_speech, has_text = batch.present[:, 0], batch.present[:, 1]
        kinds, distance = self.score_speech(batch)
        words, weights = self.score_text(batch)
        checked = kinds if distance is None else reject_nonspeech(kinds, self.kinds, distance, self.limit)
        speech = class_scores(checked, self.kinds, self.speech_temperature, self.lean) * has_speech[:, None]
        text = (words / self.text_temperature).log_softmax(-1) * has_text[:, None]
        both = self.balance[0] * speech + self.balance[1] * text + self.shift
        fused = torch.where((has_speech & has_text)[:, None], both, speech + text)
        return Output(
            logits=fused,
            speech=speech,
            text=text,
            vectors={"fused": torch.cat([speech, text], -1)},
            attention={"token": weights} if attention else {},
            extra={"kinds": kinds, "words": words, "present": batch.present},
        )

    def score_speech(self, batch: Batch) -> tuple[Tensor, Tensor | None]:
        """(B, kinds): mean log posteriors of the kinds; and (B,) the distance from all speech."""
        frames = batch.speech if self.layers is None else self.layers(batch.speech)
        if batch.speech_gate is not None:
            frames = frames * batch.speech_gate[..., None]
        lengths = batch.speech_lengths
        if self.training or len(frames) == 1:
            return self._score_frames(frames, lengths)
        # neighbouring rows may hold the same clip with other words: it is scored once
        same = (frames[1:] == frames[:-1]).flatten(1).all(-1) & (lengths[1:] == lengths[:-1])
        fresh = torch.cat([same.new_zeros(1), same]).logical_not()
        kinds, distance = self._score_frames(frames[fresh], lengths[fresh])
        back = fresh.cumsum(0) - 1
        return kinds[back], None if distance is None else distance[back]

    def _score_frames(self, frames: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor | None]:
        clips = spectrum(frames.float(), lengths)
        functionals = {view: compute(clips) for view, compute in VIEWS.items()}
        logits = [
            net(torch.cat([functionals[view] for view in net.views], 1))
            for net in _typed(FunctionalsClassifier, self.judges)
        ]
        distance = None if self.known is None else self.known(torch.cat(list(functionals.values()), 1))
        return _mean(logits), distance

    def score_text(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """(B, C): log posteriors by the words, the mean over the networks; and (B, L) attention weights."""
        scores, weights = zip(*(net.scores(batch) for net in _typed(TextNet, self.text_nets)), strict=True)
        return _mean([x[:, : self.dimensions.classes] for x in scores]), torch.stack(weights).mean(0)

    def terms(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        assert output.speech is not None and output.text is not None
        has_speech, has_text = batch.present[:, 0], batch.present[:, 1]
        return {
            "speech": self.criterion(output.speech, scored(batch.labels, has_speech)),
            "text": self.criterion(output.text, scored(batch.labels, has_text)),
        }

    def asides(self, output: Output) -> dict[str, Tensor]:
        """Each side before anything was fitted on validation, and the posterior over the first kinds."""
        even = 1.0 / self.dimensions.classes
        has_speech, has_text = output.extra["present"].unbind(1)
        speech = torch.where(has_speech[:, None], class_scores(output.extra["kinds"], self.kinds).exp(), even)
        text = torch.where(has_text[:, None], output.extra["words"].softmax(-1), even)
        product = speech * text
        sides = {"speech": speech, "text": text, "fused": product / product.sum(-1, keepdim=True)}
        posteriors = {f"uncalibrated/{side}": values for side, values in sides.items()}
        if self.aside:
            posteriors[self.aside] = output.extra["kinds"][:, : self.first].softmax(-1)
        return posteriors


class TextNet(nn.Module):
    """Tokens to logits: a convolution, a GRU, four attention-weighted means and one maximum."""

    def __init__(self, dimensions: Dimensions, outputs: int, dropout: float) -> None:
        super().__init__()
        width = dimensions.text
        self.pieces = nn.Embedding(dimensions.vocabulary, width) if dimensions.vocabulary else None
        # embeddings are stored small and scaled up in use, so that a step changes them as fast as the layers
        # above; those of pieces that training never meets stay near zero
        self.scale = width**0.5
        if self.pieces is not None:
            nn.init.normal_(self.pieces.weight, std=0.1 / self.scale)
        self.dropout_inside = nn.Dropout(dropout)
        self.neighbours = nn.Conv1d(width, width, 3, padding=1)
        self.gru = BiGRU(width, width)
        self.look = nn.Linear(width, QUERIES, bias=False)
        self.dropout = nn.Dropout(min(0.9, dropout + 0.05))
        self.last = nn.Linear((QUERIES + 1) * width, outputs)

    def forward(self, batch: Batch) -> Tensor:
        """Logits (B, outputs); those of a row without text mean nothing."""
        return self.scores(batch)[0]

    def scores(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Logits (B, outputs), and the mean attention weight of each token (B, L)."""
        mask = batch.text_mask
        x = self._tokens(batch, mask)
        x = x + self.gru(x, batch.text_lengths)
        weights = masked_softmax(self.look(x).transpose(1, 2), mask[:, None].expand(-1, QUERIES, -1))
        means = (weights.to(x.dtype) @ x).flatten(1)  # weights (B, 4, L)
        peak = x.masked_fill(~mask[..., None], -1e4).amax(1)
        peak = torch.where(mask.any(1, keepdim=True), peak, 0.0)
        vector = torch.cat([means, peak], -1)  # (B, 5 D)
        return self.last(self.dropout(vector)), weights.mean(1)

    def _tokens(self, batch: Batch, mask: Tensor) -> Tensor:
        """(B, L, D), zeros on padding."""
        x = batch.text
        if self.pieces is not None:
            x = self.dropout_inside(self.pieces(x) * self.scale)
        if batch.text_gate is not None:
            x = x * batch.text_gate[..., None]
        x = torch.where(mask[..., None], x, 0.0)
        near = self.neighbours(x.transpose(1, 2)).transpose(1, 2)
        sequence: Tensor = (x + self.dropout_inside(F.gelu(near))) * mask[..., None]
        return sequence


def _typed(kind: type[Net], nets: nn.ModuleList) -> list[Net]:
    """The networks of a list, typed."""
    return [net for net in nets if isinstance(net, kind)]


def _mean(scores: list[Tensor]) -> Tensor:
    """The mean of the log posteriors (B, kinds)."""
    return torch.stack([one.float().log_softmax(-1) for one in scores]).mean(0)
