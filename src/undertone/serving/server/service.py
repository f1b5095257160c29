"""From an upload to a prediction: decode it, then follow its plan."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from undertone.errors import UndertoneError
from undertone.judging.clip import Model, Transcript
from undertone.judging.plan import Step, Steps, advance, plan
from undertone.serving.server.batching import Batcher, Batches
from undertone.serving.server.body import Upload
from undertone.serving.server.decoding import Decoders
from undertone.serving.server.examples import ExampleClip
from undertone.serving.server.logs import Record
from undertone.serving.server.metrics import Metrics
from undertone.serving.server.settings import ServerSettings
from undertone.types import Prediction

if TYPE_CHECKING:
    from undertone.judging.words import Words

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
        examples: Mapping[str, ExampleClip] | None = None,
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
        self.background = ThreadPoolExecutor(1, thread_name_prefix="plans")
        """Where plans advance: speech is detected and words are aligned without holding up loop or model."""

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
        """The prediction for one upload; UndertoneError where it cannot be judged."""
        words = Transcript(upload.text) if upload.text else None
        record.clips += 1
        if self.settings.log_transcripts:
            record.transcript = upload.text
        blocks, seconds = None, None
        if upload.data is not None:
            wave = await self._decoders.decode(upload.data, upload.id)
            blocks, seconds = [wave], len(wave) / self.model.rate
            record.audio += seconds
        steps = plan(
            self.model,
            upload.id,
            blocks,
            words,
            seconds=seconds,
            settings=self.settings.segmenting,
            aligner=self._words,
            explain=explain,
            threshold=threshold,
        )
        return await self.follow(steps)

    async def follow(self, steps: Steps[T]) -> T:
        """The result of a plan; its clips wait in the queue before the model."""
        step = await self.in_background(advance, steps)
        while isinstance(step, Step):
            predictions = await self.batcher.predict(step.clips, step.explain)
            step = await self.in_background(advance, steps, predictions)
        return step.result

    async def predict_one_of_many(
        self, upload: Upload, explain: bool, threshold: float | None, record: Record
    ) -> dict[str, object]:
        """For one of many: its prediction, or why there is none."""
        try:
            return (await self.predict(upload, explain, threshold, record)).plain()
        except UndertoneError as error:
            return {"id": upload.id, "error": str(error)}

    async def in_background(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self.background, lambda: work(*args, **kwargs))
