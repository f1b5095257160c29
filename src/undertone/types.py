"""The nouns of the project: utterances, their boundaries, predictions, encoders.

Times are seconds from the start of the *utterance* unless a name says otherwise;
``Utterance.start`` and ``.end`` are seconds in the *recording*.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Wave: TypeAlias = NDArray[np.float32]

Seconds: TypeAlias = float
Tier = Literal["word", "syllable", "phone"]
TIERS: tuple[Tier, ...] = ("word", "syllable", "phone")
"""From coarse to fine; each tier's segments nest in those of the tier before it."""
DOUBT = "doubtful_alignment"
"""The key of ``Utterance.extra`` with the confidence of an alignment kept below the aligner's gate."""


@dataclass(frozen=True, slots=True)
class Segment:
    """One labelled stretch of time of a tier."""

    text: str
    start: Seconds
    end: Seconds
    score: float | None = None
    """The aligner's confidence in 0..1, None where boundaries were given."""
    chars: tuple[int, int] | None = None
    """For words: the characters ``transcript[a:b]`` that the word came from."""

    @property
    def duration(self) -> Seconds:
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Alignment:
    """Where words, syllables and phones begin and end; a tier that is not known is empty."""

    word: tuple[Segment, ...] = ()
    syllable: tuple[Segment, ...] = ()
    phone: tuple[Segment, ...] = ()

    def tier(self, name: Tier) -> tuple[Segment, ...]:
        segments: tuple[Segment, ...] = getattr(self, name)
        return segments

    @property
    def tiers(self) -> tuple[Tier, ...]:
        """The tiers that have segments."""
        return tuple(name for name in TIERS if self.tier(name))


@dataclass(frozen=True, slots=True)
class Utterance:
    """One turn of speech with its words. Only ``id`` and ``audio`` are required."""

    id: str
    audio: str
    """Path of the recording, or ``archive.tar#member`` for audio inside a shard."""
    start: Seconds | None = None
    """Start in the recording; None: from its beginning."""
    end: Seconds | None = None
    """End in the recording; None: to its end."""
    speaker: str | None = None
    session: str | None = None
    dialogue: str | None = None
    turn: int | None = None
    text: str | None = None
    text_source: str | None = None
    """``"gold"`` or the name of the recogniser that wrote the text."""
    label: str | None = None
    votes: Mapping[str, float] = field(default_factory=dict)
    """Raters' votes per label, where the corpus has them."""
    language: str | None = None
    alignment: Alignment | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Fields of one corpus only: ``scripted``, ``intensity``, ``valence`` …"""

    @property
    def duration(self) -> Seconds | None:
        """Length by the manifest's own times; None where the recording decides."""
        return None if self.end is None else self.end - (self.start or 0.0)

    @property
    def doubt(self) -> float | None:
        """The alignment's confidence where it was kept though it is below the aligner's gate, else None."""
        return None if self.alignment is None else self.extra.get(DOUBT)

    def without_alignment(self) -> Utterance:
        """The utterance without tiers, and without the mark of doubtful ones."""
        extra = {key: value for key, value in self.extra.items() if key != DOUBT}
        return replace(self, alignment=None, extra=extra)

    def without_transcript(self) -> Utterance:
        """The utterance without words and their times."""
        return replace(self.without_alignment(), text=None, text_source=None, language=None)


@dataclass(frozen=True, slots=True)
class FrameClock:
    """When a frame is: frame ``i`` is centred at ``offset + i * hop`` seconds."""

    hop: Seconds
    offset: Seconds

    def centre(self, index: int) -> Seconds:
        return self.offset + index * self.hop

    def averaged(self, count: int) -> FrameClock:
        """The clock of frames that are each the mean of ``count`` of these."""
        return FrameClock(self.hop * count, self.offset + self.hop * (count - 1) / 2)


