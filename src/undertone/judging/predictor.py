"""``undertone.load``: a model in hand, for one recording or a million.

>>> from undertone.judging.fakes import FakeModel
>>> import numpy as np
>>> model = Predictor(FakeModel())
>>> model.predict(np.zeros(16000, np.float32), text="I am HAPPY!").modalities
('speech', 'text')
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from undertone.errors import AudioError, ModelError
from undertone.judging.clips import Clip, Model, abstain
from undertone.judging.locate import locate
from undertone.judging.recording import recording
from undertone.judging.settings import Segmenting
from undertone.judging.stream import Stream
from undertone.judging.transcripts import Transcript, attached
from undertone.types import Alignment, Prediction, TimelineSegment

if TYPE_CHECKING:
    from undertone.judging.words import Words
    from undertone.types import Wave

__all__ = ["Audio", "Item", "Predictor", "load", "load_model"]

Audio: TypeAlias = "str | Path | bytes | Wave"
"""A file (or ``archive.tar#member``), a sound file's bytes, or mono samples at the model's rate."""


@dataclass(frozen=True)
class Item:
    """One recording to judge."""

    id: str
    audio: Audio | None
    words: Transcript | None = None
    start: float | None = None
    end: float | None = None


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
        """What the model says of one recording; ``threshold``: no label below that confidence (None: as the
        model itself decides)."""
        known = attached(alignment, text) if alignment and text else None
        words = Transcript(text, "given", known) if text else None
        return self.judge(Item(name or _name(audio), audio, words), explain, threshold)

    def judge(self, item: Item, explain: bool = True, threshold: float | None = None) -> Prediction:
        """As ``predict``, of an item: a stretch of a recording with what is known of its words."""
        if item.audio is None and item.words is None:
            raise ModelError(f"{item.id}: neither audio nor text")
        wave = None
        if not self._is_long(item.audio) or item.start is not None or item.end is not None:
            wave = self._wave(item)
        if wave is None and item.audio is not None:
            return abstain(self._long(item, _blocks(item.audio, self.model.rate)), threshold)
        if wave is not None and len(wave) > self.segmenting.whole_up_to * self.model.rate:
            return abstain(self._long(item, [wave]), threshold)
        words = self._timed(wave, item.words)
        (whole,) = self.model.predict([_clip(item.id, wave, words)], explain)
        cells: list[TimelineSegment] = []
        if wave is not None and len(wave) >= self.segmenting.timeline_from * self.model.rate:
            cells = self._cells([wave], words)
        return abstain(recording(item.id, self.model, whole, cells, words), threshold)

    def judge_many(
        self, items: Iterable[Item], explain: bool = True, threshold: float | None = None
    ) -> Iterator[Prediction | tuple[Item, Exception]]:
        """One answer an item, in order; an item that cannot be judged comes back with its error."""
        from undertone.errors import UndertoneError

        for item in items:
            try:
                yield self.judge(item, explain, threshold)
            except UndertoneError as error:
                yield item, error

    def stream(self, rate: int | None = None) -> Stream:
        """Feed chunks of a recording while it goes on; see ``segmenting.stream``."""
        return Stream(self.model, self.segmenting, rate=rate or self.model.rate)

    # ---- sound ---------------------------------------------------------------------------------------

    def _is_long(self, sound: Audio | None) -> bool:
        """Whether a file is too long to be held whole."""
        from undertone import audio

        if not isinstance(sound, str | Path):
            return False
        return audio.info(sound).duration > self.segmenting.whole_up_to

    def _long(self, item: Item, blocks: Iterable[Wave]) -> Prediction:
        """A recording that is not judged as a whole: the mean of its cells."""
        return recording(item.id, self.model, None, self._cells(blocks, item.words), item.words)

    def _wave(self, item: Item) -> Wave | None:
        """Mono samples of a short recording."""
        from undertone import audio

        sound = item.audio
        if sound is None:
            return None
        if isinstance(sound, np.ndarray):
            return _checked(sound, item.id)
        if isinstance(sound, bytes):
            return audio.decode(sound, item.id, item.start, item.end, rate=self.model.rate)
        return audio.load(sound, item.start, item.end, rate=self.model.rate)

    def _timed(self, wave: Wave | None, words: Transcript | None) -> Transcript | None:
        if wave is None or words is None or self._words is None:
            return words
        return self._words.align(wave, words)

    def _cells(self, blocks: Iterable[Wave], words: Transcript | None) -> list[TimelineSegment]:
        stream = Stream(self.model, self.segmenting, words=words)
        cells = [cell for block in blocks for cell in stream.feed(block).segments]
        return cells + list(stream.close().segments)


def _blocks(sound: Audio, rate: int) -> Iterable[Wave]:
    """A long file piece by piece."""
    from undertone.audio.streaming import blocks

    assert isinstance(sound, str | Path)
    return blocks(sound, rate=rate)


def _clip(name: str, wave: Wave | None, words: Transcript | None) -> Clip:
    if words is None:
        return Clip(name, wave)
    return Clip(name, wave, words.text, words.source, words.alignment)


def _checked(wave: Wave, name: str) -> Wave:
    if wave.ndim != 1 or not len(wave):
        raise AudioError(f"{name}: a wave of shape {wave.shape}: mono samples (N,) are wanted")
    if not np.isfinite(wave).all():
        raise AudioError(f"{name}: holds samples that are not numbers (NaN or infinity)")
    return np.ascontiguousarray(wave, np.float32)


def _name(audio: Audio | None) -> str:
    return Path(audio).name if isinstance(audio, str | Path) else "clip"


def load_model(path: Path) -> Model:
    """The model in a folder, trained or exported, ready to judge clips."""
    if (path / "model.safetensors").is_file():
        from undertone.judging.networks import load_torch

        return load_torch(path)
    from undertone.judging.exported import load_exported

    return load_exported(path)


def load(model: str | Path | None = None) -> Predictor:
    """A predictor from a model folder, a run (its ``final``), a shipped name, or the best at hand."""
    from undertone.judging.words import words_for

    ready = load_model(locate(model).path)
    return Predictor(ready, words=words_for(ready))
