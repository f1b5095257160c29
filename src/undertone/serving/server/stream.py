"""The WebSocket ``/v1/stream``: sound goes up while answers come down.

    ▲ text    {"token": …, "rate": 16000, "id": …}     first, within ten seconds; only ``rate`` has no default
                                                       with "asr": true words are recognised
    ▼ text    {"type": "ready", "latency": 2.0, …}
    ▲ binary  16-bit little-endian mono samples, any number at a time; with ``"format": "f32"`` 32-bit floats
    ▼ text    {"type": "update", "at": …, "segments": […], "now": … | null, "texts": […]}
    ▲ text    {"type": "end"}
    ▼ text    {"type": "final", "prediction": {…}}     then the socket is closed with 1000

``texts`` are the words of stretches of speech that have ended, where words are recognised: the cells of a
stretch then wait for its words, while ``now`` is by the sound alone.

The token may come in an ``Authorization`` header instead. A server that stops sends ``final`` for what came
by then and closes with 1001. A refusal is ``{"type": "error", "detail": …}`` and a close: 1008 not allowed,
1007 not understood, 1009 too long, 1013 too many streams or requests.
"""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any, Literal

import numpy as np
from fastapi import APIRouter, WebSocket, WebSocketDisconnect
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from undertone.audio.streaming import Resampler
from undertone.judging.plan import Course, Steps, Update, remembering
from undertone.judging.regions import Region
from undertone.judging.windows import RATE
from undertone.serving.server.logs import Record
from undertone.serving.server.models import NoSuchModel
from undertone.serving.server.service import NoWords, Service
from undertone.types import Prediction, TimelineSegment

__all__ = ["router"]

MOST_SILENT = 64
"""Sockets at once that have not sent their first message, beside the streams."""

router = APIRouter()
log = logging.getLogger(__name__)


class Hello(BaseModel):
    """The first message."""

    model_config = ConfigDict(extra="forbid")

    token: str | None = None
    rate: int = Field(ge=8_000, le=192_000)
    format: Literal["s16", "f32"] = "s16"
    model: str | None = Field(None, max_length=100)
    id: str = Field("stream", max_length=200)
    asr: bool = False


