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
from typing import TYPE_CHECKING, Generic, TypeAlias, TypeVar

import numpy as np

from undertone.errors import ModelError
from undertone.judging.clip import Clip, Model, abstain
from undertone.judging.settings import Segmenting
from undertone.judging.timeline import Timeline, overall
from undertone.judging.transcripts import Transcript, excerpt
from undertone.judging.vad import RATE, SpeechDetector
from undertone.judging.windows import Segmenter, Window
from undertone.types import Prediction, TimelineSegment

if TYPE_CHECKING:
    from undertone.judging.words import Words
    from undertone.types import Wave

__all__ = ["Course", "Ended", "Step", "Steps", "Update", "advance", "follow", "plan"]

T = TypeVar("T")
BATCH = 8
"""Windows that are judged in one step."""
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
    settings: Segmenting | None = None,
    aligner: Words | None = None,
    explain: bool = True,
    threshold: float | None = None,
) -> Steps[Prediction]:
    """Judge one recording whose samples come in ``blocks`` (None: there is only text).

    Up to ``settings.whole_up_to`` seconds it is judged as one clip; from ``settings.timeline_from`` seconds
    it gets a timeline, and above ``whole_up_to`` its prediction is the mean of the timeline's cells.
    """
    if blocks is None:
        if words is None:
            raise ModelError(f"{name}: neither audio nor text")
        (prediction,) = yield Step([Clip(name, None, words)], explain)
        return abstain(prediction, threshold)
    settings = settings or Segmenting()
    alignable = words is not None and words.alignment is None and aligner is not None
    held = ALIGN_UP_TO if alignable else settings.whole_up_to
    wave, rest = _held(blocks, round(held * model.rate))
    if rest is None and words is not None and aligner is not None:
        words = aligner.align(wave, words)
    whole: Prediction | None = None
    if rest is None and len(wave) <= settings.whole_up_to * model.rate:
        (whole,) = yield Step([Clip(name, wave, words)], explain)
    course = Course(model, settings, words=words)
    if rest is not None or len(wave) >= settings.timeline_from * model.rate:
        for block in _chained(wave, rest):
            yield from course.feed(block)
        yield from course.close()
    prediction = course.prediction(name) if whole is None else replace(whole, segments=tuple(course.cells))
    return abstain(prediction, threshold)


def _held(blocks: Iterable[Wave], most: int) -> tuple[Wave, Iterator[Wave] | None]:
    """All samples, and None; or, of more than ``most``, those so far and what gives the others."""
    remaining = iter(blocks)
    held: list[Wave] = []
    for block in remaining:
        held.append(block)
        if sum(map(len, held)) > most:
            return _joined(held), remaining
    return _joined(held), None


def _joined(blocks: Sequence[Wave]) -> Wave:
    return blocks[0] if len(blocks) == 1 else np.concatenate([np.zeros(0, np.float32), *blocks])


def _chained(wave: Wave, rest: Iterator[Wave] | None) -> Iterator[Wave]:
    """All samples, a minute at a time at most."""
    for block in (wave, *(rest or ())):
        for first in range(0, len(block), 60 * RATE):
            yield block[first : first + 60 * RATE]


@dataclass(frozen=True)
class Update:
    """What a block of samples brought."""

    segments: tuple[TimelineSegment, ...]
    """Cells that became final, in order."""
    now: Prediction | None
    """The newest window's prediction; None where this block completed none."""


class Course:
    """The timeline of one recording, judged window by window while its samples come."""

    def __init__(
        self,
        model: Model,
        settings: Segmenting | None = None,
        *,
        words: Transcript | None = None,
        detect: SpeechDetector | None = None,
    ) -> None:
        self._model = model
        self._segmenter = Segmenter(settings, detect)
        self._timeline = Timeline(settings)
        self._words = words if words is not None and words.alignment is not None else None
        self.cells: list[TimelineSegment] = []
        """Those that are final."""

    @property
    def received(self) -> int:
        """Samples so far."""
        return self._segmenter.received

    def feed(self, samples: Wave) -> Steps[Update]:
        """What these samples (mono, at 16 kHz) make known."""
        return (yield from self._judge(self._segmenter.feed(samples)))

    def close(self) -> Steps[Update]:
        """The recording is over: what was still open."""
        return (yield from self._judge(self._segmenter.close()))

    def _judge(self, windows: Sequence[Window]) -> Steps[Update]:
        before = len(self.cells)
        now: Prediction | None = None
        for first in range(0, len(windows), BATCH):
            group = windows[first : first + BATCH]
            clips = [_clip(window, self._words) for window in group if len(window.wave)]
            predictions = iter((yield Step(clips)) if clips else [])
            for window in group:
                now = next(predictions) if len(window.wave) else now
                known = now.probabilities if now and len(window.wave) else None
                self.cells += self._timeline.add(window, known)
        return Update(tuple(self.cells[before:]), now)

    def prediction(self, name: str) -> Prediction:
        """The mean of the cells. No cells means that there was no speech: no label, and no confidence."""
        model, words = self._model, self._words
        if not self.cells:
            even = {label: 1 / len(model.labels) for label in model.labels}
            return Prediction(name, None, 0.0, even, {"fused": even}, model=model.name)
        mean = overall(self.cells)
        label = max(mean, key=mean.__getitem__)
        unsure = mean[label] < float(model.card.get("abstain", {}).get("threshold", 0.0))
        return Prediction(
            id=name,
            label=None if unsure else label,
            confidence=mean[label],
            probabilities=mean,
            perspectives={"fused": mean} if words else {"fused": mean, "speech": mean},
            segments=tuple(self.cells),
            model=model.name,
            modalities=("speech", "text") if words else ("speech",),
            text=words.text if words else None,
            text_source=words.source if words else None,
        )


def _clip(window: Window, words: Transcript | None) -> Clip:
    """The window as a clip; of a transcript with word times it takes the words whose middle lies in it."""
    name = f"{window.start / RATE:.3f}-{window.end / RATE:.3f}"
    if words is None or words.alignment is None:
        return Clip(name, window.wave)
    text, part = excerpt(words.alignment, words.text, window.start / RATE, window.end / RATE)
    return Clip(name, window.wave, Transcript(text, words.source, part) if text else None)
