"""``compact``: small networks for each side, trained from scratch, and the product rule.

    frames ─▶ cleared, levelled, cropped ─┬─ bands ──────┬─▶ judges of one view, judges of all ─▶ kinds
                                          ├─ modulation ─┤
                                          └─ contour ────┴─▶ how far from all known speech ─▶ is it speech?
    tokens ─▶ networks that read ─▶ classes

Speech is scored in finer kinds than the classes, if the settings say so (``kinds.py``). What is no speech
pulls what is heard towards "any class alike", so that confidence is low where there is nothing to be sure
of, and words, if there are any, decide.

Same-class speech and words are independent given the class, so posteriors multiply: the fused logits are
``a log p(speech) + b log p(text) + c``, with a, b and c fitted where neither side was trained.
"""

from __future__ import annotations

from typing import TypeVar

import torch
from pydantic import Field, PositiveInt, model_validator
from torch import Tensor, nn

from undertone.models.batch import Batch
from undertone.models.compact.judges import VIEWS, Judge, Known, View
from undertone.models.compact.kinds import class_scores, estranged
from undertone.models.compact.spectrum import spectrum
from undertone.models.compact.text import TextNet
from undertone.models.example import Dimensions
from undertone.models.inputs import LayerSum
from undertone.models.system import Output, System, SystemConfig, scored

Net = TypeVar("Net", bound=nn.Module)

__all__ = ["Compact", "CompactConfig"]


class CompactConfig(SystemConfig):
    """Sizes, and what the speech side's kinds mean."""

    views: tuple[tuple[View, ...], ...] = (*((view,) for view in VIEWS), tuple(VIEWS))
    """What each judge of the speech is told: one way of summing the clip up, or several."""
    networks: PositiveInt = 1
    """Judges of each; the log posteriors of all are averaged."""
    hidden: PositiveInt = 64
    """Their width."""
    axes: int = Field(default=0, ge=0)
    """Along how many axes it is told whether a clip is like any speech; 0: it is not asked."""
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
    """Further outputs of the text side that help it learn and are not looked at afterwards."""
    dropout: float = Field(default=0.3, ge=0.0, lt=0.9)
    """Of both sides."""

    @model_validator(mode="after")
    def _names_fit(self) -> CompactConfig:
        if self.first > len(self.kinds) or bool(self.aside) != bool(self.first):
            raise ValueError("'aside' names a posterior over the 'first' of the 'kinds'")
        if not self.views or not all(self.views):
            raise ValueError("'views' holds what each judge is told: lists of views, none of them empty")
        return self


class Compact(System):
    """Small networks of its own for speech and words, and the product rule: the system of the starter."""

    cost = 5.0
    exportable = False  # each clip is cropped to what is active in it
    limit: Tensor
    """The distance from all known speech at which a clip is as likely none."""
    lean: Tensor
    """(C,): what is added to the classes by speech, for how common they are."""
    speech_temperature: Tensor
    text_temperature: Tensor
    balance: Tensor
    """(2,): how much speech and text count."""
    shift: Tensor
    """(C,): what is added where both are there."""

    def __init__(self, config: CompactConfig, dimensions: Dimensions) -> None:
        super().__init__(config, dimensions)
        self.kinds = config.kinds or tuple(range(dimensions.classes))
        self.aside, self.first = config.aside, config.first
        self.layers = LayerSum(dimensions.speech_layers) if dimensions.speech_layers else None
        self.judges = nn.ModuleList(
            Judge(dimensions.speech, views, len(self.kinds), config.hidden, config.dropout)
            for views in config.views
            for _ in range(config.networks)
        )
        self.known = Known(dimensions.speech, config.axes) if config.axes else None
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
        hears, reads = batch.present[:, 0], batch.present[:, 1]
        kinds, distance = self.hear(batch)
        words, looks = self.words(batch)
        spoken = kinds if distance is None else estranged(kinds, self.kinds, distance, self.limit)
        speech = class_scores(spoken, self.kinds, self.speech_temperature, self.lean) * hears[:, None]
        text = (words / self.text_temperature).log_softmax(-1) * reads[:, None]
        both = self.balance[0] * speech + self.balance[1] * text + self.shift
        fused = torch.where((hears & reads)[:, None], both, speech + text)
        return Output(
            logits=fused,
            speech=speech,
            text=text,
            vectors={"fused": torch.cat([speech, text], -1)},
            attention={"token": looks} if attention else {},
            extra={"kinds": kinds, "words": words, "present": batch.present},
        )

    def hear(self, batch: Batch) -> tuple[Tensor, Tensor | None]:
        """What the judges say of the kinds, (B, kinds) log posteriors; and how far (B,) from all speech."""
        frames = batch.speech if self.layers is None else self.layers(batch.speech)
        if batch.speech_gate is not None:
            frames = frames * batch.speech_gate[..., None]
        lengths = batch.speech_lengths
        if self.training or len(frames) == 1:
            return self._heard(frames, lengths)
        # a clip that is asked several questions stands in neighbouring rows: it is heard once
        known = (frames[1:] == frames[:-1]).flatten(1).all(-1) & (lengths[1:] == lengths[:-1])
        fresh = torch.cat([known.new_zeros(1), known]).logical_not()
        kinds, distance = self._heard(frames[fresh], lengths[fresh])
        back = fresh.cumsum(0) - 1
        return kinds[back], None if distance is None else distance[back]

    def _heard(self, frames: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor | None]:
        found = spectrum(frames.float(), lengths)
        figures = {view: tell(found) for view, tell in VIEWS.items()}
        said = [
            judge(torch.cat([figures[view] for view in judge.views], 1)) for judge in _of(Judge, self.judges)
        ]
        distance = None if self.known is None else self.known(torch.cat(list(figures.values()), 1))
        return _mean(said), distance

    def words(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """(B, C): log posteriors by the words, the mean over the networks; and (B, L) looks at the tokens."""
        found = [net.read(batch) for net in _of(TextNet, self.text_nets)]
        scores = [scores[:, : self.dimensions.classes] for scores, _ in found]
        return _mean(scores), torch.stack([looks for _, looks in found]).mean(0)

    def terms(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        assert output.speech is not None and output.text is not None
        hears, reads = batch.present[:, 0], batch.present[:, 1]
        return {
            "speech": self.criterion(output.speech, scored(batch.labels, hears)),
            "text": self.criterion(output.text, scored(batch.labels, reads)),
        }

    def asides(self, output: Output) -> dict[str, Tensor]:
        """Each side before anything was fitted on validation, and the posterior over the first kinds."""
        even = 1.0 / self.dimensions.classes
        hears, reads = output.extra["present"].unbind(1)
        speech = torch.where(hears[:, None], class_scores(output.extra["kinds"], self.kinds).exp(), even)
        text = torch.where(reads[:, None], output.extra["words"].softmax(-1), even)
        sides = {"speech": speech, "text": text, "fused": _normalised(speech * text)}
        found = {f"uncalibrated/{side}": values for side, values in sides.items()}
        if self.aside:
            found[self.aside] = output.extra["kinds"][:, : self.first].softmax(-1)
        return found


def _of(kind: type[Net], nets: nn.ModuleList) -> list[Net]:
    """The networks of a list, as what they are."""
    return [net for net in nets if isinstance(net, kind)]


def _mean(scores: list[Tensor]) -> Tensor:
    """The mean of the log posteriors (B, kinds)."""
    return torch.stack([one.float().log_softmax(-1) for one in scores]).mean(0)


def _normalised(shares: Tensor) -> Tensor:
    return shares / shares.sum(-1, keepdim=True)
