"""``compact``: small heads over a speech encoder's hidden states and over words, and the product rule.

    frames of K hidden states ─▶ mean, deviation ─┬─▶ classifiers ─▶ kinds ─▶ classes
                                                  ├─▶ noise? then other classifiers answer
                                                  └─▶ distance from all known speech: how sure, speech at all?
    vectors of tokens ─▶ mean ─▶ classes

Speech is scored in finer kinds than the classes, if the settings say so (``kinds.py``). A clip that is no
speech gets even classes from the speech side: its confidence is low, and words, if there are any, decide.
The farther speech is from what was learned from, the less sure the answer: the temperature grows with it.

Speech and words of the same class are independent given the class, so posteriors multiply: the fused logits
are ``a log p(speech) + b log p(text) + c``, with a, b and c fitted on data that neither side was trained on.
"""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field, PositiveInt, model_validator
from torch import Tensor, nn

from undertone.models.batch import Batch
from undertone.models.branches import Pooled, Unimodal
from undertone.models.example import Dimensions
from undertone.models.inputs import Moments
from undertone.models.kinds import (
    KindClassifier,
    NoiseShare,
    SpeechDistance,
    View,
    class_scores,
    reject_nonspeech,
)
from undertone.models.system import Output, System, SystemConfig, scored

__all__ = ["Compact", "CompactConfig"]

FAR = "distance"
"""The aside that says how far from all known speech a clip is; below 1 for most speech."""


class CompactConfig(SystemConfig):
    """Sizes, and what the speech side's kinds mean."""

    views: tuple[View, ...] = ("upper", "all")
    """What of the pooled frames each classifier gets."""
    noise_views: tuple[View, ...] = ()
    """Of further classifiers that learned from speech in noise: they answer as far as there is noise."""
    networks: PositiveInt = 1
    """Classifiers of each; the log posteriors of all are averaged."""
    hidden: PositiveInt = 256
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
    words: PositiveInt = 256
    """Width of the words' head."""
    dropout: float = Field(default=0.3, ge=0.0, lt=0.9)
    """Of both sides."""

    @model_validator(mode="before")
    @classmethod
    def _of_this_edition(cls, values: Any) -> Any:
        if isinstance(values, dict) and "texts" in values:
            raise ValueError("the starter's first edition, which this undertone no longer runs; train again")
        return values

    @model_validator(mode="after")
    def _names_fit(self) -> CompactConfig:
        if self.first > len(self.kinds) or bool(self.aside) != bool(self.first):
            raise ValueError("'aside' names a posterior over the 'first' of the 'kinds'")
        if not self.views:
            raise ValueError("'views' lists the view of each classifier")
        return self

    @property
    def by_statistics(self) -> bool:
        return True


