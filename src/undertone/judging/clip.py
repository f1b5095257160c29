"""What is judged: a recording as it is given, and the clips of it that a model takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from undertone.judging.transcripts import Transcript
from undertone.types import Prediction

if TYPE_CHECKING:
    from undertone.types import Wave

__all__ = ["Audio", "Clip", "Model", "Recording", "abstain", "decided_by"]

Audio: TypeAlias = "str | Path | bytes | Wave"
"""A file (or ``archive.tar#member``), a sound file's bytes, or mono samples at the model's rate."""


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
    tiers: tuple[str, ...]
    """The alignment tiers the network uses; empty: word times change nothing."""
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


def decided_by(prediction: Prediction) -> str:
    """In words, for a terminal: what the decision rests on."""
    if prediction.modalities == ("speech",):
        return "speech alone (no transcript)"
    if prediction.modalities == ("text",):
        return "text alone (no speech)"
    return "speech and text, " + ("which agree" if prediction.agree else "which disagree")
