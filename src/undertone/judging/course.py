"""One recording, or one speaker's part of it, judged region by region while its samples come.

What has to be computed elsewhere is yielded: clips to judge (``Step``) and regions whose words are to be
recognised (``Listen``); see ``plan``.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import numpy as np

from undertone.judging.clip import Clip, Excerpt, Model, Transcript, excerpt, least_of
from undertone.judging.reading import unread
from undertone.judging.regions import Region, RegionWords, pooled, sounding
from undertone.judging.settings import Segmenting
from undertone.judging.timeline import Timeline
from undertone.judging.windows import RATE, Segmenter, SpeechDetector, Window
from undertone.types import Evidence, Prediction, TimelineSegment

if TYPE_CHECKING:
    from undertone.types import Wave

__all__ = ["Course", "Listen", "Loudness", "Step", "Steps", "Update"]

T = TypeVar("T")
BATCH = 4
"""Windows that are judged in one step: more would take more memory, and no less time."""
NOTHING = np.zeros(0, np.float32)
LEAST_PAUSE = 0.5
"""Seconds between the regions, at least, from which the level of the noise is known."""


@dataclass(frozen=True)
class Step:
    """Clips to judge before the plan can go on; the answer is their predictions."""

    clips: list[Clip]
    explain: bool = False


@dataclass(frozen=True)
class Listen:
    """Waves whose words are to be recognised; the answer is a transcript of each, or None."""

    waves: list[Wave]


Steps: TypeAlias = Generator[Step | Listen, list[Any], T]


@dataclass(frozen=True)
class Update:
    """What a block of samples brought."""

    segments: tuple[TimelineSegment, ...]
    """Cells that became final, in order."""
    now: Prediction | None
    """The newest window's prediction; None where this block completed none."""


@dataclass
class Loudness:
    """Sums from which the level of speech over what is between it follows."""

    total: float = 0.0
    samples: int = 0
    speech: float = 0.0
    speech_samples: int = 0

    def add(self, wave: Wave, speech: bool) -> None:
        """Count a wave; what is speech is counted once more, as all there is."""
        energy = float(np.square(wave, dtype=np.float64).sum())
        if speech:
            self.speech, self.speech_samples = self.speech + energy, self.speech_samples + len(wave)
        else:
            self.total, self.samples = self.total + energy, self.samples + len(wave)

    @property
    def snr(self) -> float | None:
        """Decibels; None where too little is between the regions."""
        between = self.samples - self.speech_samples
        if not self.speech_samples or between < LEAST_PAUSE * RATE:
            return None
        noise = max((self.total - self.speech) / between, 1e-10)
        power = max(self.speech / self.speech_samples - noise, 1e-10)
        return float(10 * np.log10(power / noise))


