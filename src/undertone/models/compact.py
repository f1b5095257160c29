"""``compact``: a small network for each side, trained from scratch, and the product rule.

Speech is scored in finer kinds than the classes, if the settings say so: two kinds may be one class (calm
is a kind of neutral), a kind may be none of the classes (a surprised voice), and one may be no emotional
speech at all (music, an empty room). The last pulls what speech says towards "any class alike", so that
confidence is low where there is nothing to be sure of, and words, if there are any, decide.

Same-class speech and words are independent given the class, so posteriors multiply: the fused logits are
``a log p(speech) + b log p(text) + c``, with a, b and c fitted where neither side was trained.
"""

from __future__ import annotations

from typing import TypeVar

import torch
from pydantic import Field, PositiveInt, model_validator
from torch import Tensor, nn

from undertone.models.batch import Batch, Dimensions
from undertone.models.compact_speech import SpeechNet, spectrum
from undertone.models.compact_text import TextNet
from undertone.models.compact_whole import Whole, figures
from undertone.models.inputs import LayerSum
from undertone.models.system import Output, System, SystemConfig, scored

Net = TypeVar("Net", bound=nn.Module)

__all__ = ["NONE", "OTHER", "Compact", "CompactConfig", "class_scores"]

NONE, OTHER = -1, -2


class CompactConfig(SystemConfig):
    """Sizes, and what the speech side's kinds mean."""

    channels: PositiveInt = 24
    """Of the first convolution over the spectrum; the last has four times as many."""
    width: PositiveInt = 128
    """Of the recurrent part of the speech side."""
    networks: PositiveInt = 1
    """Networks over the speech's spectrum, whose log posteriors are averaged."""
    wholes: int = Field(default=1, ge=0)
    """Networks over figures of the whole clip, averaged likewise."""
    hidden: PositiveInt = 64
    """Width of the networks over figures."""
    share: float = Field(default=0.5, ge=0.0, le=1.0)
    """How much the networks over figures count in what speech says, where there are any; whether it is speech
    at all, they say alone."""
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
        return self


class Compact(System):
    """Small networks of its own for speech and words, and the product rule: the system of the starter."""

    exportable = False  # each clip is cropped to what is active in it
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
        self.speech_nets = nn.ModuleList(
            SpeechNet(dimensions.speech, config.channels, config.width, len(self.kinds), config.dropout)
            for _ in range(config.networks)
        )
        self.whole_nets = nn.ModuleList(
            Whole(dimensions.speech, len(self.kinds), config.dropout, config.hidden)
            for _ in range(config.wholes)
        )
        self.share = config.share if config.wholes else 0.0
        self.text_nets = nn.ModuleList(
            TextNet(dimensions, dimensions.classes + config.emotions, config.dropout)
            for _ in range(config.texts)
        )
        self.weights = {"speech": 1.0, "text": 1.0}
        self.register_buffer("speech_temperature", torch.ones(()))
        self.register_buffer("text_temperature", torch.ones(()))
        self.register_buffer("balance", torch.ones(2))
        self.register_buffer("shift", torch.zeros(dimensions.classes))

    def forward(self, batch: Batch, attention: bool = False) -> Output:
        hears, reads = batch.present[:, 0], batch.present[:, 1]
        kinds = self.speech_kinds(batch)
        words, looks = self.words(batch)
        speech = class_scores(kinds, self.kinds, self.speech_temperature) * hears[:, None]
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

    def speech_kinds(self, batch: Batch) -> Tensor:
        """(B, kinds): log posteriors of the kinds, the weighted mean over the networks."""
        frames = batch.speech if self.layers is None else self.layers(batch.speech)
        if batch.speech_gate is not None:
            frames = frames * batch.speech_gate[..., None]
        lengths = batch.speech_lengths
        if self.training or len(frames) == 1:
            return self._kinds(frames, lengths)
        # a clip that is asked several questions stands in neighbouring rows: it is heard once
        known = (frames[1:] == frames[:-1]).flatten(1).all(-1) & (lengths[1:] == lengths[:-1])
        fresh = torch.cat([known.new_zeros(1), known]).logical_not()
        return self._kinds(frames[fresh], lengths[fresh])[fresh.cumsum(0) - 1]

    def _kinds(self, frames: Tensor, lengths: Tensor) -> Tensor:
        found = spectrum(frames, lengths)
        kinds = _mean([net.scores(found) for net in _of(SpeechNet, self.speech_nets)])
        if not self.share:
            return kinds
        told = figures(spectrum(frames, lengths, clear=True))
        whole = _mean([net.judge(told) for net in _of(Whole, self.whole_nets)])
        return _blended(kinds, whole, self.share, self.kinds)

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


def _blended(heard: Tensor, told: Tensor, share: float, belongs: tuple[int, ...]) -> Tensor:
    """Log posteriors (B, K), ``told`` counting by ``share``, and alone where it comes to no speech at all."""
    both, told = (1 - share) * heard + share * told, told.log_softmax(-1)
    nothing = torch.tensor(belongs, device=heard.device) == NONE
    if not bool(nothing.any()):
        return both
    something = told[:, ~nothing].logsumexp(-1, keepdim=True)
    spoken = both.masked_fill(nothing, -1e4).log_softmax(-1)
    return torch.where(nothing, told, spoken + something)


def _normalised(shares: Tensor) -> Tensor:
    return shares / shares.sum(-1, keepdim=True)


def class_scores(kinds: Tensor, belongs: tuple[int, ...], temperature: Tensor | float = 1.0) -> Tensor:
    """Log posterior of the classes (B, C) from scores of their kinds (B, K).

    The share of what is no emotional speech at all is dealt out to the classes evenly.
    """
    of = torch.tensor(belongs, device=kinds.device)
    count = int(of.max()) + 1
    parts = [kinds[:, of == label].logsumexp(-1) for label in range(count)]
    spoken = (torch.stack(parts, -1) / temperature).log_softmax(-1)
    if not bool((of == NONE).any()):
        return spoken
    nothing = kinds[:, of == NONE].logsumexp(-1) - kinds.logsumexp(-1)  # (B,) log probability
    something = kinds[:, of != NONE].logsumexp(-1) - kinds.logsumexp(-1)
    even = nothing[:, None] - torch.log(torch.tensor(float(count)))
    return torch.logaddexp(spoken + something[:, None], even.expand_as(spoken))
