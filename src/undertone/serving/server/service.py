"""From an upload to a prediction: decode, align, judge, put together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from undertone.errors import UndertoneError
from undertone.judging.clips import Clip, Model, abstain
from undertone.judging.recording import recording
from undertone.judging.stream import clip_of
from undertone.judging.timeline import Timeline
from undertone.judging.transcripts import Transcript
from undertone.judging.vad import RATE
from undertone.judging.windows import Segmenter
from undertone.serving.server.batching import Batcher, Batches
from undertone.serving.server.body import Upload
from undertone.serving.server.decoding import Decoders
from undertone.serving.server.examples import Example
from undertone.serving.server.logs import Record
from undertone.serving.server.metrics import Metrics
from undertone.serving.server.settings import ServerSettings
from undertone.types import Prediction, TimelineSegment

if TYPE_CHECKING:
    from undertone.judging.words import Words
    from undertone.types import Wave

__all__ = ["Service"]

P = ParamSpec("P")
T = TypeVar("T")


class Service:
    """One model behind its queue, with its decoders; what the routes share."""

    def __init__(
        self,
        model: Model,
        settings: ServerSettings,
        *,
        words: Words | None = None,
        examples: Mapping[str, Example] | None = None,
        batcher: Batches | None = None,
    ) -> None:
        self.model = model
        self.settings = settings
        self.metrics = Metrics()
        self.batcher: Batches = batcher or Batcher(model, self.metrics, settings.max_batch)
        self.examples = dict(examples or {})
        self.ready = False
        self.streams = 0
        self._words = words
        self._decoders = Decoders(settings, self.metrics, model.rate)
        self.background = ThreadPoolExecutor(1, thread_name_prefix="listening")
        """Where speech is found and words are aligned, so that neither holds up the loop or the model."""

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Everything started; at the end, everything accepted is answered first."""
        await self._decoders.start()
        self.batcher.start()
        self.ready = True
        try:
            yield
        finally:
            self.ready = False
            await self.batcher.stop()
            await self._decoders.stop()
            self.background.shutdown()

    async def predict(
        self, upload: Upload, explain: bool, threshold: float | None, record: Record
    ) -> Prediction:
        """The answer for one upload; UndertoneError where it cannot be judged."""
        words = Transcript(upload.text, "given") if upload.text else None
        record.clips += 1
        if self.settings.log_transcripts:
            record.transcript = upload.text
        if upload.data is None:
            clip = Clip(upload.id, None, upload.text, "given")
            (answer,) = await self.batcher.predict([clip], explain)
            return abstain(answer, threshold)
        wave = await self._decoders.decode(upload.data, upload.id)
        record.audio += len(wave) / self.model.rate
        if words is not None and self._words is not None:
            words = await self.in_background(self._words.align, wave, words)
        return abstain(await self._judge(upload.id, wave, words, explain), threshold)

    async def predict_or_say(
        self, upload: Upload, explain: bool, threshold: float | None, record: Record
    ) -> dict[str, object]:
        """For one of many: its prediction, or why there is none."""
        try:
            return (await self.predict(upload, explain, threshold, record)).plain()
        except UndertoneError as error:
            return {"id": upload.id, "error": str(error)}

    async def _judge(self, name: str, wave: Wave, words: Transcript | None, explain: bool) -> Prediction:
        settings, seconds = self.settings.segmenting, len(wave) / self.model.rate
        whole: Prediction | None = None
        cells: list[TimelineSegment] = []
        if seconds <= settings.whole_up_to:
            clip = Clip(name, wave)
            if words is not None:
                clip = Clip(name, wave, words.text, words.source, words.alignment)
            (whole,) = await self.batcher.predict([clip], explain)
        if seconds >= settings.timeline_from:
            cells = await self._cells(wave, words)
        return recording(name, self.model, whole, cells, words)

    async def _cells(self, wave: Wave, words: Transcript | None) -> list[TimelineSegment]:
        """The timeline, a minute at a time."""
        segmenter, timeline = Segmenter(self.settings.segmenting), Timeline(self.settings.segmenting)
        cells: list[TimelineSegment] = []
        for first in range(0, len(wave), 60 * RATE):
            windows = await self.in_background(segmenter.feed, wave[first : first + 60 * RATE])
            if first + 60 * RATE >= len(wave):
                windows += await self.in_background(segmenter.close)
            clips = [clip_of(window, words) for window in windows if len(window.wave)]
            answers = iter(await self.batcher.predict(clips))
            for window in windows:
                known = next(answers).probabilities if len(window.wave) else None
                cells += timeline.add(window, known)
        return cells

    async def in_background(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self.background, lambda: work(*args, **kwargs))