class Compact(System):
    """Small heads over speech and words, and the product rule: the system of the starter."""

    cost = 2.0
    exportable = False  # a clip is refused or not by what is in it
    limit: Tensor
    """The distance from all known speech at which a clip is as likely none."""
    speech_temperature: Tensor
    strangeness: Tensor
    """The power of the distance that the speech side's temperature is multiplied by."""
    text_temperature: Tensor
    balance: Tensor
    """(2,): the weights of speech and text."""
    shift: Tensor
    """(C,): added where both modalities are present."""

    def __init__(self, config: CompactConfig, dimensions: Dimensions) -> None:
        super().__init__(config, dimensions)
        self.kinds = config.kinds or tuple(range(dimensions.classes))
        self.aside, self.first = config.aside, config.first
        self.pool = Moments("speech", dimensions)
        states = max(1, dimensions.speech_layers)
        self.judges = nn.ModuleList(
            KindClassifier(states, dimensions.speech, view, len(self.kinds), config.hidden, config.dropout)
            for view in (*config.views, *config.noise_views)
            for _ in range(config.networks)
        )
        self.quiet = len(config.views) * config.networks
        self.noise = NoiseShare(self.pool.width) if config.noise_views else None
        self.known = SpeechDistance(self.pool.width, config.axes) if config.axes else None
        words = Pooled("text", dimensions, config.words, "mean", config.dropout)
        self.words = Unimodal(words, config.words, dimensions.classes, config.dropout)
        self.weights = {"speech": 1.0, "text": 1.0}
        self.register_buffer("limit", torch.full((), 10.0))
        self.register_buffer("speech_temperature", torch.ones(()))
        self.register_buffer("strangeness", torch.zeros(()))
        self.register_buffer("text_temperature", torch.ones(()))
        self.register_buffer("balance", torch.ones(2))
        self.register_buffer("shift", torch.zeros(dimensions.classes))

    def forward(self, batch: Batch, attention: bool = False) -> Output:
        has_speech, has_text = batch.present[:, 0], batch.present[:, 1]
        kinds, distance = self.score_speech(self.pool.pooled(batch))
        words = self.words(batch, attention)
        speech = self.classes(kinds, distance) * has_speech[:, None]
        text = (words.logits / self.text_temperature).log_softmax(-1) * has_text[:, None]
        both = self.balance[0] * speech + self.balance[1] * text + self.shift
        fused = torch.where((has_speech & has_text)[:, None], both, speech + text)
        extra = {"kinds": kinds, "words": words.logits, "present": batch.present}
        return Output(
            logits=fused,
            speech=speech,
            text=text,
            vectors={"fused": torch.cat([speech, text], -1)},
            attention=words.attention,
            extra=extra if distance is None else {**extra, FAR: distance},
        )

    def score_speech(self, pooled: Tensor) -> tuple[Tensor, Tensor | None]:
        """(B, kinds): mean log posteriors of the kinds; and (B,) the distance from all speech."""
        logits = torch.stack([judge(pooled).float().log_softmax(-1) for judge in self.judges])
        kinds = logits[: self.quiet].mean(0)
        if self.noise is not None:
            kinds = torch.lerp(kinds, logits[self.quiet :].mean(0), self.noise(pooled)[:, None])
        return kinds, None if self.known is None else self.known(pooled)

    def classes(self, kinds: Tensor, distance: Tensor | None) -> Tensor:
        """(B, C): log posteriors of the classes by the speech; the farther it is, the less sure."""
        if distance is None:
            return class_scores(kinds, self.kinds, self.speech_temperature)
        heat = self.speech_temperature * distance.clamp(min=0.1)[:, None] ** self.strangeness
        return class_scores(reject_nonspeech(kinds, self.kinds, distance, self.limit), self.kinds, heat)

    def terms(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        assert output.speech is not None and output.text is not None
        has_speech, has_text = batch.present[:, 0], batch.present[:, 1]
        return {
            "speech": self.criterion(output.speech, scored(batch.labels, has_speech)),
            "text": self.criterion(output.text, scored(batch.labels, has_text)),
        }

    def asides(self, output: Output) -> dict[str, Tensor]:
        """Each side before anything was fitted on validation, the posterior over the first kinds, and the
        distance from all known speech (B, 1)."""
        even = 1.0 / self.dimensions.classes
        has_speech, has_text = output.extra["present"].unbind(1)
        speech = torch.where(has_speech[:, None], class_scores(output.extra["kinds"], self.kinds).exp(), even)
        text = torch.where(has_text[:, None], output.extra["words"].softmax(-1), even)
        product = speech * text
        sides = {"speech": speech, "text": text, "fused": product / product.sum(-1, keepdim=True)}
        posteriors = {f"uncalibrated/{side}": values for side, values in sides.items()}
        if self.aside:
            posteriors[self.aside] = output.extra["kinds"][:, : self.first].softmax(-1)
        if FAR in output.extra:
            posteriors[FAR] = output.extra[FAR][:, None]
        return posteriors | super().asides(output)
