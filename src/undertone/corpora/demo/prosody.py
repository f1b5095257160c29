"""The tone of voice in the demo corpus: the effect of the emotion, of the speaker and of chance.

A prosody is eight numbers. Each is the sum of the emotion's style, the speaker's own habit, and a jitter
from utterance to utterance. Habits in pitch, level, tempo and brightness are larger than the effect of
emotion, so that raw averages mislead; a habit in spread is small and there is none in slope: movement within
the utterance carries most of the emotion.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

__all__ = ["HABIT", "JITTER", "SPEAKER", "STYLES", "Prosody", "draw", "habits"]


@dataclass(frozen=True, slots=True)
class Prosody:
    """A tone of voice, as differences from the plain voice."""

    pitch: float
    """Semitones"""
    spread: float
    """Octaves (log2) of the size of pitch movements."""
    tempo: float
    """Octaves (log2) of words a minute."""
    level: float
    """Decibels"""
    slope: float
    """Semitones from the first word to the last."""
    tilt: float
    """Decibels of brightness above 1 kHz."""
    breath: float
    """Decibels of breathiness."""
    pause: float
    """Octaves (log2) of the silence between words."""

    def __add__(self, other: Prosody) -> Prosody:
        return Prosody(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))


STYLES = {
    "angry": Prosody(1.0, 0.7, -0.05, 5.0, -4.0, 8.0, -6.0, 0.8),
    "happy": Prosody(1.5, 0.9, 0.20, 1.5, 4.0, -1.0, 4.0, -1.5),
    "sad": Prosody(-1.5, -1.0, -0.25, -4.0, -1.0, -5.0, 12.0, 1.8),
    "neutral": Prosody(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
}
"""The prosody of each emotion; even speech is neutral."""
JITTER = Prosody(1.0, 0.4, 0.10, 2.0, 2.2, 3.0, 3.5, 0.6)
"""Standard deviations from utterance to utterance."""
HABIT = Prosody(2.6, 0.08, 0.06, 2.5, 0.0, 2.0, 2.0, 0.2)
"""Standard deviations from speaker to speaker, about the voice's own pitch."""

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
