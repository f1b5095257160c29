"""Single clips into batches: while the model works on one batch, the next gathers.

There is no waiting for company. An idle model takes what is there, be it one clip, so batching costs a
lone request nothing; under load, batches grow by themselves. Clips of one batch do not change each other's
answers: that is the model's promise, and tested. Long requests hand in their windows a few at a time, so
that short ones get their turn between.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

from undertone.judging.clip import Clip, Model
from undertone.serving.server.metrics import Metrics
from undertone.types import Prediction

__all__ = ["Batcher", "Batches"]


class Batches(Protocol):
    """Where the application's clips go: the model of this process, or judges elsewhere."""

    def start(self) -> None:
        """Called in the event loop, before the first clip."""

    async def stop(self) -> None:
        """Everything handed in is answered first."""

    async def predict(self, clips: Sequence[Clip], explain: bool = False) -> list[Prediction]:
        """The model's answers, in the order of the clips."""


@dataclass
class _Job:
    clip: Clip
    explain: bool
    answer: asyncio.Future[Prediction]


class Batcher:
    """One model, one thread that runs it, one queue in front."""

    def __init__(self, model: Model, metrics: Metrics, max_batch: int) -> None:
        self._model, self._metrics, self._max_batch = model, metrics, max_batch
        self._jobs: asyncio.Queue[_Job] = asyncio.Queue()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="model")
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Everything handed in is answered first."""
        await self._jobs.join()
        if self._task is not None:
            self._task.cancel()
        self._thread.shutdown()

    async def predict(self, clips: Sequence[Clip], explain: bool = False) -> list[Prediction]:
        """The model's answers, in the order of the clips."""
        loop = asyncio.get_running_loop()
        answers: list[Prediction] = []
        for first in range(0, len(clips), self._max_batch):
            group = clips[first : first + self._max_batch]
            jobs = [_Job(clip, explain, loop.create_future()) for clip in group]
            for job in jobs:
                self._jobs.put_nowait(job)
            answers += await asyncio.gather(*(job.answer for job in jobs))
        return answers

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            jobs = await self._gather()
            wanted = [job for job in jobs if not job.answer.cancelled()]
            for explain in (False, True):
                same = [job for job in wanted if job.explain == explain]
                if same:
                    await loop.run_in_executor(self._thread, self._judge, same, explain, loop)
            for _ in jobs:
                self._jobs.task_done()

    async def _gather(self) -> list[_Job]:
        """At least one job, and those that are there already."""
        jobs = [await self._jobs.get()]
        while len(jobs) < self._max_batch and not self._jobs.empty():
            jobs.append(self._jobs.get_nowait())
        return jobs

    def _judge(self, jobs: Sequence[_Job], explain: bool, loop: asyncio.AbstractEventLoop) -> None:
        """In the model's thread. A batch that fails is tried clip by clip: one bad clip fails alone."""
        began = time.perf_counter()
        try:
            answers = self._model.predict([job.clip for job in jobs], explain)
        except Exception as error:
            if len(jobs) > 1:
                for job in jobs:
                    self._judge([job], explain, loop)
                return
            loop.call_soon_threadsafe(_fail, jobs[0], error)
            return
        self._metrics.batch(len(jobs), time.perf_counter() - began)
        loop.call_soon_threadsafe(_answer, jobs, answers)


def _answer(jobs: Sequence[_Job], answers: Sequence[Prediction]) -> None:
    for job, answer in zip(jobs, answers, strict=True):
        if not job.answer.done():
            job.answer.set_result(answer)


def _fail(job: _Job, error: Exception) -> None:
    if not job.answer.done():
        job.answer.set_exception(error)
