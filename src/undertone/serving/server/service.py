"""From an upload to a prediction: decode it, then follow its plan."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar

from undertone.errors import AudioError, UndertoneError
from undertone.judging.clip import Model, Transcript
from undertone.judging.plan import Step, Steps, advance, plan
from undertone.serving.server.batching import Batches
from undertone.serving.server.body import Upload, Wanted
from undertone.serving.server.decoding import Decoders
from undertone.serving.server.examples import ExampleClip
from undertone.serving.server.listening import Listening
from undertone.serving.server.logs import Record
from undertone.serving.server.long_jobs import LongJobs
from undertone.serving.server.metrics import Metrics
from undertone.serving.server.models import DEFAULT, Load, Models, Served
from undertone.serving.server.settings import ServerSettings
from undertone.serving.server.tokens import Callers
from undertone.serving.server.turns import Turns, in_turns
from undertone.types import Prediction

if TYPE_CHECKING:
    from undertone.judging.asr import Recogniser
    from undertone.judging.words import Words
    from undertone.types import Wave

__all__ = ["Service"]

P = ParamSpec("P")
T = TypeVar("T")

HELD_SECONDS = 60.0
"""Of a batch, no more is decoded while more audio than this is in memory."""


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
        recogniser: Recogniser | None = None,
        loads: Mapping[str, Load] | None = None,
    ) -> None:
        """``loads``: what loads a model again, by its name; those beside the default are loaded now."""
        self.settings = settings
        self.tokens = Callers(settings)
        self.metrics = Metrics()
        self.examples = dict(examples or {})
        self.ready = False
        self.closing = asyncio.Event()
        """Set when the server stops: streams end."""
        self.streams = 0
        """Those that have sent their first message."""
        self.open_streams: set[object] = set()
        self.silent_streams: dict[Evictable, None] = {}
        """Those that have sent no first message, the longest first."""
        self.listening = Listening(recogniser) if recogniser is not None else None
        self._turns = Turns()
        self.models = Models(self.metrics, self._turns, settings.max_batch, loads or {})
        self.models.put(DEFAULT, model, words, batcher)
        for name, load in (loads or {}).items():
            if name != DEFAULT:
                self.models.put(name, *load())
        self._decoders = Decoders(settings, self.metrics, model.rate)
        self._decoding_many = asyncio.Semaphore(max(1, settings.decoders - 1))
        self.jobs = LongJobs(self, settings.job_folder) if settings.job_folder is not None else None
        # where plans advance, in turns: speech is detected and words are aligned without holding up the loop
        self._threads = ThreadPoolExecutor(
            settings.max_waiting + settings.max_streams + 1, thread_name_prefix="plans"
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Everything started; at the end, everything accepted is answered first."""
        await self._decoders.start()
        self.models.start()
        if self.jobs is not None:
            await self.jobs.start()
        self.ready = True
        try:
            yield
        finally:
            self.ready = False
            if self.jobs is not None:
                await self.jobs.stop()
            await self.models.stop()
            await self._decoders.stop()
            self._threads.shutdown()
            if self.listening is not None:
                self.listening.stop()

    @property
    def model(self) -> Model:
        """The default one."""
        return self.models.pick(None).model

    async def streams_ended(self) -> None:
        while self.open_streams:
            await asyncio.sleep(0.02)

    async def predict(self, wanted: Wanted, record: Record) -> Prediction:
        """The prediction for the one upload of a request; UndertoneError where it cannot be judged."""
        served, (upload, *_) = self.models.pick(wanted.model), wanted.uploads
        with served.used():
            self._note(upload, record)
            wave = await self._decoded(upload, self.settings.max_seconds, record)
            return await self.judge(served, upload.id, wave, _given(upload), wanted.explain, wanted.abstain)

    async def decoded(self, upload: Upload, record: Record) -> Wave:
        """The samples of an upload that is sound."""
        self._note(upload, record)
        wave = await self._decoded(upload, self.settings.max_seconds, record)
        assert wave is not None
        return wave

    async def predict_many(self, wanted: Wanted, record: Record) -> list[dict[str, object]]:
        """For each its prediction, or why there is none. They are decoded one after another, each when there
        is room in memory for it."""
        uploads, served = wanted.uploads, self.models.pick(wanted.model)
        answers: list[dict[str, object]] = [{}] * len(uploads)
        room = _Room(HELD_SECONDS)
        left = self.settings.max_total_seconds

        async def judge(index: int, wave: Wave | None) -> None:
            try:
                one = uploads[index]
                prediction = await self.judge(
                    served, one.id, wave, _given(one), wanted.explain, wanted.abstain
                )
                answers[index] = prediction.plain()
            except UndertoneError as error:
                answers[index] = {"id": uploads[index].id, "error": str(error)}
            finally:
                room.leave(_seconds(wave, self.model.rate))

        with served.used():
            async with asyncio.TaskGroup() as tasks:
                for index, upload in enumerate(uploads):
                    self._note(upload, record)
                    await room.wait()
                    try:
                        if upload.data is not None and left <= 0:
                            raise AudioError(
                                f"{upload.id}: the recordings are longer than the"
                                f" {self.settings.max_total_seconds:g} s allowed in one request"
                            )
                        async with self._decoding_many:
                            most = min(self.settings.max_seconds, left)
                            wave = await self._decoded(upload, most, record)
                    except UndertoneError as error:
                        answers[index] = {"id": upload.id, "error": str(error)}
                        continue
                    left -= _seconds(wave, self.model.rate)
                    room.enter(_seconds(wave, self.model.rate))
                    tasks.create_task(judge(index, wave))
                    del wave
        return answers

    def _note(self, upload: Upload, record: Record) -> None:
        record.clips += 1
        if self.settings.log_transcripts:
            record.transcript = upload.text

    async def _decoded(self, upload: Upload, most: float, record: Record) -> Wave | None:
        if upload.data is None:
            return None
        wave = await self._decoders.decode(upload.data, upload.id, most)
        record.audio += len(wave) / self.model.rate
        return wave

    async def judge(
        self,
        served: Served,
        name: str,
        wave: Wave | None,
        words: Transcript | None,
        explain: bool,
        threshold: float | None,
        progress: Callable[[float], None] | None = None,
    ) -> Prediction:
        """The prediction of samples at the model's rate; ``progress`` gets the share that was looked at."""
        abandoned = threading.Event()
        steps = plan(
            served.model,
            name,
            None if wave is None else in_turns(wave, self.model.rate, self._turns, abandoned, progress),
            words,
            seconds=None if wave is None else _seconds(wave, self.model.rate),
            settings=self.settings.segmenting,
            aligner=served.words,
            explain=explain,
            threshold=threshold,
        )
        try:
            return await self.follow(steps, served)
        finally:
            abandoned.set()

    async def follow(self, steps: Steps[T], served: Served) -> T:
        """The result of a plan; its clips wait in the queue before the model."""
        step = await self.in_background(self._advance, steps)
        while isinstance(step, Step):
            predictions = await served.batcher.predict(step.clips, step.explain)
            step = await self.in_background(self._advance, steps, predictions)
        result: T = step.result
        return result

    def _advance(self, steps: Steps[Any], predictions: list[Prediction] | None = None) -> Any:
        """A ``Step``, or what has ``result``."""
        with self._turns:
            return advance(steps, predictions)

    async def in_background(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, lambda: work(*args, **kwargs))


class Evictable(Protocol):
    """What may be ended to make room."""

    def evict(self) -> None: ...


class _Room:
    """Seconds of decoded audio that one request may hold."""

    def __init__(self, most: float) -> None:
        self._most, self._held = most, 0.0
        self._changed = asyncio.Event()

    async def wait(self) -> None:
        while self._held > self._most:
            self._changed.clear()
            await self._changed.wait()

    def enter(self, seconds: float) -> None:
        self._held += seconds

    def leave(self, seconds: float) -> None:
        self._held -= seconds
        self._changed.set()


def _given(upload: Upload) -> Transcript | None:
    return Transcript(upload.text) if upload.text else None


def _seconds(wave: Wave | None, rate: int) -> float:
    return 0.0 if wave is None else len(wave) / rate