class Course:
    """One recording, judged region by region while its samples come."""

    def __init__(
        self,
        model: Model,
        settings: Segmenting | None = None,
        *,
        detect: SpeechDetector | None = None,
        words: Transcript | None = None,
        seconds: float | None = None,
        explain: bool = False,
        live: bool = True,
        listen: bool = False,
        threshold: float | None = None,
        speaker: str | None = None,
        origin: int = 0,
    ) -> None:
        """``live``: cells are wanted at once, not only where the recording turns out to be long enough.
        ``listen``: each region's words are to be recognised, and its cells wait for them. ``origin``: the
        recording's sample at which this begins, where it is a stretch of one."""
        self._model, self._settings, self._explain = model, settings or Segmenting(), explain
        self._segmenter = Segmenter(self._settings, detect, origin)
        self._threshold, self._speaker, self._origin = threshold, speaker, origin
        self._timeline: Timeline | None = None
        self._words = RegionWords(words, seconds) if words is not None else None
        self._live, self._listen = live and not model.contextual, listen and words is None
        self._waiting: list[Window] = []  # those that wait for a timeline to be wanted, or for their words
        self._recognised: dict[int, Excerpt | None] = {}  # by a region's start, its words as recognised
        self._texts: list[Transcript] = []
        self._silence: list[Wave] | None = []  # all samples, while no speech is detected
        self.loudness = Loudness()
        self.regions: list[Region] = []
        """Without their samples, once they are judged."""
        self.cells: list[TimelineSegment] = []

    @property
    def received(self) -> int:
        """Samples so far."""
        return self._segmenter.received - self._origin

    def feed(self, samples: Wave) -> Steps[Update]:
        """What these samples (mono, at 16 kHz) make known."""
        self.loudness.add(samples, speech=False)
        windows = self._segmenter.feed(samples)
        if windows or self.received > self._settings.whole_up_to * RATE:
            self._silence = None
        if self._silence is not None:
            self._silence.append(samples)
        return (yield from self._judge(windows))

    def close(self) -> Steps[Update]:
        """The recording is over: what was still open."""
        update = yield from self._judge(self._segmenter.close())
        if self._words is not None:
            yield from self._judge_regions(self._words.close())
        if not self.regions:
            yield from self._judge_without_regions()
        return update

    def prediction(self, name: str) -> Prediction:
        """The recording's, once it is closed."""
        spoken = sum(region.end - region.start for region in self.regions) / RATE
        return pooled(
            name,
            self._model,
            self.regions,
            self.transcript,
            self.cells if self.long else (),
            evidence=Evidence(self.received / RATE, spoken, snr=self.loudness.snr),
            threshold=self._threshold,
            settings=self._settings,
        )

    @property
    def long(self) -> bool:
        """Whether it is long enough for a timeline."""
        return not self._model.contextual and self.received >= self._settings.timeline_from * RATE

    @property
    def transcript(self) -> Transcript | None:
        """All words: as they were given, or as they were recognised."""
        if self._words is not None:
            return self._words.words
        if not self._texts:
            return None
        return Transcript(" ".join(words.text for words in self._texts), self._texts[0].source)

    def _judge(self, windows: Sequence[Window]) -> Steps[Update]:
        before = len(self.cells)
        ended = [
            _region(w.region, w.region_end, w.region_wave, self._speaker)
            for w in windows
            if w.region_end is not None and w.region_wave is not None
        ]
        for region in ended:
            self.loudness.add(region.wave, speech=True)
        if self._listen and ended:
            yield from self._recognise(ended)
        if not self._model.contextual:  # it judges turns, and no windows of them
            self._waiting += windows
        now: Prediction | None = None
        single: dict[int, Prediction] = {}
        if self._live or self.long:
            now, single = yield from self._judge_windows()
        if self._live and self._listen and now is None and windows:
            now = yield from self._glimpse(windows)
        for region in ended:
            if region.start in single:
                region.prediction, region.wave = single[region.start], NOTHING
        self.regions += ended
        yield from self._judge_regions(ended if self._words is None else self._words.take(ended))
        return Update(tuple(self.cells[before:]), now)

    def _recognise(self, regions: Sequence[Region]) -> Steps[None]:
        transcripts = yield Listen([region.wave for region in regions])
        for region, words in zip(regions, transcripts, strict=True):
            if words is not None and not unread(self._model, words):
                before = sum(len(text.text) + 1 for text in self._texts)
                region.excerpt = Excerpt(words, region.start / RATE, before)
                self._texts.append(words)
            self._recognised[region.start] = region.excerpt

    def _judge_windows(self) -> Steps[tuple[Prediction | None, dict[int, Prediction]]]:
        """Cells of the windows that wait; the newest prediction, and those of regions that are one window."""
        now: Prediction | None = None
        single: dict[int, Prediction] = {}
        windows, self._waiting = self._waiting, []
        if self._listen:  # their words come when their region ends
            self._waiting = [window for window in windows if window.region not in self._recognised]
            windows = [window for window in windows if window.region in self._recognised]
        timeline = self._timeline = self._timeline or Timeline(
            self._settings, least_of(self._model, self._threshold), self._speaker
        )
        for first in range(0, len(windows), BATCH):
            group = windows[first : first + BATCH]
            clips = [self._clip(window) for window in group if len(window.wave)]
            predictions = iter((yield Step(clips)) if clips else [])
            for window in group:
                known, dimensions = None, None
                if len(window.wave):
                    now = next(predictions)
                    known, dimensions = now.probabilities, now.extra.get("dimensions")
                    whole = (window.start, window.end) == (window.region, window.region_end)
                    if whole and self._words is None and not self._recognised.get(window.region):
                        single[window.region] = now
                self.cells += timeline.add(window, known, dimensions)
        return now, single

    def _glimpse(self, windows: Sequence[Window]) -> Steps[Prediction | None]:
        """The newest window's prediction, by its sound alone: its words are not known yet."""
        clips = [Clip("now", window.wave) for window in windows if len(window.wave)][-1:]
        predictions = (yield Step(clips)) if clips else [None]
        newest: Prediction | None = predictions[0]
        return newest

    def _clip(self, window: Window) -> Clip:
        """The window as a clip; of words with times it takes those whose middle lies in it."""
        name = f"{window.start / RATE:.3f}-{window.end / RATE:.3f}"
        start, end = window.start / RATE, window.end / RATE
        words = self._words.words if self._words is not None else None
        recognised = self._recognised.get(window.region)
        if recognised is not None:
            words, start, end = recognised.words, start - recognised.start, end - recognised.start
        if words is None or words.alignment is None:
            return Clip(name, window.wave)
        part = excerpt(words, start, end)
        return Clip(name, window.wave, part.words if part else None)

    def _judge_regions(self, regions: Sequence[Region]) -> Steps[None]:
        waiting = [region for region in regions if region.prediction is None]
        for first in range(0, len(waiting), BATCH):
            group = waiting[first : first + BATCH]
            predictions = yield Step([region.clip for region in group], self._explain)
            for region, prediction in zip(group, predictions, strict=True):
                region.prediction = prediction
                region.wave = NOTHING

    def _judge_without_regions(self) -> Steps[None]:
        """Where no speech was detected: a short recording as it is, or else its words alone."""
        words = self._words.words if self._words is not None else None
        wave = np.concatenate(self._silence) if self._silence else NOTHING
        if not len(wave) and (words is None or "text" not in self._model.sides):
            return
        end = self._origin + max(1, self.received)
        known = Excerpt(words, self._origin / RATE, 0) if words else None
        region = Region(self._origin, end, wave, known, speaker=self._speaker)
        self.regions.append(region)
        yield from self._judge_regions([region])


def _region(start: int, end: int, wave: Wave, speaker: str | None) -> Region:
    first, last = sounding(wave)
    return Region(start, end, wave, speaker=speaker, sound=(start + first, start + last))
