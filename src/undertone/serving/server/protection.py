"""Every protection that needs no model, in one plain ASGI layer in front of all routes.

In this order: the Host header (DNS rebinding), the Origin of whatever changes or costs something
(cross-site forms and sockets), the token and its rate, room for one more request, the body's size and pace
(``exchange``). The headers that browsers heed are added to every answer, those of 404, 405 and 413 included.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from undertone.serving.server.exchange import (
    ASGIApp,
    Exchange,
    Message,
    Receive,
    Refused,
    Scope,
    Send,
    headers_of,
)
from undertone.serving.server.hosts import host_allowed, origin_allowed
from undertone.serving.server.logs import Record
from undertone.serving.server.page import FILES

if TYPE_CHECKING:
    from undertone.serving.server.service import Service

__all__ = ["Protection"]

PUBLIC = frozenset(FILES)
"""The page's own files: they hold no secrets, and the page must load before the user can enter the token."""
PROBES = frozenset({"/healthz", "/readyz"})
"""For machines, which call by any name."""


class Protection:
    """Wraps the application; holds the counters of what is under way."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self.app = app
        self.service = service
        self.settings = service.settings
        self.metrics = service.metrics
        self._requests = 0
        self._buffered = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await Exchange(self, scope, receive, send).run()
        elif scope["type"] == "websocket":
            await self._socket(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def _socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Host, Origin and the token of a header are checked here; without the header the token comes in the
        first message, which ``stream`` reads."""
        headers = headers_of(scope)
        record = Record.of(scope, headers)
        self.service.tracing.begin(record)
        began = time.perf_counter()
        try:
            if why := self._socket_refused(headers, record):
                self.metrics.refused(why)
                record.status = 403
                await receive()
                await send({"type": "websocket.close", "code": 1008, "reason": f"{why} not allowed"})
                return
            scope.setdefault("state", {})["record"] = record
            record.write("open")
            await self.app(scope, _counted(record, receive), _noted(record, send))
        finally:
            record.seconds = time.perf_counter() - began
            self.metrics.answered(record)
            self.service.tracing.end(record, scope)
            record.write()

    def _socket_refused(self, headers: dict[str, str], record: Record) -> str | None:
        """What about a stream's request is not allowed."""
        if not (host_allowed(headers.get("host"), self.settings) and origin_allowed(headers, self.settings)):
            return "origin"
        tokens = self.service.tokens
        if tokens and "authorization" in headers:
            caller = tokens.bearer(headers["authorization"])
            if caller is None:
                return "token"
            record.caller = caller.name
            if tokens.wait(caller):
                return "rate"
        return None

    # ---- what an exchange needs -----------------------------------------------------------------------

    def check_host(self, path: str, headers: dict[str, str]) -> None:
        if path not in PROBES and not host_allowed(headers.get("host"), self.settings):
            raise Refused(421, "the Host header is not one this server answers to (see --allow-host)")

    def check_caller(self, method: str, path: str, headers: dict[str, str]) -> str | None:
        """The name of the token; None where none is needed."""
        reading = method in ("GET", "HEAD")
        if not reading and method != "OPTIONS" and not origin_allowed(headers, self.settings):
            raise Refused(403, "requests from other sites' pages are not answered (see --cors-origin)")
        tokens = self.service.tokens
        if not tokens or (reading and path in PUBLIC | PROBES):
            return None
        caller = tokens.bearer(headers.get("authorization", ""))
        if caller is None:
            raise Refused(401, "a bearer token is needed", **{"www-authenticate": "Bearer"})
        if wait := tokens.wait(caller):
            raise Refused(
                429,
                f"{caller.name}: more than {caller.per_minute} requests a minute",
                **{"retry-after": str(math.ceil(wait))},
            )
        return caller.name

    def check_size(self, headers: dict[str, str]) -> None:
        """What the client announces; what really comes is counted by the exchange."""
        declared = headers.get("content-length", "0")
        if not (declared.isascii() and declared.isdigit()):
            raise Refused(400, "the Content-Length header is not a number")
        if int(declared) > self.settings.max_bytes:
            raise self.too_large()

    def too_large(self) -> Refused:
        return Refused(413, f"the body is longer than {self.settings.max_bytes} bytes")

    def enter(self) -> None:
        """Room for one more request with a body, or Refused."""
        if self._requests >= self.settings.max_waiting:
            raise Refused(503, "too many requests are under way", **{"retry-after": "1"})
        self._requests += 1
        self.metrics.waiting(self._requests)

    @contextmanager
    def room(self) -> Iterator[None]:
        """Room for one more request, for as long as the block takes."""
        self.enter()
        try:
            yield
        finally:
            self.leave(0)

    def leave(self, held: int) -> None:
        self._requests -= 1
        self._buffered -= held
        self.metrics.waiting(self._requests)

    def hold(self, size: int) -> None:
        """Account for bytes that arrived, or Refused."""
        if self._buffered + size > self.settings.max_buffered:
            raise Refused(503, "too much is being uploaded at once", **{"retry-after": "2"})
        self._buffered += size


def _counted(record: Record, receive: Receive) -> Receive:
    """Counts the bytes that a stream's client sends, and notes how it leaves."""

    async def counted() -> Message:
        message = await receive()
        record.received += len(message.get("bytes") or message.get("text") or "")
        if message["type"] == "websocket.disconnect" and record.status is None:
            record.status = message.get("code", 1005)
        return message

    return counted


def _noted(record: Record, send: Send) -> Send:
    """Notes how a stream ends, and names the request to its client."""

    async def noted(message: Message) -> None:
        if message["type"] == "websocket.accept":
            own = [(name.encode(), value.encode("latin-1")) for name, value in record.headers.items()]
            message = {**message, "headers": [*message.get("headers", []), *own]}
        elif message["type"] == "websocket.close":
            record.status = message.get("code", 1000)
        await send(message)

    return noted
