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
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from undertone.errors import AudioError, UndertoneError
from undertone.serving.server.metrics import Metrics
from undertone.serving.server.settings import ServerSettings
from undertone.serving.server.worker import LENGTH

if TYPE_CHECKING:
    from asyncio.subprocess import Process

    from undertone.judging.clip import Channels
    from undertone.types import Wave

__all__ = ["Decoded", "Decoders", "Overloaded"]

log = logging.getLogger(__name__)


class Overloaded(UndertoneError):
    """The server could not do it now; the same request may succeed later."""


@dataclass(frozen=True)
class Decoded:
    """The samples of an upload."""

    wave: Wave
    """``(N,)``, or ``(N, C)`` where channels are kept apart."""
    channels: tuple[int, ...] = ()
    """The number of each column; empty: the wave is ``(N,)``."""
    warnings: tuple[str, ...] = ()
    """What is wrong with it, though it can be judged."""


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
        process = await self._idle.get()
        began = time.perf_counter()
        healthy = False
        try:
            if process is not None and process.returncode is not None:  # it died while it was idle
                process = None
            process = process or await self._spawn()
            async with asyncio.timeout(self._settings.decode_seconds):
                answer, payload = await self._ask(process, data, name, most, channels)
            healthy = True
        except TimeoutError:
            raise AudioError(f"{name}: takes longer to decode than is allowed") from None
        except (OSError, EOFError, asyncio.IncompleteReadError):
            log.warning("a decoding process died; the next upload gets a new one")
            if process is None or await _ended_by_others(process):
                raise Overloaded("a decoding process was ended from outside") from None
            raise AudioError(f"{name}: cannot be decoded within the limits") from None
        finally:
            if process is not None and not healthy:
                _kill(process)
            self._idle.put_nowait(process if healthy else None)
            self._metrics.decoded(time.perf_counter() - began)
        if "error" in answer:
            raise AudioError(answer["error"])
        numbers, wave = tuple(answer["channels"]), np.frombuffer(payload, np.float32)
        return Decoded(
            wave.reshape(-1, len(numbers)) if numbers else wave, numbers, tuple(answer["warnings"])
        )

    async def _ask(
        self, process: Process, data: bytes, name: str, most: float, channels: Channels
    ) -> tuple[dict[str, Any], bytes]:
        head = {
            "size": len(data),
            "name": name,
            "max_seconds": most,
            "rate": self._rate,
            "cpu": self._settings.decode_seconds,
            "containers": self._settings.containers,
            "channels": channels,
        }
        assert process.stdin is not None
        text = json.dumps(head).encode()
        process.stdin.write(LENGTH.pack(len(text)) + text)
        process.stdin.write(data)
        await process.stdin.drain()
        return await _answer(process)

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


async def _answer(process: Process) -> tuple[dict[str, Any], bytes]:
    assert process.stdout is not None
    (length,) = LENGTH.unpack(await process.stdout.readexactly(LENGTH.size))
    head: dict[str, Any] = json.loads(await process.stdout.readexactly(length))
    return head, await process.stdout.readexactly(head.get("size", 0))


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
