"""The regions of speech of one recording: their words, their predictions, and the mean of these."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any

from undertone.judging.clip import Clip, Excerpt, Model, Transcript, excerpt, share
from undertone.judging.windows import RATE
from undertone.types import Prediction, TimelineSegment, WordScore

if TYPE_CHECKING:
    from undertone.types import Wave

__all__ = ["Region", "RegionWords", "pooled"]


@dataclass
class Region:
    """A stretch of speech; times in samples of the recording."""

    start: int
    end: int
    wave: Wave
    excerpt: Excerpt | None = None
    """Its words."""
    prediction: Prediction | None = None

    @property
    def clip(self) -> Clip:
        name = f"{self.start / RATE:.3f}-{self.end / RATE:.3f}"
        return Clip(name, self.wave, self.excerpt.words if self.excerpt else None)

    @property
    def judged(self) -> Prediction:
        assert self.prediction is not None, "a region is judged before it is pooled"
        return self.prediction

    def word_scores(self) -> tuple[WordScore, ...]:
        """The words' contributions, with times in the recording and characters in the whole text."""
        if self.excerpt is None:
            return ()
        zero, first = self.excerpt.start, self.excerpt.first
        return tuple(
            replace(
                word,
                start=None if word.start is None else word.start + zero,
                end=None if word.end is None else word.end + zero,
                chars=None if word.chars is None else (word.chars[0] + first, word.chars[1] + first),
            )
            for word in self.judged.words
        )


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
) -> Prediction:
    """The recording's prediction: the mean of its regions', each second of speech counting the same.

    A model whose card names a threshold abstains below it here as elsewhere. No region means that there was
    no speech: no label, and no confidence.
    """
    if not regions:
        even = {label: 1 / len(model.labels) for label in model.labels}
        return Prediction(name, None, 0.0, even, {"fused": even}, model=model.name)
    first = regions[0].judged
    used = words if any(region.excerpt for region in regions) else None
    common: dict[str, Any] = {
        "id": name,
        "segments": tuple(cells),
        "words": tuple(score for region in regions for score in region.word_scores()),
        "text": used.text if used else None,
        "text_source": used.source if used else None,
        "shares": _shares(regions, cells),
    }
    if len(regions) == 1:
        return replace(first, **common)
    perspectives = _mean([(r.end - r.start, r.judged.perspectives) for r in regions])
    fused = perspectives["fused"]
    label = max(fused, key=fused.__getitem__)
    unsure = fused[label] < float(model.card.get("abstain", {}).get("threshold", 0.0))
    present = {side for region in regions for side in region.judged.modalities}
    return replace(
        first,
        label=None if unsure or not present else label,
        confidence=fused[label],
        probabilities=fused,
        perspectives=perspectives,
        modalities=tuple(side for side in ("speech", "text") if side in present),
        extra=_mean([(r.end - r.start, r.judged.extra) for r in regions]),
        **common,
    )


def _mean(weighted: Sequence[tuple[float, Mapping[str, Any]]]) -> dict[str, Any]:
    """The weighted mean of numbers in nested mappings; of each key over those that have it."""
    mean: dict[str, Any] = {}
    for key in dict.fromkeys(key for _, values in weighted for key in values):
        own = [(weight, values[key]) for weight, values in weighted if key in values]
        if isinstance(own[0][1], Mapping):
            mean[key] = _mean(own)
        else:
            total = sum(weight for weight, _ in own)
            mean[key] = float(sum(weight * value for weight, value in own) / total)
    return mean


def _shares(regions: Sequence[Region], cells: Sequence[TimelineSegment]) -> dict[str, float]:
    """Each label's share of the speech, by the timeline's cells or else by the regions; largest first."""
    parts = [(cell.end - cell.start, cell.probabilities) for cell in cells]
    parts = parts or [((r.end - r.start) / RATE, r.judged.probabilities) for r in regions]
    seconds: dict[str, float] = {}
    for length, probabilities in parts:
        label = max(probabilities, key=probabilities.__getitem__)
        seconds[label] = seconds.get(label, 0.0) + length
    total = sum(seconds.values())
    return {label: seconds[label] / total for label in sorted(seconds, key=seconds.__getitem__, reverse=True)}
