"""What is judged: a recording as it is given, its words, and the clips of it that a model takes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from undertone.alignment.transcript import attach
from undertone.types import Alignment, Prediction, Segment

if TYPE_CHECKING:
    from typing import Literal

    from undertone.judging.conversation import Voice
    from undertone.types import Wave

__all__ = [
    "Audio",
    "Channels",
    "Clip",
    "Excerpt",
    "Model",
    "Recording",
    "Transcript",
    "abstain",
    "attached",
    "decided_by",
    "excerpt",
    "joined",
    "least_of",
    "share",
]

Audio: TypeAlias = "str | Path | bytes | Wave"
"""A file (or ``archive.tar#member``), a sound file's bytes, or mono samples at the model's rate."""


Channels: TypeAlias = 'Literal["mix", "split"] | tuple[int, ...] | None'
"""The mean of all channels, each a speaker of its own, or those of these numbers, counted from 0."""


@dataclass(frozen=True)
class Transcript:
    """The words of one recording, and who wrote them."""

    text: str
    source: str = "given"
    alignment: Alignment | None = None
    language: str | None = None
    """As a code (``en``), where a recogniser has detected it."""
    spoken: bool = True
    """Whether somebody spoke them; else they were only written. Models may know both kinds."""


@dataclass(frozen=True)
class Recording:
    """One recording as it is given, or a stretch of one."""

    id: str
    audio: Audio | None
    words: Transcript | Callable[[], Transcript | None] | None = None
    """The transcript, or what reads it when the recording's turn comes, so that one bad file fails alone."""
    start: float | None = None
    end: float | None = None
    """Seconds of the file that are meant; None: from its beginning, to its end."""
    rate: int | None = None
    """Of samples; None: the model's."""
    channels: Channels = None
    """What of its channels is judged; None: their mean, if they do not differ."""
    voices: Sequence[Voice] | Callable[[], Sequence[Voice]] = ()
    """Who speaks when, where that is known, or what finds it."""
    label: str | None = None
    """What it is labelled, where that is known."""
    dialogue: str | None = None
    """The conversation that it is a turn of, for models that judge by the turns before."""
    turn: int | None = None
    """Its place there."""

    def transcript(self) -> Transcript | None:
        """The words, read now if they were not before."""
        return self.words() if callable(self.words) else self.words


@dataclass(frozen=True)
class Clip:
    """One stretch of speech in memory, and its words."""

    id: str
    wave: Wave | None = None
    """(N,) mono float32 at ``Model.rate``; None: there is only text."""
    words: Transcript | None = None
    """Times are seconds from the start of the wave."""
    before: tuple[Any, ...] = ()
    """What a ``contextual`` model gave for the turns before, as ``extra["turn"]`` of their predictions."""

    @property
    def text(self) -> str | None:
        return self.words.text if self.words else None


class Model(Protocol):
    """A trained model: torch, exported graphs and ``FakeModel`` all have these."""

    name: str
    """The system, a hash of the weights, the corpus and protocol it was measured by."""
    labels: tuple[str, ...]
    rate: int
    """Samples a second that ``Clip.wave`` must have."""
    sides: tuple[str, ...]
    """The modalities it judges by: ``speech``, ``text`` or both."""
    tiers: tuple[str, ...]
    """The alignment tiers the network uses; empty: word times change nothing."""
    contextual: bool
    """Whether it judges a turn by the turns before it (``Clip.before``)."""
    card: Mapping[str, Any]

    def predict(self, clips: Sequence[Clip], explain: bool = False) -> list[Prediction]:
        """One prediction for each clip, the same whatever its neighbours (to 1e-5).

        ``explain`` adds each word's contribution to the label.
        """


def abstain(prediction: Prediction, threshold: float | None) -> Prediction:
    """The prediction with a label from that confidence on, and without one below it.

    None leaves it to the model, which may have a rule of its own; a threshold overrules that rule.
    """
    if threshold is None:
        return prediction
    if prediction.confidence < threshold:
        return replace(prediction, label=None)
    if not prediction.modalities:  # no speech and no words: there is no label to restore
        return prediction
    shares = prediction.probabilities
    return replace(prediction, label=prediction.label or max(shares, key=shares.__getitem__))


def least_of(model: Model, threshold: float | None) -> float:
    """The confidence below which there is no label: the threshold, or else the model's own."""
    return float(model.card.get("abstain", {}).get("threshold", 0.0)) if threshold is None else threshold


def decided_by(prediction: Prediction) -> str:
    """In words, for a terminal: what the decision rests on."""
    if prediction.modalities == ("speech",):
        return "speech alone (no transcript)"
    if prediction.modalities == ("text",):
        return "text alone (no speech)"
    return "speech and text, " + ("which agree" if prediction.agree else "which disagree")


# ---- words and their places ---------------------------------------------------------------------------


def joined(words: Sequence[Segment]) -> tuple[str, tuple[Segment, ...]]:
    """Timed words as one text, and the words with their characters in it."""
    text, placed = "", []
    for word in words:
        start = len(text) + bool(text)
        text = f"{text} {word.text}" if text else word.text
        placed.append(replace(word, chars=(start, start + len(word.text))))
    return text, tuple(placed)


def attached(alignment: Alignment, text: str) -> Alignment:
    """The alignment with each word's characters in ``text``, where its words lack them."""
    if all(word.chars for word in alignment.word):
        return alignment
    return replace(alignment, word=tuple(attach(alignment.word, text)))


@dataclass(frozen=True)
class Excerpt:
    """The words of one stretch of a recording."""

    words: Transcript
    """With times from the start of the stretch, where the whole transcript has times."""
    start: float
    """Seconds of the recording at which the stretch begins."""
    first: int
    """Character of the whole text at which these words begin."""


def excerpt(words: Transcript, start: float, end: float, origin: float | None = None) -> Excerpt | None:
    """The words whose middle lies in ``[start, end)``, with times from ``origin`` (None: ``start``).

    The transcript has times, and its words their characters (see ``attached``).
    """
    assert words.alignment is not None
    zero = start if origin is None else origin

    def inside(segments: Sequence[Segment]) -> list[Segment]:
        return [
            replace(segment, start=max(0.0, segment.start - zero), end=max(0.0, segment.end - zero))
            for segment in segments
            if start <= (segment.start + segment.end) / 2 < end
        ]

    own = inside(words.alignment.word)
    places = [word.chars for word in own if word.chars]
    if not places:
        return None
    first, last = min(a for a, _ in places), max(b for _, b in places)
    moved = [replace(w, chars=(w.chars[0] - first, w.chars[1] - first)) if w.chars else w for w in own]
    tiers = tuple(inside(words.alignment.syllable)), tuple(inside(words.alignment.phone))
    part = replace(words, text=words.text[first:last], alignment=Alignment(tuple(moved), *tiers))
    return Excerpt(part, zero, first)


def share(words: Transcript, start: float, end: float, origin: float) -> Excerpt | None:
    """The words whose middle letter lies between two fractions of the text: for words without times."""
    places = [(match.start(), match.end()) for match in re.finditer(r"\S+", words.text)]
    letters = [b - a for a, b in places]
    total, at = sum(letters), 0
    own = []
    for place, count in zip(places, letters, strict=True):
        if start <= (at + count / 2) / total < end:
            own.append(place)
        at += count
    if not own:
        return None
    first, last = own[0][0], own[-1][1]
    return Excerpt(replace(words, text=words.text[first:last], alignment=None), origin, first)
