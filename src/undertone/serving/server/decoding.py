"""Sound from uploaded bytes, decoded in other processes that may die without harm (see ``worker``)."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shutil
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import numpy as np

from undertone.errors import AudioError, UndertoneError
from undertone.serving.server.metrics import Metrics
from undertone.serving.server.settings import ServerSettings
from undertone.serving.server.worker import LENGTH

if TYPE_CHECKING:
    from asyncio.subprocess import Process

    from undertone.judging.clip import Channels
    from undertone.types import Wave

__all__ = ["Decoded", "Decoders", "Overloaded", "Sound", "Streamed"]

T = TypeVar("T")
BLOCK_SECONDS = 8.0
"""Of a recording, what is judged between two turns of others: some 20 ms of work beside the model's."""

log = logging.getLogger(__name__)


class Overloaded(UndertoneError):
    """The server could not do it now; the same request may succeed later."""


@dataclass(frozen=True)
class Decoded:
    """The samples of an upload, all of them."""

    wave: Wave
    """``(N,)``, or ``(N, C)`` where channels are kept apart."""
    rate: int
    channels: tuple[int, ...] = ()
    """The number of each column; empty: the wave is ``(N,)``."""
    warnings: tuple[str, ...] = ()
    """What is wrong with it, though it can be judged."""

    @property
    def seconds(self) -> float:
        return len(self.wave) / self.rate

    def pieces(self) -> Iterator[Wave]:
        """The wave in blocks, at least one."""
        size = round(BLOCK_SECONDS * self.rate)
        return (self.wave[at : at + size] for at in range(0, max(1, len(self.wave)), size))


@dataclass(frozen=True)
class Streamed:
    """An upload on the disk, whose samples come in blocks while it is judged."""

    seconds: float
    channels: tuple[int, ...]
    warnings: tuple[str, ...]
    next: Callable[[], Coroutine[Any, Any, Wave | None]]
    """The next block; None after the last."""
    loop: asyncio.AbstractEventLoop

    def pieces(self) -> Iterator[Wave]:
        """The blocks, for a thread that may wait for them."""
        while (block := asyncio.run_coroutine_threadsafe(self.next(), self.loop).result()) is not None:
            yield block


Sound: TypeAlias = Decoded | Streamed


class _Borrowed:
    """A decoding process while one upload uses it; it goes back if it is marked as healthy."""

    def __init__(self, process: Process) -> None:
        self.process, self.healthy = process, False


