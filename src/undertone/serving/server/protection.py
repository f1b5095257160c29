"""Every protection that needs no model, in one plain ASGI layer in front of all routes.

In this order: the Host header (DNS rebinding), the Origin of whatever changes or costs something
(cross-site forms and sockets), the token, room for one more request, the body's size and pace. The
headers that browsers heed are added to every answer, those of 404, 405 and 413 included. What a route
throws becomes a plain 500 here, without its reason.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

from undertone.serving.server.hosts import host_allowed, origin_allowed
from undertone.serving.server.logs import Record
from undertone.serving.server.metrics import Metrics
from undertone.serving.server.page import FILES
from undertone.serving.server.settings import ServerSettings

__all__ = ["Protection"]

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
ASGIApp: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

PUBLIC = frozenset(FILES)
"""The page's own files: they hold no secrets, and the page must load before the user can enter the token."""
PROBES = frozenset({"/healthz", "/readyz"})
"""For machines, which call by any name."""

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

LINGER_SECONDS = 2.0
LINGER_BYTES = 64 * 2**20

log = logging.getLogger(__name__)


class _Refused(Exception):
    """Stop here and answer this."""

    def __init__(self, status: int, why: str, **headers: str) -> None:
        super().__init__(why)
        self.status, self.why, self.headers = status, why, headers


class _Disconnected(Exception):
    """The client has hung up; nobody waits for an answer."""


