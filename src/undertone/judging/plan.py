"""How one recording is judged, without saying where its samples come from or who runs the model.

A plan is a generator: it yields the clips that are to be judged, is sent their predictions, and returns the
prediction of the recording. The predictor, the server, its WebSocket and the workers of a cluster all follow
the same plan, each in its own way of running a model:

    predictor       plan ─ Step(clips) ─▶ model.predict ─ predictions ─▶ plan
    server          plan ─ Step(clips) ─▶ the queue before the model (await) ─▶ plan

>>> import numpy as np
>>> from undertone.judging.fakes import FakeModel
>>> model = FakeModel()
>>> steps = plan(model, "a", [np.zeros(16000, np.float32)], None)
>>> follow(steps, model).modalities
('speech',)
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, Generic, TypeAlias, TypeVar

import numpy as np

from undertone.errors import ModelError
from undertone.judging.clip import Clip, Excerpt, Model, Transcript, abstain, excerpt
from undertone.judging.regions import Region, RegionWords, pooled
from undertone.judging.settings import Segmenting
from undertone.judging.timeline import Timeline
from undertone.judging.windows import RATE, Segmenter, SpeechDetector, Window
from undertone.types import Prediction, TimelineSegment

if TYPE_CHECKING:
    from undertone.judging.words import Words
    from undertone.types import Wave

__all__ = ["Course", "Ended", "Step", "Steps", "Update", "advance", "follow", "plan"]

T = TypeVar("T")
BATCH = 8
"""Windows that are judged in one step."""
NOTHING = np.zeros(0, np.float32)
ALIGN_UP_TO = 900.0
"""Seconds of a recording that is held whole so that words without times can be aligned."""


@dataclass(frozen=True)
class Step:
    """Clips to judge before the plan can go on."""

    clips: list[Clip]
    explain: bool = False


@dataclass(frozen=True)
class Ended(Generic[T]):
    """A plan's result."""

    result: T


Steps: TypeAlias = Generator[Step, list[Prediction], T]


def advance(steps: Steps[T], predictions: list[Prediction] | None = None) -> Step | Ended[T]:
    """The next step of a plan, given the predictions for the step before (None at the start)."""
    try:
        return next(steps) if predictions is None else steps.send(predictions)
    except StopIteration as end:
        return Ended(end.value)


def follow(steps: Steps[T], model: Model) -> T:
    """The result of a plan whose clips this model judges."""
    step = advance(steps)
    while isinstance(step, Step):
        step = advance(steps, model.predict(step.clips, step.explain))
    return step.result


def plan(
    model: Model,
    name: str,
    blocks: Iterable[Wave] | None,
    words: Transcript | None,
    *,
    seconds: float | None = None,
    settings: Segmenting | None = None,
    aligner: Words | None = None,
    explain: bool = True,
    threshold: float | None = None,
) -> Steps[Prediction]:
    """Judge one recording whose samples come in ``blocks`` (None: there is only text).

    Its stretches of speech are judged, not its silence: each region is one clip, and the recording's
    posterior is the mean over its regions, each second of speech counting the same. From
    ``settings.timeline_from`` seconds it gets a timeline too. ``seconds``, the recording's length, spreads
    words without times over recordings that are too long to be held.
    """
    if blocks is None and words is None:
        raise ModelError(f"{name}: neither audio nor text")
    if words is not None and "speech" not in model.sides:
        blocks = None  # it judges by the words, wherever the pauses are
    if blocks is not None and words is not None and not _read(model, words):
        steps = plan(model, name, blocks, None, settings=settings, explain=explain, threshold=threshold)
        return replace((yield from steps), text=words.text, text_source=f"{words.source}, not judged")
    if blocks is None:
        (prediction,) = yield Step([Clip(name, None, words)], explain)
        return abstain(prediction, threshold)
    spread = None
    if words is not None and words.alignment is None:
        wave, rest = _held(blocks, round(ALIGN_UP_TO * model.rate))
        if rest is not None:
            spread = seconds
        elif aligner is not None:
            words = aligner.align(wave, words)
        blocks = chain([wave], rest or ())
    course = Course(model, settings, words=words, seconds=spread, explain=explain, live=False)
    for block in blocks:
        for first in range(0, len(block), 60 * RATE):
            yield from course.feed(block[first : first + 60 * RATE])
    yield from course.close()
    return abstain(course.prediction(name), threshold)


