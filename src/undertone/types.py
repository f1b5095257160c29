"""The nouns of the project: utterances, their boundaries, predictions, encoders.

Times are seconds from the start of the *utterance* unless a name says otherwise;
``Utterance.start`` and ``.end`` are seconds in the *recording*.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
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


@dataclass(frozen=True, slots=True)
class FrameClock:
    """When a frame is: frame ``i`` is centred at ``offset + i * hop`` seconds."""

    hop: Seconds
    offset: Seconds

    def centre(self, index: int) -> Seconds:
        return self.offset + index * self.hop


@dataclass(frozen=True, slots=True)
class WordScore:
    """One word of a prediction: where it is and its contribution to the label."""

    text: str
    contribution: float
    start: Seconds | None = None
    end: Seconds | None = None
    chars: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class TimelineSegment:
    """One window of a long recording."""

    start: Seconds
    end: Seconds
    label: str
    confidence: float
    probabilities: Mapping[str, float]


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
    extra: Mapping[str, Any] = field(default_factory=dict)
    """What only some models add (``emotions``, ``distance``, ``uncalibrated``); not part of ``plain``."""

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

    def plain(self) -> dict[str, Any]:
        """The prediction as others read it (JSON): no times of day, numbers rounded to 6 places."""

        def rounded(values: Mapping[str, float]) -> dict[str, float]:
            return {key: round(value, 6) for key, value in values.items()}

        return {
            "id": self.id,
            "label": self.label,
            "confidence": round(self.confidence, 6),
            "probabilities": rounded(self.probabilities),
            "perspectives": {name: rounded(values) for name, values in self.perspectives.items()},
            "agree": self.agree,
            "unfamiliar": self.unfamiliar,
            "shares": rounded(self.shares),
            "modalities": list(self.modalities),
            "text": self.text,
            "text_source": self.text_source,
            "segments": [_plain_record(segment) for segment in self.segments],
            "words": [_plain_record(word) for word in self.words],
            "model": self.model,
        }


def _plain_record(record: TimelineSegment | WordScore) -> dict[str, Any]:
    """A record's fields as JSON takes them, floats rounded to 6 places."""

    def plain(value: Any) -> Any:
        if isinstance(value, float):
            return round(value, 6)
        if isinstance(value, Mapping):
            return {key: plain(inner) for key, inner in value.items()}
        return list(value) if isinstance(value, tuple) else value

    return {spec.name: plain(getattr(record, spec.name)) for spec in fields(record)}


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
