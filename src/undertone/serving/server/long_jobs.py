"""Long recordings, judged while nobody waits: each is a folder on disk, taken up again after a restart.

    <folder>/<id>/job.json      what is wanted, who wants it, and how far it is; always written whole
    <folder>/<id>/sound         the recording, as it came or was fetched
    <folder>/<id>/result.json   the prediction: once it is there, the job is done, and never done again

A job's folder gets its name when the upload is complete, so what has a name is a whole job: none is lost
once it was accepted. One server at a time uses the folder; the system frees it when that server is killed.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import secrets
import shutil
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from undertone.errors import ConfigError, ModelError, UndertoneError
from undertone.files import write_json
from undertone.judging.speakers import Row
from undertone.serving.server.body import Upload, chosen
from undertone.serving.server.decoding import Decoders, Overloaded
from undertone.serving.server.fetching import fetch, notify
from undertone.serving.server.schemas import Options

if TYPE_CHECKING:
    from undertone.serving.server.service import Service

__all__ = ["LongJob", "LongJobs", "TooManyJobs"]

log = logging.getLogger(__name__)

NOTICES = (1.0, 10.0, 60.0)
"""Seconds before a webhook that did not answer is tried again."""
SWEEP_SECONDS = 60.0
MOST_TRIES = 3
"""A job that was begun so often, and ended with its server or its decoder each time, is not begun again."""
OVER = ("done", "failed")


class TooManyJobs(UndertoneError):
    """As many wait as may."""


@dataclass(frozen=True)
class LongJob:
    """One recording to judge, as its file has it."""

    id: str
    name: str
    """Its id in the prediction."""
    caller: str | None
    created: float
    text: str | None = None
    explain: bool = True
    abstain: float | None = None
    url: str | None = None
    webhook: str | None = None
    model: str | None = None
    channels: str | None = None
    asr: bool = False
    speakers: Sequence[Row] = ()
    trace: str | None = None
    """The ``traceparent`` of the request that handed it in."""
    status: str = "waiting"
    """waiting, running, done or failed."""
    ended: float | None = None
    error: str | None = None
    tries: int = 0
    notified: bool = False


class LongJobs:
    """The jobs of one server, done one after another."""

    def __init__(self, service: Service, folder: Path) -> None:
        self._service, self._settings, self._folder = service, service.settings, folder
        self._jobs: dict[str, LongJob] = {}
        self._progress: dict[str, float] = {}
        self._new = asyncio.Event()
        self._running: asyncio.Task[None] | None = None
        self._running_id = ""
        self._tasks: list[asyncio.Task[None]] = []
        self._notices: set[asyncio.Task[None]] = set()
        self._lock: Any = None
        limits = {
            "decoders": 1,
            "decode_seconds": self._settings.job_decode_seconds,
            "decode_memory": self._settings.job_decode_memory,
        }
        self._decoders = Decoders(
            self._settings.model_copy(update=limits), service.metrics, service.model.rate
        )

    async def start(self) -> None:
        """Take up what an earlier server left."""
        self._lock = _locked(self._folder)
        for path in sorted(self._folder.iterdir()):
            if path.name.startswith(".new-"):
                shutil.rmtree(path, ignore_errors=True)
            elif (path / "job.json").is_file():
                job = LongJob(**json.loads((path / "job.json").read_text(encoding="utf-8")))
                if (path / "result.json").is_file() and job.status != "done":
                    job = self._put(replace(job, status="done", ended=time.time()))
                elif job.status == "running":
                    job = self._put(replace(job, status="waiting"))
                self._jobs[job.id] = job
        await self._decoders.start()
        self._tasks = [asyncio.create_task(self._work()), asyncio.create_task(self._sweep())]
        for job in list(self._jobs.values()):
            self._tell(job)

    async def stop(self) -> None:
        """What runs is begun again by the next server."""
        for task in [*self._tasks, *self._notices, *([self._running] if self._running else [])]:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        await self._decoders.stop()
        if self._lock is not None:
            self._lock.close()

    # ---- what routes do --------------------------------------------------------------------------------

    def refuse_more(self) -> None:
        if sum(job.status not in OVER for job in self._jobs.values()) >= self._settings.max_jobs:
            raise TooManyJobs(f"{self._settings.max_jobs} jobs wait already")

    def room(self) -> Path:
        """A folder for an upload that has just begun."""
        path = self._folder / f".new-{secrets.token_hex(16)}"
        path.mkdir(mode=0o700)
        return path

    def add(self, job: LongJob, room: Path) -> None:
        """Keep a job whose upload is complete."""
        write_json(room / "job.json", asdict(job))
        _flush(room)
        room.rename(self._folder / job.id)
        _flush(self._folder)

    def accepted(self, job: LongJob) -> None:
        """Its turn comes; in the event loop."""
        self._jobs[job.id] = job
        self._new.set()

    def of(self, caller: str | None) -> list[LongJob]:
        """All jobs of this caller, the newest first."""
        mine = [job for job in self._jobs.values() if job.caller == caller]
        return sorted(mine, key=lambda job: job.created, reverse=True)

    def get(self, name: str, caller: str | None) -> LongJob | None:
        """A job of this caller."""
        job = self._jobs.get(name)
        return job if job is not None and job.caller == caller else None

    def progress(self, job: LongJob) -> float:
        """From 0 to 1."""
        return 1.0 if job.status == "done" else round(self._progress.get(job.id, 0.0), 3)

    def result(self, job: LongJob) -> bytes:
        return (self._folder / job.id / "result.json").read_bytes()

    async def remove(self, job: LongJob) -> None:
        """Cancel a job that is not over, and delete what there is of it."""
        del self._jobs[job.id]
        if self._running is not None and self._running_id == job.id:
            self._running.cancel()
            await asyncio.wait({self._running})
        await asyncio.to_thread(shutil.rmtree, self._folder / job.id, ignore_errors=True)

    # ---- doing them --------------------------------------------------------------------------------------

    async def _work(self) -> None:
        while True:
            waiting = [job for job in self._jobs.values() if job.status == "waiting"]
            if not waiting:
                self._new.clear()
                await self._new.wait()
                continue
            job = min(waiting, key=lambda one: one.created)
            self._running_id = job.id
            self._running = asyncio.create_task(self._do(job))
            await asyncio.wait({self._running})
            self._progress.pop(job.id, None)

    async def _do(self, job: LongJob) -> None:
        with self._service.tracing.job(job.trace, job=job.id, attempt=job.tries + 1) as noted:
            noted["status"] = "cancelled"
            over = await self._attempt(job, noted)
            noted |= {"status": over.status, "error": over.error}

    async def _attempt(self, job: LongJob, noted: dict[str, Any]) -> LongJob:
        """The job after it was tried once more."""
        place = self._folder / job.id
        before, job = job, self._put(replace(job, status="running", tries=job.tries + 1))
        try:
            if job.tries > MOST_TRIES:
                raise ModelError(f"it was begun {MOST_TRIES} times and never came to its end")
            prediction = await self._prediction(job, place, noted)
            await asyncio.to_thread(write_json, place / "result.json", prediction)
            over = replace(job, status="done", ended=time.time())
        except asyncio.CancelledError:  # the server stops, in good order: that is no try
            self._put(before)
            raise
        except Overloaded:
            await asyncio.sleep(1.0)
            return self._put(replace(job, status="waiting"))
        except UndertoneError as error:
            over = replace(job, status="failed", ended=time.time(), error=str(error))
        except Exception:
            log.exception("a job failed; this is a fault of the server's")
            why = "the server failed; its log has the reason"
            over = replace(job, status="failed", ended=time.time(), error=why)
        (place / "sound").unlink(missing_ok=True)
        self._tell(self._put(over))
        return over

    async def _prediction(self, job: LongJob, place: Path, noted: dict[str, Any]) -> dict[str, Any]:
        sound = place / "sound"
        if job.url is not None and not sound.is_file():
            part = place / "sound.part"
            await asyncio.to_thread(fetch, job.url, part, self._settings.max_job_bytes)
            part.rename(sound)
        options = Options(
            explain=job.explain,
            abstain=job.abstain,
            model=job.model,
            channels=job.channels,
            asr=job.asr,
        )
        wanted = chosen(options, self._settings)

        def progress(share: float) -> None:
            self._progress[job.id] = share

        served = self._service.pick(job.model, job.asr)
        noted["model"] = served.model.name
        upload = Upload(job.name, None, job.text, job.speakers)
        most = self._settings.max_job_seconds
        with served.used():
            async with self._decoders.streamed(sound, job.name, most, wanted.channels) as decoded:
                noted["audio_seconds"] = round(decoded.seconds, 3)
                return await self._service.answer(served, upload, decoded, wanted, progress)

    def _put(self, job: LongJob) -> LongJob:
        if job.id in self._jobs or not self._tasks:
            self._jobs[job.id] = job
            write_json(self._folder / job.id / "job.json", asdict(job))
        return job

    # ---- afterwards --------------------------------------------------------------------------------------

    def _tell(self, job: LongJob) -> None:
        if job.webhook is not None and job.status in OVER and not job.notified:
            task = asyncio.create_task(self._notify(job))
            self._notices.add(task)
            task.add_done_callback(self._notices.discard)

    async def _notify(self, job: LongJob) -> None:
        """Sent until it is taken, a few times; its id lets the receiver know one that comes twice."""
        assert job.webhook is not None
        body = json.dumps({"id": job.id, "status": job.status, "error": job.error}).encode()
        for seconds in (*NOTICES, None):
            if await asyncio.to_thread(notify, job.webhook, body, self._settings.webhook_secret or ""):
                break
            if seconds is not None:
                await asyncio.sleep(seconds)
        else:
            log.warning("job %s: its webhook took nothing", job.id)
        self._put(replace(job, notified=True))

    async def _sweep(self) -> None:
        """Delete what was kept long enough."""
        while True:
            oldest = time.time() - self._settings.job_kept_seconds
            for job in list(self._jobs.values()):
                if job.status in OVER and (job.ended or 0.0) < oldest:
                    await self.remove(job)
            await asyncio.sleep(min(SWEEP_SECONDS, self._settings.job_kept_seconds))


def _locked(folder: Path) -> Any:
    """The folder for this server; the system takes the lock back when the server ends, however it ends."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = (folder / "lock").open("a")
    except OSError as error:
        raise ConfigError(f"job_folder {folder}: {error.strerror or error}") from None
    try:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except ImportError:  # Windows: one server a folder is the user's care
        pass
    except OSError:
        file.close()
        raise ConfigError(f"job_folder {folder}: another server uses it") from None
    return file


def _flush(folder: Path) -> None:
    """Onto the disk, so that a power cut loses nothing that was accepted."""
    if os.name != "posix":
        return
    for path in [*(one for one in folder.iterdir() if one.is_file()), folder]:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
