"""The tone of voice in the demo corpus: what an emotion does to it, and what else does.

A prosody is six numbers. Each is the sum of what the emotion plans, the speaker's own habit, and a jitter
from utterance to utterance. Habits in pitch, level, tempo and brightness are larger than what emotion does to
them, so that raw averages mislead; a habit in spread is small and there is none in slope: how the voice moves
within the utterance tells most.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass, fields
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

__all__ = ["HABIT", "JITTER", "SPEAKER", "STYLES", "Prosody", "draw", "habits"]


@dataclass(frozen=True, slots=True)
class Prosody:
    """A tone of voice, relative to the plain voice."""

    pitch: float
    """Semitones"""
    spread: float
    """Octaves (log2) of the size of rises and falls."""
    tempo: float
    """Octaves (log2) of words a minute."""
    level: float
    """Decibels"""
    slope: float
    """Semitones from the first word to the last."""
    tilt: float
    """Decibels of brightness above 1 kHz."""

    def __add__(self, other: Prosody) -> Prosody:
        return Prosody(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))


STYLES = {
    "angry": Prosody(pitch=1.8, spread=0.45, tempo=0.12, level=3.0, slope=-3.0, tilt=4.0),
    "happy": Prosody(pitch=2.0, spread=0.50, tempo=0.08, level=1.5, slope=3.0, tilt=1.0),
    "sad": Prosody(pitch=-1.8, spread=-0.60, tempo=-0.18, level=-3.0, slope=-1.0, tilt=-4.0),
    "neutral": Prosody(pitch=0.0, spread=0.0, tempo=0.0, level=0.0, slope=0.0, tilt=0.0),
}
"""What an emotion plans; even speech is neutral."""
JITTER = Prosody(pitch=1.0, spread=0.24, tempo=0.06, level=1.5, slope=1.5, tilt=2.0)
"""Standard deviation from utterance to utterance."""
HABIT = Prosody(pitch=2.6, spread=0.08, tempo=0.10, level=4.0, slope=0.0, tilt=4.0)
"""Standard deviation from speaker to speaker, about the voice's own pitch."""

SPEAKER = (
    "en-us+f1", "en-us+m1", "en-us+steph", "en-us+m3", "en-us+linda",
    "en-us+m7", "en-us+belinda", "en-us+robert", "en-us+aunty", "en-us+m4",
)  # fmt: skip
"""The voice of each speaker: in each session a woman's and a man's, none with an echo."""


def draw(style: str, rng: np.random.Generator) -> Prosody:
    """The prosody of one utterance, without the speaker's habit."""
    return STYLES[style] + Prosody(*(rng.normal(0.0, s) for s in astuple(JITTER)))


def habits(rng: np.random.Generator) -> list[Prosody]:
    """Each speaker's habit. Quantiles of the normal in random order: ten speakers cover the whole range."""
    from statistics import NormalDist

    count = len(SPEAKER)
    quantiles = [NormalDist().inv_cdf((i + 0.5) / count) for i in range(count)]
    columns = [[quantiles[i] * s for i in rng.permutation(count)] for s in astuple(HABIT)]
    return [Prosody(*(column[i] for column in columns)) for i in range(count)]


NAMES = tuple(field.name for field in fields(Prosody))
