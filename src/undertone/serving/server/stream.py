"""The WebSocket ``/v1/stream``: sound goes up while answers come down.

    ▲ text    {"token": …, "rate": 16000, "id": …}     first, within ten seconds; only ``rate`` has no default
    ▼ text    {"type": "ready", "latency": 2.0, …}
    ▲ binary  16-bit little-endian mono samples, any number at a time
    ▼ text    {"type": "update", "at": …, "segments": […], "now": … | null}
    ▲ text    {"type": "end"}
    ▼ text    {"type": "final", "prediction": {…}}     then the socket is closed with 1000

A refusal is ``{"type": "error", "detail": …}`` and a close: 1008 not allowed, 1007 not understood,
1009 too long, 1013 too many streams.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
from typing import Any

import numpy as np
from fastapi import APIRouter, WebSocket, WebSocketDisconnect
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from undertone.audio.streaming import Resampler
from undertone.judging.plan import Course, Steps, Update
from undertone.judging.windows import RATE
from undertone.serving.server.service import Service
from undertone.types import Prediction, TimelineSegment

__all__ = ["router"]

router = APIRouter()
log = logging.getLogger(__name__)

FIRST_MESSAGE_SECONDS = 10.0


class Hello(BaseModel):
    """The first message."""

    model_config = ConfigDict(extra="forbid")

    token: str | None = None
    rate: int = Field(ge=8_000, le=192_000)
    id: str = Field("stream", max_length=200)


class _Closed(Exception):
    """End the socket with this code."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(why)
        self.code, self.why = code, why


@router.websocket("/v1/stream")
async def stream(socket: WebSocket) -> None:
    """One recording, judged while it goes on."""
    service: Service = socket.app.state.service
    await socket.accept()
    service.metrics.streams(1)
    service.streams += 1
    try:
        if service.streams > service.settings.max_streams:
            raise _Closed(1013, "too many streams; try again later")
        await _Conversation(socket, service).run()
    except _Closed as closed:
        await _close_with_reason(socket, closed)
    except WebSocketDisconnect:
        log.info("a stream's client hung up")
    finally:
        service.streams -= 1
        service.metrics.streams(-1)


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
        self._course = Course(service.model, self._settings.segmenting)
        self._odd = b""

    async def run(self) -> None:
        hello = await self._hello()
        resample = Resampler(hello.rate)
        await self._socket.send_json(
            {
                "type": "ready",
                "model": self._service.model.name,
                "labels": list(self._service.model.labels),
                "latency": self._settings.segmenting.latency,
            }
        )
        while (samples := await self._samples()) is not None:
            await self._update(self._course.feed(resample(samples)))
            if self._course.received > self._settings.max_seconds * RATE:
                raise _Closed(1009, f"longer than the {self._settings.max_seconds:g} s allowed")
        await self._update(self._course.feed(resample.close()))
        await self._update(self._course.close())
        whole = self._course.prediction(hello.id)
        await self._socket.send_json({"type": "final", "prediction": whole.plain()})
        await self._socket.close(1000)

    async def _hello(self) -> Hello:
        try:
            async with asyncio.timeout(FIRST_MESSAGE_SECONDS):
                message = await self._receive()
            hello = Hello.model_validate_json(message.get("text") or "")
        except TimeoutError:
            raise _Closed(1008, "no first message") from None
        except ValidationError:
            raise _Closed(1007, 'the first message must be {"rate": …, "token": …, "id": …}') from None
        token = self._settings.token
        if token and not hmac.compare_digest((hello.token or "").encode(), token.encode()):
            raise _Closed(1008, "a token is needed in the first message")
        return hello

    async def _receive(self) -> dict[str, Any]:
        message = await self._socket.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1005))
        return dict(message)

    async def _samples(self) -> np.ndarray[Any, np.dtype[np.float32]] | None:
        """The next chunk in -1..1; None at the end."""
        try:
            async with asyncio.timeout(self._settings.idle_seconds):
                message = await self._receive()
        except TimeoutError:
            raise _Closed(1008, f"nothing came for {self._settings.idle_seconds:g} s") from None
        data = message.get("bytes")
        if data is None:
            if _is_end(message.get("text") or ""):
                return None
            raise _Closed(1007, 'send samples as binary messages, and {"type": "end"} at the end')
        data = self._odd + data
        whole = len(data) // 2 * 2
        self._odd = data[whole:]  # half a sample waits for its other half
        return np.frombuffer(data[:whole], "<i2").astype(np.float32) / 32768.0

    async def _update(self, steps: Steps[Update]) -> None:
        """Follow the plan and send what became known; silence is not reported."""
        update = await self._service.follow(steps)
        if not update.segments and update.now is None:
            return
        await self._socket.send_json(
            {
                "type": "update",
                "at": round(self._course.received / RATE, 3),
                "segments": [_plain_cell(cell) for cell in update.segments],
                "now": _plain_now(update.now) if update.now else None,
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


def _plain_now(prediction: Prediction) -> dict[str, Any]:
    plain = prediction.plain()
    return {key: plain[key] for key in ("label", "confidence", "probabilities")}
