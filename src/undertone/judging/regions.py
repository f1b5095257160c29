"""The regions of speech of one recording: their words, their predictions, and the mean of these."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from undertone.audio.noise import levels
from undertone.judging import summary
from undertone.judging.clip import Clip, Excerpt, Model, Transcript, excerpt, least_of, share
from undertone.judging.settings import Segmenting
from undertone.judging.windows import RATE
from undertone.types import Evidence, Prediction, TimelineSegment, WordScore

if TYPE_CHECKING:
    from undertone.types import Wave

__all__ = ["Region", "RegionWords", "pooled", "sounding"]

FAINT = 25.0
"""Decibels below a region's loudest sound: what is fainter at its ends is breath, no part of a turn."""
SMOOTH = 3
"""Frames of 10 ms over which its level is taken."""


@dataclass
class Region:
    """A stretch of speech; times in samples of the recording."""

    start: int
    end: int
    wave: Wave
    excerpt: Excerpt | None = None
    """Its words."""
    prediction: Prediction | None = None
    speaker: str | None = None
    turn: tuple[float, float] | None = None
    """Start and end in seconds of the turn that it belongs to, where turns are given."""
    sound: tuple[int, int] | None = None
    """First and last (exclusive) sample of the recording that are no breath at an end; None: not known."""

    @property
    def clip(self) -> Clip:
        name = f"{self.start / RATE:.3f}-{self.end / RATE:.3f}"
        return Clip(name, self.wave, self.excerpt.words if self.excerpt else None)

    @property
    def judged(self) -> Prediction:
        assert self.prediction is not None, "a region is judged before it is pooled"
        return self.prediction

    def word_scores(self) -> Iterator[WordScore]:
        """The words' contributions, with times in the recording and characters in the whole text; words whose
        contributions were not worked out have times alone."""
        if self.excerpt is None:
            return
        zero, first = self.excerpt.start, self.excerpt.first
        for word in self.judged.words:
            yield replace(
                word,
                start=None if word.start is None else word.start + zero,
                end=None if word.end is None else word.end + zero,
                chars=None if word.chars is None else (word.chars[0] + first, word.chars[1] + first),
                speaker=self.speaker,
            )


def sounding(wave: Wave) -> tuple[int, int]:
    """First and last (exclusive) sample of a region's wave between which it is loud enough for speech.

    >>> faint, loud = np.full(3200, 0.001, np.float32), np.full(8000, 0.1, np.float32)
    >>> sounding(np.concatenate([faint, loud, faint]))  # to a frame of 10 ms
    (3040, 11360)
    """
    power = 10 ** (levels(wave, RATE) / 10)
    power = np.convolve(power, np.full(SMOOTH, 1 / SMOOTH), "same")[: len(power)]
    loud = np.flatnonzero(power >= power.max() * 10 ** (-FAINT / 10))
    frame = RATE // 100
    return int(loud[0]) * frame, min(len(wave), (int(loud[-1]) + 1) * frame)


class RegionWords:
    """Divides a transcript among the regions, none of its words left out.

    Words with times go to the region that they lie in, or to the nearest. Without times they are spread by
    their letters: over the speech, or, where ``seconds`` is given, over a recording of that length (of which
    it is not known before the end how much is speech).
    """

    def __init__(self, words: Transcript, seconds: float | None = None) -> None:
        self.words = words
        self._timed = words.alignment is not None
        self._seconds = seconds
        self._waiting: list[Region] = []
        self._at = 0.0  # seconds of the recording whose words are given out

    def take(self, ended: Sequence[Region]) -> list[Region]:
        """The regions, these or earlier ones, whose words are known now."""
        self._waiting += ended
        if not self._timed and self._seconds is None:
            return []
        ready = self._waiting[:-1]
        for region, after in pairwise(self._waiting):
            self._give(region, (region.end + after.start) / 2 / RATE)
        self._waiting = self._waiting[-1:]
        return ready

    def close(self) -> list[Region]:
        """The regions that waited, when there are no more."""
        waiting, self._waiting = self._waiting, []
        if self._timed or self._seconds is not None:
            for region in waiting:
                self._give(region, float("inf"))
        else:
            edges = [0, *accumulate(region.end - region.start for region in waiting)]
            for region, (a, b) in zip(waiting, pairwise(edges), strict=True):
                region.excerpt = share(self.words, a / edges[-1], b / edges[-1], region.start / RATE)
        return waiting

    def _give(self, region: Region, until: float) -> None:
        if self._timed:
            region.excerpt = excerpt(self.words, self._at, until, region.start / RATE)
        else:
            total = self._seconds or 1.0
            region.excerpt = share(self.words, self._at / total, until / total, region.start / RATE)
        self._at = until


def pooled(
    name: str,
    model: Model,
    regions: Sequence[Region],
    words: Transcript | None,
    cells: Sequence[TimelineSegment],
    *,
    evidence: Evidence,
    threshold: float | None = None,
    settings: Segmenting | None = None,
) -> Prediction:
    """The recording's prediction: the mean of its regions', each second of speech counting the same.

    A model whose card names a threshold abstains below it here as elsewhere. No region means that there was
    no speech: no label, and no confidence.
    """
    if not regions:
        even = {label: 1 / len(model.labels) for label in model.labels}
        return Prediction(name, None, 0.0, even, {"fused": even}, model=model.name, evidence=evidence)
    first = regions[0].judged
    used = words if any(region.excerpt for region in regions) else None
    least = least_of(model, threshold)
    parts = cells or summary.cells_of(regions, least)
    scores = tuple(score for region in regions for score in region.word_scores())
    made = summary.turns(regions, least, settings or Segmenting())
    common: dict[str, Any] = {
        "id": name,
        "segments": tuple(cells),
        "words": scores,
        "text": used.text if used else None,
        "text_source": used.source if used else None,
        "shares": summary.shares(parts),
        "turns": made,
        "speakers": summary.speakers(regions, made, parts, least),
        "moments": summary.moments(parts),
        "change": summary.change(parts),
        "evidence": replace(evidence, words=len(used.text.split()) if used else 0),
    }
    if len(regions) == 1:
        return replace(first, **common)
    perspectives = summary.mean([(r.end - r.start, r.judged.perspectives) for r in regions])
    fused = perspectives["fused"]
    label = max(fused, key=fused.__getitem__)
    unsure = fused[label] < least_of(model, None)
    present = {side for region in regions for side in region.judged.modalities}
    return replace(
        first,
        label=None if unsure or not present else label,
        confidence=fused[label],
        probabilities=fused,
        perspectives=perspectives,
        modalities=tuple(side for side in ("speech", "text") if side in present),
        extra=summary.mean([(r.end - r.start, _numbers(r.judged.extra)) for r in regions]),
        **common,
    )


def _numbers(extra: Any) -> dict[str, Any]:
    """What of it has a mean."""
    return {name: values for name, values in extra.items() if isinstance(values, dict)}
