"""``undertone.load``: a model in hand, for one recording or a million.

>>> from undertone.judging.fakes import FakeModel
>>> import numpy as np
>>> model = Predictor(FakeModel())
>>> model.predict(np.zeros(16000, np.float32), text="I am HAPPY!").modalities
('speech', 'text')

A stream is fed chunks of audio and gives the timeline's cells as they become final:

>>> stream = model.stream()
>>> update = stream.feed(np.zeros(16000, np.float32))
>>> update.segments, update.now
((), None)

A cell is final at most ``segmenting.latency`` seconds of audio after its end (2 s by default), plus one
detector step (32 ms) and the time the model takes; ``now`` is the newest window's prediction.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from undertone import audio as sound
from undertone.audio.streaming import Resampler, blocks
from undertone.errors import AudioError, ConfigError
from undertone.judging.clip import Audio, Model, Recording, Transcript, attached
from undertone.judging.locate import locate
from undertone.judging.plan import Course, Update, follow, plan
from undertone.judging.settings import Segmenting
from undertone.types import Alignment, Prediction

if TYPE_CHECKING:
    from undertone.judging.windows import SpeechDetector
    from undertone.judging.words import Words
    from undertone.types import Wave

__all__ = ["Predictor", "Stream", "load", "load_model"]

HELD_UP_TO = 60.0
"""Seconds; longer files are read piece by piece."""


class Predictor:
    """Judges recordings of any length."""

    def __init__(
        self, model: Model, *, segmenting: Segmenting | None = None, words: Words | None = None
    ) -> None:
        self.model = model
        self.segmenting = segmenting or Segmenting()
        self._words = words

    @property
    def labels(self) -> tuple[str, ...]:
        return self.model.labels

    @property
    def card(self) -> dict[str, Any]:
        return dict(self.model.card)

    def predict(
        self,
        audio: Audio | None,
        text: str | None = None,
        *,
        alignment: Alignment | None = None,
        name: str | None = None,
        explain: bool = True,
        threshold: float | None = None,
    ) -> Prediction:
        """The prediction for one recording; ``threshold``: no label below that confidence (None: as the
        model itself decides)."""
        known = attached(alignment, text) if alignment and text else None
        words = Transcript(text, "given", known) if text else None
        return self.judge(Recording(name or _name(audio), audio, words), explain, threshold)

    def judge(self, recording: Recording, explain: bool = True, threshold: float | None = None) -> Prediction:
        """As ``predict``, of a recording or a stretch of one with what is known of its words."""
        samples, seconds = _blocks(recording, self.model.rate)
        steps = plan(
            self.model,
            recording.id,
            samples,
            recording.transcript(),
            seconds=seconds,
            settings=self.segmenting,
            aligner=self._words,
            explain=explain,
            threshold=threshold,
        )
        return follow(steps, self.model)

    def stream(self, rate: int | None = None) -> Stream:
        """Feed chunks of a recording while it goes on."""
        return Stream(self.model, self.segmenting, rate=rate or self.model.rate)


class Stream:
    """One recording, judged while it goes on. Not shared between threads."""

    def __init__(
        self,
        model: Model,
        settings: Segmenting | None = None,
        *,
        rate: int = sound.RATE,
        detect: SpeechDetector | None = None,
    ) -> None:
        self._model = model
        self._resample = Resampler(rate)
        self._course = Course(model, settings, detect=detect)

    @property
    def seconds(self) -> float:
        """Audio received so far."""
        return self._course.received / sound.RATE

    def feed(self, samples: Wave) -> Update:
        """What these mono samples, at the stream's rate, make known."""
        return follow(self._course.feed(self._resample(samples)), self._model)

    def close(self) -> Update:
        """The end of the recording: what was still open."""
        rest = follow(self._course.feed(self._resample.close()), self._model)
        last = follow(self._course.close(), self._model)
        return Update(rest.segments + last.segments, last.now or rest.now)

    def prediction(self, name: str = "stream") -> Prediction:
        """The whole recording's, once it is closed."""
        return self._course.prediction(name)


def _blocks(recording: Recording, rate: int) -> tuple[Iterable[Wave] | None, float | None]:
    """Mono samples, all at once or, of a long file, piece by piece, and its length; None and None where
    there is only text."""
    given, start, end = recording.audio, recording.start, recording.end
    if given is None:
        return None, None
    if isinstance(given, str | Path) and start is None and end is None:
        seconds = sound.info(given).duration
        if seconds > HELD_UP_TO:
            return blocks(given, rate=rate), seconds
    if isinstance(given, np.ndarray):
        wave = _checked(given, recording.id)
    elif isinstance(given, bytes):
        wave = sound.decode(given, recording.id, start, end, rate=rate)
    else:
        wave = sound.load(given, start, end, rate=rate)
    return [wave], len(wave) / rate


def _checked(wave: Wave, name: str) -> Wave:
    if wave.ndim != 1 or not len(wave):
        raise AudioError(f"{name}: a wave of shape {wave.shape}: mono samples (N,) are wanted")
    if not np.isfinite(wave).all():
        raise AudioError(f"{name}: holds samples that are not numbers (NaN or infinity)")
    return np.ascontiguousarray(wave, np.float32)


def _name(audio: Audio | None) -> str:
    return Path(audio).name if isinstance(audio, str | Path) else "clip"


def load_model(path: Path, runtime: str | None = None, precision: str | None = None) -> Model:
    """The model in a folder, trained or exported, ready to judge clips; its speech encoder in that engine
    (``openvino``, ``onnx``) and precision, where the model decides as with its own: see ``engine``."""
    other = runtime is not None or precision is not None
    if (path / "model.safetensors").is_file():
        if other:
            from undertone.judging.engine import load_in

            return load_in(path, runtime, precision)
        from undertone.judging.networks import load_torch

        return load_torch(path)
    if other:
        raise ConfigError(
            f"{path}: an exported model has its engine already; leave out runtime and precision"
        )
    from undertone.judging.exported import load_exported

    return load_exported(path)


def load(
    model: str | Path | None = None, *, runtime: str | None = None, precision: str | None = None
) -> Predictor:
    """A predictor from a model folder, a run (its ``final``), a shipped name, or the best at hand; its speech
    encoder in another engine or precision on request, as ``load_model`` has it."""
    from undertone.judging.words import words_for

    ready = load_model(locate(model).path, runtime, precision)
    return Predictor(ready, words=words_for(ready))
