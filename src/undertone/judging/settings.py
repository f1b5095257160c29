"""How long recordings are cut, and what latency follows from it."""

from __future__ import annotations

from typing import Self

from pydantic import model_validator

from undertone.config import Config

__all__ = ["Segmenting"]


class Segmenting(Config):
    """Options of the timeline; all lengths in seconds."""

    window: float = 4.0
    """Length of the stretch that the model judges at once."""
    hop: float = 2.0
    """Distance between windows, and the length of a cell of the timeline."""
    speech_on: float = 0.5
    """Probability of speech at which a region opens."""
    speech_off: float = 0.35
    """Probability below which silence is counted inside a region."""
    min_speech: float = 0.25
    """Regions shorter than this are dropped."""
    min_silence: float = 0.4
    """Silence that closes a region: a longer pause is not judged."""
    turn_gap: float = 1.5
    """Of one speaker, a pause up to this long within which nobody else speaks does not end a turn."""
    pad: float = 0.1
    """Added to both ends of a region, never into its neighbour."""
    timeline_from: float = 8.0
    """Recordings at least this long get a timeline."""
    region_up_to: float = 30.0
    """Longest region: speech without a pause is cut there. A region is judged as one clip."""
    whole_up_to: float = 60.0
    """Where no speech is detected, a recording up to this long is judged as it is: the model may have a
    rule of its own for what is no speech. A longer one gets no label."""

    @model_validator(mode="after")
    def _hold_together(self) -> Self:
        if self.hop <= 0 or self.window < 1.5 * self.hop:
            raise ValueError("window must be at least 1.5 x hop, so that cells can become final")
        if not 0 <= self.pad <= self.min_silence / 2:
            raise ValueError("pad must be at most half of min_silence, so that regions cannot overlap")
        if not 0 < self.speech_off <= self.speech_on < 1:
            raise ValueError("speech_off must not be above speech_on")
        if self.region_up_to < self.window:
            raise ValueError("region_up_to must not be below window: a region that short is one window")
        return self

    @property
    def latency(self) -> float:
        """Seconds of audio, at most, from the end of a cell until it is final (one detector step more)."""
        return max(self.window - self.hop, self.min_silence)