class Protection:
    """Wraps the application; holds the counters of what is under way."""

    def __init__(self, app: ASGIApp, settings: ServerSettings, metrics: Metrics) -> None:
        self._app = app
        self._settings = settings
        self._metrics = metrics
        self._requests = 0
        self._buffered = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await _Exchange(self, scope, receive, send).run()
        elif scope["type"] == "websocket":
            await self._socket(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Host and Origin are checked here; the token comes in the first message, which ``stream`` reads."""
        headers = _headers(scope)
        if host_allowed(headers.get("host"), self._settings) and origin_allowed(headers, self._settings):
            await self._app(scope, receive, send)
            return
        self._metrics.refused("origin")
        await receive()
        await send({"type": "websocket.close", "code": 1008, "reason": "host or origin not allowed"})

    # ---- what an exchange needs -----------------------------------------------------------------------

    def check_host(self, path: str, headers: dict[str, str]) -> None:
        if path not in PROBES and not host_allowed(headers.get("host"), self._settings):
            raise _Refused(421, "the Host header is not one this server answers to (see --allow-host)")

    def check_caller(self, method: str, path: str, headers: dict[str, str]) -> None:
        reading = method in ("GET", "HEAD")
        if not reading and method != "OPTIONS" and not origin_allowed(headers, self._settings):
            raise _Refused(403, "requests from other sites' pages are not answered (see --cors-origin)")
        open_to_all = reading and path in PUBLIC | PROBES
        token = self._settings.token
        if token and not open_to_all and not _same(headers.get("authorization", ""), token):
            raise _Refused(401, "a bearer token is needed", **{"www-authenticate": "Bearer"})

    def check_size(self, headers: dict[str, str]) -> None:
        """What the client announces; what really comes is counted by the exchange."""
        declared = headers.get("content-length", "0")
        if not (declared.isascii() and declared.isdigit()):
            raise _Refused(400, "the Content-Length header is not a number")
        if int(declared) > self._settings.max_bytes:
            raise self.too_large()

    def too_large(self) -> _Refused:
        return _Refused(413, f"the body is longer than {self._settings.max_bytes} bytes")

    def enter(self) -> None:
        """Room for one more request with a body, or _Refused."""
        if self._requests >= self._settings.max_waiting:
            raise _Refused(503, "too many requests are under way", **{"retry-after": "1"})
        self._requests += 1
        self._metrics.waiting(self._requests)

    def leave(self, held: int) -> None:
        self._requests -= 1
        self._buffered -= held
        self._metrics.waiting(self._requests)

    def hold(self, size: int) -> None:
        """Account for bytes that arrived, or _Refused."""
        if self._buffered + size > self._settings.max_buffered:
            raise _Refused(503, "too much is being uploaded at once", **{"retry-after": "2"})
        self._buffered += size


class _Exchange:
    """One request and its answer."""

    def __init__(self, gate: Protection, scope: Scope, receive: Receive, send: Send) -> None:
        self._gate, self._scope, self._receive, self._send = gate, scope, receive, send
        self._settings, self._metrics = gate._settings, gate._metrics
        self._headers = _headers(scope)
        self._body = bytearray()
        self._complete = not _has_body(self._headers)
        self._entered = self._replayed = self._answered = False
        self._record = Record(method=scope["method"], path=scope["path"])
        scope.setdefault("state", {})["record"] = self._record

    async def run(self) -> None:
        began = time.perf_counter()
        try:
            await self._pass_on()
        except _Refused as refused:
            await self._refuse(refused)
        except TimeoutError:
            if self._complete:
                await self._refuse(_Refused(503, "this took too long", **{"retry-after": "5"}))
            else:
                await self._refuse(_Refused(408, "the body did not arrive in time"))
        except _Disconnected:
            self._record.status = 499  # as others log it: nobody was there to answer
        except Exception:
            log.exception("a request failed; this is a fault of the server's")
            await self._refuse(_Refused(500, "the server failed; its log has the reason"))
        finally:
            if self._entered:
                self._gate.leave(len(self._body))
            self._record.seconds = time.perf_counter() - began
            self._record.received = len(self._body)
            self._metrics.answered(self._record)
            self._record.write()

    async def _pass_on(self) -> None:
        """Everything checked, the body collected, then the application."""
        method, path = self._scope["method"], self._scope["path"]
        self._gate.check_host(path, self._headers)
        if method == "OPTIONS" and "access-control-request-method" in self._headers and self._cors():
            await self._answer(204, b"", {})
            return
        self._gate.check_caller(method, path, self._headers)
        self._gate.check_size(self._headers)
        if not self._complete or method == "POST":
            self._gate.enter()
            self._entered = True
            async with asyncio.timeout(self._settings.receive_seconds):
                await self._collect()
        async with asyncio.timeout(self._settings.request_seconds):
            await self._gate._app(self._scope, self._replay, self._decorated)

    # ---- receiving -----------------------------------------------------------------------------------

    async def _collect(self) -> None:
        """The whole body into memory, counted as it arrives."""
        while not self._complete:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise _Disconnected
            chunk = message.get("body", b"")
            if len(self._body) + len(chunk) > self._settings.max_bytes:
                raise self._gate.too_large()
            self._gate.hold(len(chunk))
            self._body += chunk
            self._complete = not message.get("more_body", False)

    async def _replay(self) -> Message:
        """The collected body in one message, then whatever the client does (hang up)."""
        if not self._replayed:
            self._replayed = True
            return {"type": "http.request", "body": bytes(self._body), "more_body": False}
        return await self._receive()

    # ---- answering -----------------------------------------------------------------------------------

    def _cors(self) -> dict[str, str]:
        origin = self._headers.get("origin")
        if origin is None or origin not in self._settings.cors_origins:
            return {}
        return {
            "access-control-allow-origin": origin,
            "access-control-allow-headers": "authorization, content-type",
            "access-control-allow-methods": "GET, POST",
            "cross-origin-resource-policy": "cross-origin",
            "vary": "origin",
        }

    async def _decorated(self, message: Message) -> None:
        """What the application sends, with our headers."""
        if message["type"] == "http.response.start":
            self._answered = True
            self._record.status = message["status"]
            own = {name.lower() for name, _ in message.get("headers", [])}
            extra = {
                name.encode(): value.encode("latin-1")
                for name, value in {**HEADERS, **self._cors(), "x-request-id": self._record.id}.items()
            }
            missing = [(name, value) for name, value in extra.items() if name not in own]
            message = {**message, "headers": [*message.get("headers", []), *missing]}
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

    async def _refuse(self, refused: _Refused) -> None:
        self._metrics.refused(str(refused.status))
        if self._answered:  # half an answer is out: the connection can only be cut
            return
        headers = dict(refused.headers)
        if not self._complete:
            headers["connection"] = "close"
        await self._answer(refused.status, json.dumps({"detail": refused.why}).encode(), headers)


def _has_body(headers: dict[str, str]) -> bool:
    return "transfer-encoding" in headers or headers.get("content-length", "0") != "0"


def _headers(scope: Scope) -> dict[str, str]:
    """Header names in lower case; of doubled ones that matter here, none is trusted: they are joined."""
    joined: dict[str, str] = {}
    for name, value in scope["headers"]:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        joined[key] = f"{joined[key]}, {text}" if key in joined else text
    return joined


def _same(authorization: str, token: str) -> bool:
    scheme, _, given = authorization.partition(" ")
    return scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), token.encode())
