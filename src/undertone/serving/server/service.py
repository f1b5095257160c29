"""From an upload to a prediction: decode it, then follow its plan."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar

from undertone.errors import AudioError, UndertoneError
from undertone.judging.clip import Model, Transcript
from undertone.judging.conversation import Voice
from undertone.judging.plan import Ended, Listen, Step, Steps, advance, plan
from undertone.judging.speakers import voices_of
from undertone.serving.server.batching import Batches
from undertone.serving.server.body import Chosen, Upload, Wanted
from undertone.serving.server.decoding import Decoded, Decoders, Sound
from undertone.serving.server.examples import ExampleClip
from undertone.serving.server.listening import Listening
from undertone.serving.server.logs import Record
from undertone.serving.server.long_jobs import LongJobs
from undertone.serving.server.metrics import Metrics
from undertone.serving.server.models import DEFAULT, Load, Models, Served
from undertone.serving.server.settings import ServerSettings
from undertone.serving.server.tokens import Callers
from undertone.serving.server.tracing import Tracing, from_environment
from undertone.serving.server.turns import Turns, in_turns
from undertone.types import Prediction

if TYPE_CHECKING:
    from undertone.judging.asr import Recogniser
    from undertone.judging.clip import Channels
    from undertone.judging.words import Words

__all__ = ["NoWords", "Service"]

P = ParamSpec("P")
T = TypeVar("T")

HELD_SECONDS = 60.0
"""Of a batch, no more is decoded while more audio than this is in memory."""
MOST_AT_ONCE = 4
"""Given turns may last so many times as long as the recording, all together."""


class NoWords(UndertoneError):
    """Words are to be recognised, and the server has no recogniser."""


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
        tracing: Tracing | None = None,
    ) -> None:
        """``loads``: what loads a model again, by its name; those beside the default are loaded now."""
        self.settings = settings
        self.tokens = Callers(settings)
        self.metrics = Metrics()
        self.tracing = tracing or from_environment()
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
            await asyncio.to_thread(self._threads.shutdown)  # some may wait for what this loop brings them
            if self.listening is not None:
                self.listening.stop()
            await self.tracing.stop()

    @property
    def model(self) -> Model:
        """The default one."""
        return self.models.pick(None).model

    async def streams_ended(self) -> None:
        while self.open_streams:
            await asyncio.sleep(0.02)

    def pick(self, model: str | None, asr: bool) -> Served:
        """The model that a request names; NoSuchModel, or NoWords where it needs a recogniser in vain."""
        served = self.models.pick(model)
        if asr and self.listening is None:
            raise NoWords("asr: this server recognises no words (see --asr)")
        return served

    async def predict(self, wanted: Wanted, record: Record) -> dict[str, Any]:
        """The answer for the one upload of a request; UndertoneError where it cannot be judged."""
        chosen, (upload, *_) = wanted.chosen, wanted.uploads
        served = self.pick(chosen.model, chosen.asr)
        record.model = served.model.name
        with served.used():
            self._note(upload, record)
            decoded = await self._decoded(upload, self.settings.max_seconds, chosen.channels, record)
            return await self.answer(served, upload, decoded, chosen)

    async def decoded(self, upload: Upload, record: Record) -> Decoded:
        """The samples, mixed, of an upload that is sound."""
        self._note(upload, record)
        decoded = await self._decoded(upload, self.settings.max_seconds, "mix", record)
        assert decoded is not None
        return decoded

    async def predict_many(self, wanted: Wanted, record: Record) -> list[dict[str, object]]:
        """For each its prediction, or why there is none. They are decoded one after another, each when there
        is room in memory for it."""
        uploads, chosen = wanted.uploads, wanted.chosen
        served = self.pick(chosen.model, chosen.asr)
        record.model = served.model.name
        answers: list[dict[str, object]] = [{}] * len(uploads)
        room = _Room(HELD_SECONDS)
        left = self.settings.max_total_seconds

        async def judge(index: int, decoded: Decoded | None) -> None:
            try:
                answers[index] = await self.answer(served, uploads[index], decoded, chosen)
            except UndertoneError as error:
                answers[index] = {"id": uploads[index].id, "error": str(error)}
            finally:
                room.leave(self._held(decoded))

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
                            decoded = await self._decoded(upload, most, chosen.channels, record)
                    except UndertoneError as error:
                        answers[index] = {"id": upload.id, "error": str(error)}
                        continue
                    left -= self._held(decoded)
                    room.enter(self._held(decoded))
                    tasks.create_task(judge(index, decoded))
                    del decoded
        return answers

    def _note(self, upload: Upload, record: Record) -> None:
        record.clips += 1
        if self.settings.log_transcripts:
            record.transcript = upload.text

    async def _decoded(
        self, upload: Upload, most: float, channels: Channels, record: Record
    ) -> Decoded | None:
        if upload.data is None:
            return None
        decoded = await self._decoders.decode(upload.data, upload.id, most, channels)
        record.audio += decoded.seconds
        return decoded

    def _held(self, decoded: Decoded | None) -> float:
        """Seconds in memory, those of every channel."""
        return 0.0 if decoded is None else decoded.wave.size / self.model.rate

    async def answer(
        self,
        served: Served,
        upload: Upload,
        decoded: Sound | None,
        chosen: Chosen,
        progress: Callable[[float], None] | None = None,
    ) -> dict[str, Any]:
        """The prediction as clients get it, with what is wrong with the upload."""
        prediction = await self.judge(
            served,
            upload.id,
            decoded,
            Transcript(upload.text, spoken=decoded is not None) if upload.text else None,
            chosen.explain,
            chosen.abstain,
            voices=() if decoded is None else _voices(upload, decoded),
            listen=chosen.asr,
            progress=progress,
        )
        return {**prediction.plain(), "warnings": [] if decoded is None else list(decoded.warnings)}

    async def judge(
        self,
        served: Served,
        name: str,
        sound: Sound | None,
        words: Transcript | None,
        explain: bool,
        threshold: float | None,
        *,
        voices: Sequence[Voice] = (),
        listen: bool = False,
        progress: Callable[[float], None] | None = None,
    ) -> Prediction:
        """The prediction of samples at the model's rate, with voices ``(N, C)``; ``listen``: words that are
        not given are recognised; ``progress`` gets the share that was looked at."""
        abandoned = threading.Event()
        blocks = None
        if sound is not None:
            samples = sound.seconds * self.model.rate
            blocks = in_turns(sound.pieces(), samples, self._turns, abandoned, progress)
        steps = plan(
            served.model,
            name,
            blocks,
            words,
            seconds=None if sound is None else sound.seconds,
            settings=self.settings.segmenting,
            aligner=served.words,
            explain=explain,
            threshold=threshold,
            voices=voices,
            listen=listen,
        )
        try:
            return await self.follow(steps, served)
        finally:
            abandoned.set()

    async def follow(self, steps: Steps[T], served: Served) -> T:
        """The result of a plan; its clips wait in the queue before the model, its waves before the
        recogniser."""
        step = await self.in_background(self._advance, steps)
        while not isinstance(step, Ended):
            answers: list[Any]
            if isinstance(step, Listen):
                assert self.listening is not None, "a plan that listens needs a recogniser"
                answers = await self.listening.transcripts(step.waves)
            else:
                answers = await served.batcher.predict(step.clips, step.explain)
            step = await self.in_background(self._advance, steps, answers)
        return step.result

    def _advance(self, steps: Steps[T], answers: list[Any] | None = None) -> Step | Listen | Ended[T]:
        with self._turns:
            return advance(steps, answers)

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


def _voices(upload: Upload, decoded: Sound) -> Sequence[Voice]:
    """Who speaks: each channel that is kept apart, or those who are given."""
    if decoded.channels:
        return [Voice(f"channel {number}", column) for column, number in enumerate(decoded.channels)]
    seconds = decoded.seconds
    voices = voices_of(upload.speakers)
    spoken = sum(min(t.end, seconds) - min(t.start, seconds) for v in voices for t in v.turns or ())
    if spoken > MOST_AT_ONCE * seconds:  # each turn is held in memory while it lasts
        raise AudioError(f"{upload.id}: too many speakers speak at once (over {MOST_AT_ONCE} on average)")
    return voices
