"""What serving asks of a model: clips in, predictions out. Everything above is built on these two nouns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from undertone.types import Alignment, Prediction

if TYPE_CHECKING:
    from undertone.types import Wave

__all__ = ["Clip", "Model", "abstain", "decided_by"]


@dataclass(frozen=True)
class Clip:
    """One stretch of speech to judge, in memory: mono at the model's rate, and what is known of its words."""

    id: str
    wave: Wave | None = None
    """(N,) float32 at ``Model.rate``; None: there is only text."""
    text: str | None = None
    text_source: str | None = None
    alignment: Alignment | None = None
    """Boundaries in seconds from the start of the wave."""


class Model(Protocol):
    """A trained model as serving sees it: torch, exported graphs and ``FakeModel`` all look like this."""

    name: str
    """Who speaks: the system, a hash of the weights, the corpus and protocol it was measured by."""
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
    if not prediction.modalities:  # nothing was heard: there is nothing to overrule
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
