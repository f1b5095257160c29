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

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from undertone import audio as sound
from undertone.audio.streaming import Resampler
from undertone.errors import ConfigError
from undertone.judging import source
from undertone.judging.clip import Audio, Channels, Model, Recording, Transcript, attached
from undertone.judging.locate import locate
from undertone.judging.plan import Course, Recognise, Steps, Update, follow, plan, remembering
from undertone.judging.settings import Segmenting
from undertone.judging.speakers import speakers_of
from undertone.types import Alignment, Prediction

if TYPE_CHECKING:
    from undertone.judging.conversation import Voice
    from undertone.judging.windows import SpeechDetector
    from undertone.judging.words import Words
    from undertone.types import Wave

__all__ = ["Predictor", "Stream", "load", "load_model"]


class Predictor:
    """Judges recordings of any length."""

    def __init__(
        self,
        model: Model,
        *,
        segmenting: Segmenting | None = None,
        words: Words | None = None,
        recognise: Recognise | None = None,
    ) -> None:
        """``recognise``: reads the words of recordings that come without."""
        self.model = model
        self.segmenting = segmenting or Segmenting()
        self._words, self._recognise = words, recognise

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
        rate: int | None = None,
        channels: Channels = None,
        speakers: str | Sequence[Voice] | None = None,
        alignment: Alignment | None = None,
        name: str | None = None,
        explain: bool = True,
        threshold: float | None = None,
        spoken: bool | None = None,
    ) -> Prediction:
        """The prediction for one recording, or for words alone.

        ``rate``: of samples that are given as an array ``(N,)`` or, with ``channels``, ``(N, C)``; None: the
        model's. ``speakers``: who speaks when, as ``--speakers`` takes it, or as voices. ``threshold``: no
        label below that confidence (None: as the model itself decides). ``spoken``: whether words without a
        recording are somebody's speech; by default they are taken as only written.
        """
        known = attached(alignment, text) if alignment and text else None
        of_speech = audio is not None if spoken is None else spoken
        words = Transcript(text, "given", known, spoken=of_speech) if text else None
        voices = speakers_of(speakers)(str(audio)) if isinstance(speakers, str) else speakers or ()
        named = name or _name(audio)
        one = Recording(named, audio, words, rate=rate, channels=channels, voices=voices)
        return self.judge(one, explain, threshold)

    def judge(
        self,
        recording: Recording,
        explain: bool = True,
        threshold: float | None = None,
        before: list[Any] | None = None,
    ) -> Prediction:
        """As ``predict``, of a recording or a stretch of one with what is known of its words.

        ``before``: for a model that judges by the turns before, what it gave for them; this one is added.
        """
        opened = source.opened(recording, self.model.rate)
        steps = plan(
            self.model,
            recording.id,
            opened.blocks,
            recording.transcript(),
            seconds=opened.seconds,
            settings=self.segmenting,
            aligner=self._words,
            explain=explain,
            threshold=threshold,
            voices=opened.voices,
            listen=self._recognise is not None,
            before=before,
        )
        return follow(steps, self.model, self._recognise)

    def stream(self, rate: int | None = None) -> Stream:
        """Feed chunks of a recording while it goes on."""
        return Stream(self.model, self.segmenting, rate=rate or self.model.rate, recognise=self._recognise)


class Stream:
    """One recording, judged while it goes on. Not shared between threads."""

    def __init__(
        self,
        model: Model,
        settings: Segmenting | None = None,
        *,
        rate: int = sound.RATE,
        detect: SpeechDetector | None = None,
        recognise: Recognise | None = None,
    ) -> None:
        self._model, self._recognise = model, recognise
        self._resample = Resampler(rate)
        self._course = Course(model, settings, detect=detect, listen=recognise is not None)
        self._before: list[Any] = []  # what a contextual model gave for the turns so far

    @property
    def seconds(self) -> float:
        """Audio received so far."""
        return self._course.received / sound.RATE

    def feed(self, samples: Wave) -> Update:
        """What these mono samples, at the stream's rate, make known."""
        return self._follow(self._course.feed(self._resample(samples)))

    def close(self) -> Update:
        """The end of the recording: what was still open."""
        rest = self._follow(self._course.feed(self._resample.close()))
        last = self._follow(self._course.close())
        return Update(rest.segments + last.segments, last.now or rest.now)

    def prediction(self, name: str = "stream") -> Prediction:
        """The whole recording's, once it is closed."""
        return self._course.prediction(name)

    def _follow(self, steps: Steps[Update]) -> Update:
        return follow(remembering(self._model, steps, self._before), self._model, self._recognise)


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
    model: str | Path | None = None,
    *,
    runtime: str | None = None,
    precision: str | None = None,
    asr: str | bool = False,
) -> Predictor:
    """A predictor from a model folder, a run (its ``final``), a shipped name, or the best at hand; its speech
    encoder in another engine or precision on request, as ``load_model`` has it. ``asr``: recognise the words
    of recordings that come without, by a recogniser's name, or (True) by the one in the box."""
    from undertone.judging.words import words_for

    ready = load_model(locate(model).path, runtime, precision)
    recognise = None
    if asr:
        from undertone.judging.asr import IN_THE_BOX, Recogniser

        recognise = Recogniser(IN_THE_BOX if asr is True else asr).transcripts
    return Predictor(ready, words=words_for(ready), recognise=recognise)