@dataclass(frozen=True, slots=True)
class WordScore:
    """One word of a prediction: where it is and its contribution to the label."""

    text: str
    contribution: float
    start: Seconds | None = None
    end: Seconds | None = None
    chars: tuple[int, int] | None = None
    speaker: str | None = None


@dataclass(frozen=True, slots=True)
class TimelineSegment:
    """One window of a long recording."""

    start: Seconds
    end: Seconds
    label: str | None
    """None where it is too unsure for one."""
    confidence: float
    probabilities: Mapping[str, float]
    speaker: str | None = None
    dimensions: Mapping[str, float] = field(default_factory=dict)
    """Arousal, valence, dominance on the model's scales; empty (and not in ``plain``) where it has none."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What one speaker says until another speaks, or until a pause."""

    start: Seconds
    end: Seconds
    speaker: str | None
    label: str | None
    confidence: float
    probabilities: Mapping[str, float]
    text: str | None = None
    speech: Seconds = 0.0
    """How much of it is speech that was judged."""
    overlap: Seconds = 0.0
    """How much of it others speak too."""


@dataclass(frozen=True, slots=True)
class SpeakerSummary:
    """One speaker of a recording, over all of their turns."""

    label: str | None
    confidence: float
    probabilities: Mapping[str, float]
    speech: Seconds
    turns: int
    shares: Mapping[str, float]
    """Each label's share of their speech, largest first."""
    change: Mapping[str, float]
    """As ``Prediction.change``."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What an answer rests on."""

    seconds: Seconds | None = None
    """Of the recording."""
    speech: Seconds | None = None
    """Of speech that was judged."""
    words: int = 0
    snr: float | None = None
    """Decibels of the speech over what is between it; None where too little is between it."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """A model's prediction for one utterance."""

    id: str
    label: str | None
    """The most probable label, None where the model abstains (its probabilities stay)."""
    confidence: float
    probabilities: Mapping[str, float]
    perspectives: Mapping[str, Mapping[str, float]]
    """``fused``, ``speech``, ``text``: the posteriors of each, those that exist."""
    segments: tuple[TimelineSegment, ...] = ()
    words: tuple[WordScore, ...] = ()
    model: str = ""
    modalities: tuple[str, ...] = ()
    """The modalities that were present: ``speech``, ``text`` or both."""
    text: str | None = None
    text_source: str | None = None
    """``given``, ``gold``, or the name of the recogniser that wrote the text."""
    shares: Mapping[str, float] = field(default_factory=dict)
    """Each label's share of the speech time, largest first; empty where there is no speech."""
    turns: tuple[Turn, ...] = ()
    """In order of time."""
    speakers: Mapping[str, SpeakerSummary] = field(default_factory=dict)
    """Where it is known who speaks."""
    moments: tuple[TimelineSegment, ...] = ()
    """The stretches with the surest labels, the surest first; ``neutral`` comes after all others."""
    change: Mapping[str, float] = field(default_factory=dict)
    """Each label's mean probability in the last third of the speech less that in the first; empty where
    there are fewer than three stretches."""
    evidence: Evidence = Evidence()
    extra: Mapping[str, Any] = field(default_factory=dict)
    """What only some models add: ``BESIDE``, which ``plain`` has too, and ``emotions``, ``distance``,
    ``uncalibrated``, which it has not."""

    @property
    def agree(self) -> bool | None:
        """Whether speech and text alone would give the same label; None where one is missing."""
        posteriors = [self.perspectives[side] for side in ("speech", "text") if self.perspectives.get(side)]
        return None if len(posteriors) < 2 else len({max(p, key=p.__getitem__) for p in posteriors}) == 1

    @property
    def unfamiliar(self) -> bool | None:
        """Whether the speech is unlike almost all that the model learned from; None where it cannot tell."""
        far = self.extra.get("distance", {})
        return far["speech"] > far["usual"] if {"speech", "usual"} <= far.keys() else None

    @property
    def withheld(self) -> str | None:
        """Why there is no label, in words; None where there is one."""
        if self.label is not None:
            return None
        if not self.modalities:
            return "no speech" if self.text is None else "words that the model can't read"
        speech = self.evidence.speech
        if self.modalities == ("speech",) and speech is not None and speech < LITTLE_SPEECH:
            return "too little speech"
        if self.unfamiliar:
            return "unlike what the model learned from"
        first, second = sorted([*self.probabilities.values(), 0.0, 0.0], reverse=True)[:2]
        return "near tie" if first - second < NEAR_TIE else "low confidence"

    def plain(self) -> dict[str, Any]:
        """The prediction as others read it (JSON): no times of day, numbers rounded to 6 places."""
        computed = {
            "schema": SCHEMA,
            "agree": self.agree,
            "unfamiliar": self.unfamiliar,
            "withheld": self.withheld,
        }
        own = {spec.name: plain(getattr(self, spec.name)) for spec in fields(self) if spec.name != "extra"}
        beside = {name: plain(self.extra[name]) for name in BESIDE if name in self.extra}
        return {"schema": SCHEMA, "id": self.id, "label": self.label} | own | computed | beside


