"""The streaming API: feed chunks of audio, get the timeline's cells as they become final.

>>> import numpy as np
>>> from undertone.judging.fakes import FakeModel
>>> stream = Stream(FakeModel())
>>> update = stream.feed(np.zeros(16000, np.float32))
>>> update.segments, update.now
((), None)

A cell is final at most ``settings.latency`` seconds of audio after its end (2 s by default), plus one
detector step (32 ms) and the time the model takes; ``now`` says what the newest window sounds like.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from undertone.audio.streaming import Resampler
from undertone.judging.clips import Clip, Model
from undertone.judging.settings import Segmenting
from undertone.judging.timeline import Timeline
from undertone.judging.transcripts import Transcript, excerpt
from undertone.judging.vad import RATE, SpeechDetector
from undertone.judging.windows import Segmenter, Window
from undertone.types import Prediction, TimelineSegment

if TYPE_CHECKING:
    from undertone.types import Wave

__all__ = ["Stream", "Update", "clip_of"]


@dataclass(frozen=True)
class Update:
    """What a chunk of audio brought."""

    segments: tuple[TimelineSegment, ...]
    """Cells that became final, in order."""
    now: Prediction | None
    """The newest window's prediction; None where this chunk completed none."""


class Stream:
    """One recording, judged while it goes on. Not shared between threads."""

    def __init__(
        self,
        model: Model,
        settings: Segmenting | None = None,
        *,
        rate: int = RATE,
        detect: SpeechDetector | None = None,
        words: Transcript | None = None,
        batch: int = 8,
    ) -> None:
        self._model = model
        self._resample = Resampler(rate)
        self._segmenter = Segmenter(settings, detect)
        self._timeline = Timeline(settings)
        self._words = words
        self._batch = batch

    @property
    def seconds(self) -> float:
        """Audio received so far."""
        return self._segmenter.received / RATE

    def feed(self, samples: Wave) -> Update:
        """What these mono samples, at the stream's rate, make known."""
        return self._judge(self._segmenter.feed(self._resample(samples)))

    def close(self) -> Update:
        """The end of the recording: what was still open."""
        rest = self._segmenter.feed(self._resample.close())
        return self._judge(rest + self._segmenter.close())

    def _judge(self, windows: Sequence[Window]) -> Update:
        cells: list[TimelineSegment] = []
        now: Prediction | None = None
        for first in range(0, len(windows), self._batch):
            group = windows[first : first + self._batch]
            clips = [clip_of(window, self._words) for window in group if len(window.wave)]
            answers = iter(self._model.predict(clips) if clips else [])
            for window in group:
                now = next(answers) if len(window.wave) else now
                known = now.probabilities if now and len(window.wave) else None
                cells += self._timeline.add(window, known)
        return Update(tuple(cells), now)


def clip_of(window: Window, words: Transcript | None = None) -> Clip:
    """The window as a clip; of a transcript with word times it takes the words whose middle it hears."""
    name = f"{window.start / RATE:.3f}-{window.end / RATE:.3f}"
    if words is None or words.alignment is None:
        return Clip(name, window.wave)
    text, part = excerpt(words.alignment, words.text, window.start / RATE, window.end / RATE)
    return Clip(name, window.wave, text, words.source, part) if text else Clip(name, window.wave)
