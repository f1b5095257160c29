"""One HTTP request and its answer: the body collected within the limits, the application called, its answer
given the headers that browsers heed. What the application throws becomes a plain 500, without its reason;
when the client hangs up, the work for it ends.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any, TypeAlias

from undertone.serving.server.logs import Record

if TYPE_CHECKING:
    from undertone.serving.server.protection import Protection

__all__ = ["HEADERS", "ASGIApp", "Exchange", "Message", "Receive", "Refused", "Scope", "Send", "headers_of"]

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
ASGIApp: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "media-src 'self' blob:; form-action 'none'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "permissions-policy": "microphone=(self), camera=(), geolocation=()",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}

UPLOADS = "/v1/jobs"
"""Bodies of this route go to the disk as they come: the route itself bounds their size and pace."""
LINGER_SECONDS = 2.0
LINGER_BYTES = 64 * 2**20

log = logging.getLogger(__name__)


class Refused(Exception):
    """Stop here and answer this."""

    def __init__(self, status: int, why: str, **headers: str) -> None:
        super().__init__(why)
        self.status, self.why, self.headers = status, why, headers


class _Disconnected(Exception):
    """The client has hung up; nobody waits for an answer."""


class Exchange:
    """One request and its answer."""

    def __init__(self, gate: Protection, scope: Scope, receive: Receive, send: Send) -> None:
        self._gate, self._scope, self._receive, self._send = gate, scope, receive, send
        self._settings, self._metrics = gate.settings, gate.metrics
        self._headers = headers_of(scope)
        self._body = bytearray()
        self._left = asyncio.Event()
        self._complete = not _has_body(self._headers)
        self._entered = self._replayed = self._started = self._ended = False
        self._record = Record.of(scope, self._headers)
        scope.setdefault("state", {})["record"] = self._record
        gate.service.tracing.begin(self._record)

    async def run(self) -> None:
        began = time.perf_counter()
        try:
            await self._pass_on()
        except Refused as refused:
            await self._refuse(refused)
        except TimeoutError:
            if self._complete:
                await self._refuse(Refused(503, "this took too long", **{"retry-after": "5"}))
            else:
                await self._refuse(Refused(408, "the body did not arrive in time"))
        except _Disconnected:
            self._record.status = 499  # as others log it: nobody was there to answer
        except Exception:
            log.exception("a request failed; this is a fault of the server's")
            await self._refuse(Refused(500, "the server failed; its log has the reason"))
        finally:
            if self._entered:
                self._gate.leave(self._record.received)
            self._record.seconds = time.perf_counter() - began
            self._metrics.answered(self._record)
            self._gate.service.tracing.end(self._record, self._scope)
            self._record.write()

    async def _pass_on(self) -> None:
        """Everything checked, the body collected, then the application."""
        method, path = self._scope["method"], self._scope["path"]
        self._gate.check_host(path, self._headers)
        if method == "OPTIONS" and "access-control-request-method" in self._headers and self._cors():
            await self._answer(204, b"", {})
            return
        self._record.caller = self._gate.check_caller(method, path, self._headers)
        if method == "POST" and path == UPLOADS and not self._complete:
            with self._gate.room():
                await self._gate.app(self._scope, self._receive, self._decorated)
            return
        self._gate.check_size(self._headers)
        if not self._complete or method == "POST":
            self._gate.enter()
            self._entered = True
            async with asyncio.timeout(self._settings.receive_seconds):
                await self._collect()
        async with asyncio.timeout(self._settings.request_seconds):
            await self._answered()

    async def _answered(self) -> None:
        """The application's answer; where the client hangs up before it, the application is cancelled."""
        answer = asyncio.ensure_future(self._gate.app(self._scope, self._replay, self._decorated))
        left = asyncio.ensure_future(self._until_left())
        try:
            await asyncio.wait({answer, left}, return_when=asyncio.FIRST_COMPLETED)
            if not (answer.done() or self._ended):
                raise _Disconnected
            await answer
        finally:
            answer.cancel()
            left.cancel()
            await asyncio.gather(answer, left, return_exceptions=True)

    # ---- receiving -----------------------------------------------------------------------------------

    async def _collect(self) -> None:
        """The whole body into memory, counted as it arrives."""
        while not self._complete:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise _Disconnected
            chunk = message.get("body", b"")
            if self._record.received + len(chunk) > self._settings.max_bytes:
                raise self._gate.too_large()
            self._gate.hold(len(chunk))
            self._record.received += len(chunk)
            self._body += chunk
            self._complete = not message.get("more_body", False)

    async def _replay(self) -> Message:
        """The collected body in one message, then that the client has hung up."""
        if not self._replayed:
            self._replayed = True
            body, self._body = bytes(self._body), bytearray()
            return {"type": "http.request", "body": body, "more_body": False}
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def _until_left(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._left.set()

    # ---- answering -----------------------------------------------------------------------------------

    def _cors(self) -> dict[str, str]:
        origin = self._headers.get("origin")
        if origin is None or origin not in self._settings.cors_origins:
            return {}
        return {
            "access-control-allow-origin": origin,
            "access-control-allow-headers": "authorization, content-type, x-request-id, traceparent",
            "access-control-allow-methods": "GET, POST, DELETE",
            "access-control-expose-headers": "location, retry-after, x-request-id",
            "cross-origin-resource-policy": "cross-origin",
            "vary": "origin",
        }

    async def _decorated(self, message: Message) -> None:
        """What the application sends, with our headers."""
        if message["type"] == "http.response.start":
            self._started = True
            self._record.status = message["status"]
            own = {name.lower() for name, _ in message.get("headers", [])}
            extra = {
                name.encode(): value.encode("latin-1")
                for name, value in {**HEADERS, **self._cors(), **self._record.headers}.items()
            }
            missing = [(name, value) for name, value in extra.items() if name not in own]
            message = {**message, "headers": [*message.get("headers", []), *missing]}
        elif message["type"] == "http.response.body" and not message.get("more_body", False):
            self._ended = True
        await self._send(message)

    async def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        if status != 204:
            headers = {"content-type": "application/json", "content-length": str(len(body)), **headers}
        sent = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
        await self._decorated({"type": "http.response.start", "status": status, "headers": sent})
        if self._scope["method"] == "HEAD":
            body = b""
        if not self._complete:  # let the client read the answer before the connection is closed on it
            await self._send({"type": "http.response.body", "body": body, "more_body": True})
            await self._linger()
            body = b""
        await self._send({"type": "http.response.body", "body": body})

    async def _linger(self) -> None:
        """Throw away what still comes, for a short time: a client that is writing does not read."""
        left = LINGER_BYTES
        try:
            async with asyncio.timeout(LINGER_SECONDS):
                while left > 0:
                    message = await self._receive()
                    left -= len(message.get("body", b""))
                    if message["type"] == "http.disconnect" or not message.get("more_body", False):
                        return
        except TimeoutError:
            return

    async def _refuse(self, refused: Refused) -> None:
        self._metrics.refused(str(refused.status))
        if self._started:  # half an answer is out: the connection can only be cut
            return
        headers = dict(refused.headers)
        if not self._complete:
            headers["connection"] = "close"
        await self._answer(refused.status, json.dumps({"detail": refused.why}).encode(), headers)


def _has_body(headers: dict[str, str]) -> bool:
    return "transfer-encoding" in headers or headers.get("content-length", "0") != "0"


def headers_of(scope: Scope) -> dict[str, str]:
    """Header names in lower case; of doubled ones that matter here, none is trusted: they are joined."""
    joined: dict[str, str] = {}
    for name, value in scope["headers"]:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        joined[key] = f"{joined[key]}, {text}" if key in joined else text
    return joined