def _read(model: Model, words: Transcript) -> bool:
    """Whether the model knows the language of the words; English, where its card names none."""
    return words.language is None or words.language in model.card.get("languages", ("en",))


def _held(blocks: Iterable[Wave], most: int) -> tuple[Wave, Iterator[Wave] | None]:
    """All samples, and None; or, of more than ``most``, those so far and what gives the others."""
    remaining = iter(blocks)
    held: list[Wave] = []
    for block in remaining:
        held.append(block)
        if sum(map(len, held)) > most:
            return np.concatenate(held), remaining
    return held[0] if len(held) == 1 else np.concatenate([np.zeros(0, np.float32), *held]), None


@dataclass(frozen=True)
class Update:
    """What a block of samples brought."""

    segments: tuple[TimelineSegment, ...]
    """Cells that became final, in order."""
    now: Prediction | None
    """The newest window's prediction; None where this block completed none."""


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
    ) -> None:
        """``live``: cells are wanted at once, not only where the recording turns out to be long enough."""
        self._model, self._settings, self._explain = model, settings or Segmenting(), explain
        self._segmenter = Segmenter(self._settings, detect)
        self._timeline: Timeline | None = None
        self._words = RegionWords(words, seconds) if words is not None else None
        self._live = live
        self._waiting: list[Window] = []  # those that wait until a timeline is known to be wanted
        self._regions: list[Region] = []  # without their samples, once they are judged
        self._silence: list[Wave] | None = []  # all samples, while no speech is detected
        self._cells: list[TimelineSegment] = []

    @property
    def received(self) -> int:
        """Samples so far."""
        return self._segmenter.received

    def feed(self, samples: Wave) -> Steps[Update]:
        """What these samples (mono, at 16 kHz) make known."""
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
        if not self._regions:
            yield from self._judge_without_regions()
        return update

    def prediction(self, name: str) -> Prediction:
        """The recording's, once it is closed."""
        enough = self.received >= self._settings.timeline_from * RATE
        words = self._words.words if self._words is not None else None
        return pooled(name, self._model, self._regions, words, self._cells if enough else ())

    def _judge(self, windows: Sequence[Window]) -> Steps[Update]:
        before = len(self._cells)
        self._waiting += windows
        now: Prediction | None = None
        single: dict[int, Prediction] = {}
        if self._live or self.received >= self._settings.timeline_from * RATE:
            now, single = yield from self._judge_windows()
        ended = [
            Region(w.region, w.region_end, w.region_wave)
            for w in windows
            if w.region_end is not None and w.region_wave is not None
        ]
        for region in ended:
            if region.start in single:
                region.prediction, region.wave = single[region.start], NOTHING
        self._regions += ended
        yield from self._judge_regions(ended if self._words is None else self._words.take(ended))
        return Update(tuple(self._cells[before:]), now)

    def _judge_windows(self) -> Steps[tuple[Prediction | None, dict[int, Prediction]]]:
        """Cells of the windows that wait; the newest prediction, and those of regions that are one window."""
        now: Prediction | None = None
        single: dict[int, Prediction] = {}
        windows, self._waiting = self._waiting, []
        timeline = self._timeline = self._timeline or Timeline(self._settings)
        for first in range(0, len(windows), BATCH):
            group = windows[first : first + BATCH]
            clips = [self._clip(window) for window in group if len(window.wave)]
            predictions = iter((yield Step(clips)) if clips else [])
            for window in group:
                known = None
                if len(window.wave):
                    now = next(predictions)
                    known = now.probabilities
                    whole = (window.start, window.end) == (window.region, window.region_end)
                    if whole and self._words is None:
                        single[window.region] = now
                self._cells += timeline.add(window, known)
        return now, single

    def _clip(self, window: Window) -> Clip:
        """The window as a clip; of words with times it takes those whose middle lies in it."""
        name = f"{window.start / RATE:.3f}-{window.end / RATE:.3f}"
        if self._words is None or self._words.words.alignment is None:
            return Clip(name, window.wave)
        part = excerpt(self._words.words, window.start / RATE, window.end / RATE)
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
        region = Region(0, max(1, self.received), wave, Excerpt(words, 0.0, 0) if words else None)
        self._regions.append(region)
        yield from self._judge_regions([region])