class _Closed(Exception):
    """End the socket with this code."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(why)
        self.code, self.why = code, why


@router.websocket("/v1/stream")
async def stream(socket: WebSocket) -> None:
    """One recording, judged while it goes on."""
    service: Service = socket.app.state.service
    conversation = _Conversation(socket, service)
    service.open_streams.add(conversation)
    service.silent_streams[conversation] = None
    if len(service.silent_streams) > MOST_SILENT:  # who means it sends the first message at once
        next(iter(service.silent_streams)).evict()
    try:
        await socket.accept()
        await conversation.run()
    except _Closed as closed:
        await _close_with_reason(socket, closed)
    except (WebSocketDisconnect, RuntimeError):  # the second, where it hung up between two messages of ours
        log.info("a stream's client hung up")
    finally:
        conversation.stop()
        service.open_streams.discard(conversation)


async def _close_with_reason(socket: WebSocket, closed: _Closed) -> None:
    try:
        await socket.send_json({"type": "error", "detail": closed.why})
        await socket.close(closed.code, closed.why)
    except (WebSocketDisconnect, RuntimeError):
        log.debug("the client did not wait for the reason")


class _Conversation:
    """One socket, from its first message to its last."""

    def __init__(self, socket: WebSocket, service: Service) -> None:
        self._socket, self._service, self._settings = socket, service, service.settings
        self._record: Record = socket.state.record
        self._served = service.models.pick(None)
        self._course = Course(self._served.model, self._settings.segmenting)
        self._before: list[Any] = []  # what a contextual model gave for the turns so far
        self._closing = asyncio.ensure_future(service.closing.wait())
        self._coming: asyncio.Future[Any] | None = None
        self._counted = self._evicted = False
        self._odd = b""

    def stop(self) -> None:
        """Whatever happened: its place is free again."""
        self._closing.cancel()
        self._service.silent_streams.pop(self, None)
        self._record.audio = self._course.received / RATE
        if self._counted:
            self._service.streams -= 1
            self._service.metrics.streams(-1)

    def evict(self) -> None:
        """End it while it waits for its first message."""
        self._evicted = True
        self._service.silent_streams.pop(self, None)
        if self._coming is not None:
            self._coming.cancel()

    async def run(self) -> None:
        hello = await self._hello()
        self._count()
        try:
            self._served = self._service.pick(hello.model, hello.asr)
        except (NoSuchModel, NoWords) as error:
            raise _Closed(1008, str(error)) from None
        self._record.model = self._served.model.name
        with self._served.used():
            await self._converse(hello)

    async def _converse(self, hello: Hello) -> None:
        model = self._served.model
        segmenting = self._settings.segmenting
        listen = hello.asr and "text" in model.sides
        self._course = Course(model, segmenting, listen=listen, explain=listen and self._settings.explain)
        resample = Resampler(hello.rate)
        await self._socket.send_json(
            {
                "type": "ready",
                "model": model.name,
                "labels": list(model.labels),
                "latency": segmenting.latency + (segmenting.region_up_to if listen else 0.0),
            }
        )
        while (samples := await self._samples(hello.format)) is not None:
            await self._update(self._course.feed(resample(samples)))
            if self._course.received > self._settings.max_seconds * RATE:
                raise _Closed(1009, f"longer than the {self._settings.max_seconds:g} s allowed")
        await self._update(self._course.feed(resample.close()))
        await self._update(self._course.close())
        whole = self._course.prediction(hello.id)
        self._record.clips = 1
        await self._socket.send_json({"type": "final", "prediction": whole.plain()})
        await self._socket.close(1001 if self._closing.done() else 1000)

    def _count(self) -> None:
        """A stream takes its place when its first message is good: who sends none keeps nobody out."""
        self._service.silent_streams.pop(self, None)
        if self._service.streams >= self._settings.max_streams:
            raise _Closed(1013, "too many streams; try again later")
        self._service.streams += 1
        self._service.metrics.streams(1)
        self._counted = True

    async def _hello(self) -> Hello:
        message = await self._next(self._settings.head_seconds)
        if message is None:
            raise _Closed(1001, "the server stops")
        try:
            hello = Hello.model_validate_json(message.get("text") or "")
        except ValidationError:
            raise _Closed(1007, 'the first message must be {"rate": …, "token": …, "id": …}') from None
        tokens = self._service.tokens
        if tokens and self._record.caller is None:
            caller = tokens.holder(hello.token or "")
            if caller is None:
                raise _Closed(1008, "a token is needed in the first message")
            self._record.caller = caller.name
            if tokens.wait(caller):
                raise _Closed(1013, f"more than {caller.per_minute} requests a minute")
        return hello

    async def _next(self, seconds: float) -> dict[str, Any] | None:
        """The next message; None where the server stops first."""
        if self._evicted:
            raise _Closed(1013, "too many sockets without a first message")
        self._coming = coming = asyncio.ensure_future(self._socket.receive())
        try:
            waited = {coming, self._closing}
            await asyncio.wait(waited, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            if not coming.done():
                if self._closing.done():
                    return None
                raise _Closed(1008, f"nothing came for {seconds:g} s")
            if coming.cancelled():
                raise _Closed(1013, "too many sockets without a first message")
            message = coming.result()
        finally:
            coming.cancel()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1005))
        return dict(message)

    async def _samples(self, kind: str) -> np.ndarray[Any, np.dtype[np.float32]] | None:
        """The next chunk in -1..1; None at the end."""
        message = await self._next(self._settings.idle_seconds)
        if message is None:
            return None
        data = message.get("bytes")
        if data is None:
            if _is_end(message.get("text") or ""):
                return None
            raise _Closed(1007, 'send samples as binary messages, and {"type": "end"} at the end')
        data = self._odd + data
        size = 4 if kind == "f32" else 2
        whole = len(data) // size * size
        self._odd = data[whole:]  # half a sample waits for its other half
        if kind == "s16":
            return np.frombuffer(data[:whole], "<i2").astype(np.float32) / 32768.0
        samples = np.frombuffer(data[:whole], "<f4").astype(np.float32)
        if not np.isfinite(samples).all():
            raise _Closed(1007, "samples that are not numbers (NaN or infinity)")
        return samples

    async def _update(self, steps: Steps[Update]) -> None:
        """Follow the plan and send what became known; silence is not reported."""
        before = len(self._course.regions)
        steps = remembering(self._served.model, steps, self._before)
        update = await self._service.follow(steps, self._served)
        spoken = [region for region in self._course.regions[before:] if region.excerpt is not None]
        if not update.segments and update.now is None and not spoken:
            return
        await self._socket.send_json(
            {
                "type": "update",
                "at": round(self._course.received / RATE, 3),
                "segments": [_plain_cell(cell) for cell in update.segments],
                "now": _plain_now(update.now) if update.now else None,
                "texts": [_plain_text(region) for region in spoken],
            }
        )


def _is_end(text: str) -> bool:
    try:
        return bool(json.loads(text) == {"type": "end"})
    except ValueError:
        return False


def _plain_cell(cell: TimelineSegment) -> dict[str, Any]:
    shell = Prediction("", None, 0.0, {}, {}, segments=(cell,))
    cell_values: dict[str, Any] = shell.plain()["segments"][0]
    return cell_values


def _plain_text(region: Region) -> dict[str, Any]:
    return {
        "start": round(region.start / RATE, 3),
        "end": round(region.end / RATE, 3),
        "text": region.excerpt.words.text if region.excerpt else "",
    }


def _plain_now(prediction: Prediction) -> dict[str, Any]:
    plain = prediction.plain()
    shown = ("label", "confidence", "probabilities", "dimensions", "scales")
    return {key: plain[key] for key in shown if key in plain}
