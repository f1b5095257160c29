"""What uvicorn leaves open at the level of connections: how many, how long without a request, and the answer
to what is no HTTP.

h11 is used wherever the server runs, whatever else is installed: it bounds the length of the headers before
anything reads them.
"""

from __future__ import annotations

import json
import sys
from asyncio import TimerHandle
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from undertone.serving.server.exchange import HEADERS
from undertone.serving.server.settings import ServerSettings

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Connections"]

PIECE = 16 * 2**10
SPARE_FILES = 64
"""Files that remain for everything that is no connection."""


class Connections:
    """The HTTP connections of one server."""

    def __init__(self, settings: ServerSettings) -> None:
        self.head_seconds = settings.head_seconds
        files = _files() - SPARE_FILES - settings.max_streams
        self._most = min(settings.max_connections, max(8, files))
        self._open: set[_Connection] = set()
        self._waiting: dict[_Connection, None] = {}  # those without a request, the longest first

    @property
    def protocol(self) -> Callable[..., Any]:
        """What uvicorn makes for each connection."""
        return partial(_Connection, self)

    def enter(self, connection: _Connection) -> None:
        """For one too many, that which has waited longest is closed: a client sends its request at once."""
        self._open.add(connection)
        if len(self._open) > self._most and self._waiting:
            longest = next(iter(self._waiting))
            self.leave(longest)
            longest.transport.abort()

    def leave(self, connection: _Connection) -> None:
        self._open.discard(connection)
        self._waiting.pop(connection, None)

    def note(self, connection: _Connection, waiting: bool) -> None:
        if not waiting or connection not in self._open:
            self._waiting.pop(connection, None)
        else:
            self._waiting.setdefault(connection)


class _Connection(H11Protocol):
    """One connection: the head of each request within a time, and refusals as JSON."""

    def __init__(self, all_of_them: Connections, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._all = all_of_them
        self._timer: TimerHandle | None = None
        self._received = False

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._all.enter(self)
        self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._received = True
        for first in range(0, len(data), PIECE):  # h11 looks at the length of a head after each piece
            if self not in self.connections or self.transport.is_closing():
                return
            super().data_received(data[first : first + PIECE])
        self._look()

    def on_response_complete(self) -> None:
        self._received = False
        super().on_response_complete()
        self._look()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        self._forget()
        super().handle_websocket_upgrade(event)

    def send_400_response(self, msg: str) -> None:
        """Called for what h11 cannot read, while its error is handled."""
        error = sys.exc_info()[1]
        status = error.error_status_hint if isinstance(error, h11.RemoteProtocolError) else 400
        self._refuse(status, "the headers are too long" if status == 431 else msg)

    def _look(self) -> None:
        """Whether a request is waited for; its head must then come in time."""
        upgraded = self not in self.connections
        waiting = not upgraded and (self.cycle is None or self.cycle.response_complete)
        self._all.note(self, waiting)
        if waiting and self._timer is None:
            self._timer = self.loop.call_later(self._all.head_seconds, self._too_slow)
        elif not waiting and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _forget(self) -> None:
        self._all.leave(self)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        self._timer = None
        if self._received:
            self._refuse(408, "the headers did not arrive in time")
        else:
            self.transport.close()

    def _refuse(self, status: int, why: str) -> None:
        """Answer and close; only close where half of another answer is out."""
        if self.transport.is_closing():
            return
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            body = json.dumps({"detail": why}).encode()
            more = {
                "content-type": "application/json",
                "content-length": str(len(body)),
                "connection": "close",
            }
            headers = [(name.encode(), value.encode()) for name, value in {**HEADERS, **more}.items()]
            reason = HTTPStatus(status).phrase.encode()
            for event in (
                h11.Response(status_code=status, headers=headers, reason=reason),
                h11.Data(data=body),
            ):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()


def _files() -> int:
    """How many files this process may have open."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return 2**20
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 2**20 if soft == resource.RLIM_INFINITY else soft