class Decoders:
    """A few decoding processes, started once and again after a death."""

    def __init__(self, settings: ServerSettings, metrics: Metrics, rate: int) -> None:
        self._settings, self._metrics, self._rate = settings, metrics, rate
        self._idle: asyncio.LifoQueue[Process | None] = asyncio.LifoQueue()

    async def start(self) -> None:
        """All processes ready, or an exception."""
        for process in await asyncio.gather(*(self._spawn() for _ in range(self._settings.decoders))):
            self._idle.put_nowait(process)

    async def stop(self) -> None:
        """End the processes that are idle, which after the last request are all."""
        while not self._idle.empty():
            process = self._idle.get_nowait()
            if process is not None:
                await _end(process)

    async def decode(self, data: bytes, name: str, most: float, channels: Channels = None) -> Decoded:
        """Samples at the model's rate, at most so many seconds; AudioError for what cannot, or must not, be
        decoded, Overloaded where something else ended the process twice."""
        try:
            return await self._decode_once(data, name, most, channels)
        except Overloaded:
            return await self._decode_once(data, name, most, channels)

    async def _decode_once(self, data: bytes, name: str, most: float, channels: Channels) -> Decoded:
        head = {**self._head(name, most, channels), "size": len(data)}
        async with self._borrowed() as one:
            answer, payload = await self._guarded(one, _ask(one.process, head, data), name)
            one.healthy = True
        if "error" in answer:
            raise AudioError(answer["error"])
        numbers = tuple(answer["channels"])
        return Decoded(_shaped(payload, numbers), self._rate, numbers, tuple(answer["warnings"]))

    @asynccontextmanager
    async def streamed(
        self, path: Path, name: str, most: float, channels: Channels = None
    ) -> AsyncIterator[Streamed]:
        """As ``decode``, of a file that is never held whole: first all of it is decoded and thrown away, so
        that what is wrong with it is known before any is judged."""
        head = {**self._head(name, most, channels), "size": 0, "path": str(path), "piece": BLOCK_SECONDS}
        async with self._borrowed() as one:
            answer, _ = await self._guarded(one, _ask(one.process, head, b""), name)
            if "error" in answer:
                one.healthy = True
                raise AudioError(answer["error"])
            numbers = tuple(answer["channels"])

            async def following() -> Wave | None:
                more, payload = await self._guarded(one, _answer(one.process), name)
                one.healthy = not more.get("size")
                if "error" in more:
                    raise AudioError(more["error"])
                return _shaped(payload, numbers) if payload else None

            loop = asyncio.get_running_loop()
            yield Streamed(answer["seconds"], numbers, tuple(answer["warnings"]), following, loop)

    @asynccontextmanager
    async def _borrowed(self) -> AsyncIterator[_Borrowed]:
        process, one = await self._idle.get(), None
        began = time.perf_counter()
        try:
            if process is None or process.returncode is not None:  # it died while it was idle
                process = await self._spawn()
            one = _Borrowed(process)
            yield one
        except (EOFError, asyncio.IncompleteReadError):
            raise Overloaded("no decoding process can be started") from None
        finally:
            healthy = one is not None and one.healthy
            if process is not None and not healthy:
                _kill(process)
            self._idle.put_nowait(process if healthy else None)
            self._metrics.decoded(time.perf_counter() - began)

    async def _guarded(self, one: _Borrowed, waiting: Coroutine[Any, Any, T], name: str) -> T:
        """What a process answers, in time; where it dies, whose fault that is."""
        try:
            async with asyncio.timeout(self._settings.decode_seconds):
                return await waiting
        except TimeoutError:
            raise AudioError(f"{name}: takes longer to decode than is allowed") from None
        except (OSError, EOFError, asyncio.IncompleteReadError):
            log.warning("a decoding process died; the next upload gets a new one")
            if await _ended_by_others(one.process):
                raise Overloaded("a decoding process was ended from outside") from None
            raise AudioError(f"{name}: cannot be decoded within the limits") from None

    def _head(self, name: str, most: float, channels: Channels) -> dict[str, Any]:
        return {
            "name": name,
            "max_seconds": most,
            "rate": self._rate,
            "cpu": self._settings.decode_seconds,
            "containers": self._settings.containers,
            "channels": channels,
        }

    async def _spawn(self) -> Process:
        environment = {
            k: v for k, v in os.environ.items() if k.startswith(("PYTHON", "SYSTEM", "LANG", "LC_"))
        }
        ffmpeg = shutil.which("ffmpeg") if self._settings.containers else None
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "undertone.serving.server.worker",
            str(self._settings.decode_memory),
            str(self._settings.max_bytes if ffmpeg else 0),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={**environment, "PATH": str(Path(ffmpeg).parent) if ffmpeg else "", "OMP_NUM_THREADS": "1"},
            limit=2**20,
            start_new_session=True,
        )
        async with asyncio.timeout(60):
            await _answer(process)
        return process


async def _ask(process: Process, head: Mapping[str, Any], data: bytes) -> tuple[dict[str, Any], bytes]:
    assert process.stdin is not None
    text = json.dumps(head).encode()
    process.stdin.write(LENGTH.pack(len(text)) + text)
    process.stdin.write(data)
    await process.stdin.drain()
    return await _answer(process)


async def _answer(process: Process) -> tuple[dict[str, Any], bytes]:
    assert process.stdout is not None
    (length,) = LENGTH.unpack(await process.stdout.readexactly(LENGTH.size))
    head: dict[str, Any] = json.loads(await process.stdout.readexactly(length))
    return head, await process.stdout.readexactly(head.get("size", 0))


def _shaped(samples: bytes, channels: tuple[int, ...]) -> Wave:
    wave = np.frombuffer(samples, np.float32)
    return wave.reshape(-1, len(channels)) if channels else wave


async def _ended_by_others(process: Process) -> bool:
    """Whether it was killed: by a person, or by a system without memory. A file that breaks the decoder, or
    takes too long, ends it by another signal."""
    with suppress(TimeoutError):
        async with asyncio.timeout(5):
            await process.wait()
    return process.returncode in (-signal.SIGTERM, -getattr(signal, "SIGKILL", signal.SIGTERM))


async def _end(process: Process) -> None:
    assert process.stdin is not None
    process.stdin.close()
    try:
        async with asyncio.timeout(5):
            await process.wait()
    except TimeoutError:
        _kill(process)


def _kill(process: Process) -> None:
    """End it, and an ffmpeg that it may have started."""
    with suppress(ProcessLookupError):  # it has ended already
        if sys.platform == "win32":
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)