SCHEMA = 2
"""Of ``Prediction.plain``; 2 has turns, speakers, moments, change, evidence, and labels that may be null in
``segments``."""
BESIDE = ("dimensions", "spread", "scales", "distribution", "several")
"""What models give beside the class, where they were trained on it: arousal, valence and dominance on their
scales with the spread to be expected, the distribution of raters' votes, several emotions at once."""
LITTLE_SPEECH = 0.5
"""Seconds of speech below which that is why there is no label."""
NEAR_TIE = 0.1
"""A difference of the two largest probabilities below this is a near tie."""


def plain(value: Any) -> Any:
    """A value of a prediction as JSON takes it, floats rounded to 6 places."""
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, Mapping):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, tuple | list):
        return [plain(inner) for inner in value]
    if is_dataclass(value):
        own = {spec.name: getattr(value, spec.name) for spec in fields(value)}
        return {name: plain(inner) for name, inner in own.items() if name != "dimensions" or inner}
    return value


class Corpus(Protocol):
    """Reads one corpus' release from disk: one file and one class each in ``corpora/``."""

    name: str
    labels: str | None
    """The label set used unless another is chosen; None: labels as they stand."""
    notes: list[str]
    """After reading: how this copy differs from the release, a line each."""

    def read(self) -> Iterator[Utterance]:
        """Every utterance, in a stable order, audio paths absolute, labels in the corpus' own words."""


class Aligner(Protocol):
    """Finds the boundaries of one utterance's words."""

    name: str

    def align(self, wave: Wave, rate: int, text: str) -> Alignment:
        """Nested tiers for mono ``wave (N,)``; raises AlignmentError with the reason it failed."""


class SpeechEncoder(Protocol):
    """Turns a wave into frames."""

    name: str
    identity: str
    """A hash of everything that determines the numbers: weights, layer, settings, code version."""
    rate: int
    """Samples a second that ``encode`` wants."""
    dim: int
    layers: int
    """0: frames are ``(T, D)``; K > 0: ``(K, T, D)``."""
    clock: FrameClock

    def encode(self, waves: Sequence[Wave]) -> list[NDArray[np.float32]]:
        """Frames of each mono wave, the same whatever its neighbours."""


@dataclass(frozen=True, slots=True)
class EncodedText:
    """Vectors of one transcript's tokens."""

    vectors: NDArray[np.float32]
    """``(L, D)``"""
    chars: NDArray[np.int32]
    """``(L, 2)``: the characters each token covers; (0, 0) for special tokens."""


class TextEncoder(Protocol):
    """Turns a transcript into token vectors."""

    name: str
    identity: str
    dim: int

    def encode(self, texts: Sequence[str]) -> list[EncodedText]:
        """Vectors of each text, the same whatever its neighbours; an empty text has no tokens."""
