"""Lines of JSON on the log ``undertone.access``: what happened, never transcripts.

One line a request, one at the beginning and one at the end of a stream, and one when the server starts and
one when it stops.
"""

from __future__ import annotations

import json
import logging
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

__all__ = ["Record", "note"]

access = logging.getLogger("undertone.access")

_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")
_TRACE = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def note(event: str, **more: Any) -> None:
    """Write one line."""
    if access.isEnabledFor(logging.INFO):
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        access.info(json.dumps({"time": now, "event": event, **more}))


@dataclass
class Record:
    """What is known of one request once it is over; routes add to it."""

    method: str
    path: str
    id: str = field(default_factory=lambda: secrets.token_hex(8))
    trace: str | None = None
    """The caller's ``traceparent``, or that of the request's own span."""
    client: str | None = None
    caller: str | None = None
    """The name of the token."""
    status: int | None = None
    """Of a stream, the code of its close."""
    seconds: float = 0.0
    received: int = 0
    """Bytes of the body."""
    clips: int = 0
    audio: float = 0.0
    """Seconds of audio."""
    model: str | None = None
    span: Any = None
    """Of OpenTelemetry, where it is used."""
    transcript: str | None = None
    """Only where the settings ask for transcripts."""

    @classmethod
    def of(cls, scope: Mapping[str, Any], headers: Mapping[str, str]) -> Record:
        """A new one; the caller's own request id or trace is kept where it is well-formed."""
        client = scope.get("client")
        record = cls(scope.get("method", "WS"), scope["path"], client=client[0] if client else None)
        trace = _TRACE.fullmatch(headers.get("traceparent", ""))
        if trace:
            record.id, record.trace = trace[1], trace[0]
        if _ID.fullmatch(headers.get("x-request-id", "")):
            record.id = headers["x-request-id"]
        return record

    @property
    def headers(self) -> dict[str, str]:
        """By which the client finds the request in the log."""
        trace = {"traceparent": self.trace} if self.trace else {}
        return {"x-request-id": self.id, **trace}

    def write(self, event: str = "request") -> None:
        line = {
            "request": self.id,
            "client": self.client,
            "caller": self.caller,
            "method": self.method,
            "path": self.path[:200],
            "status": self.status,
            "ms": round(1000 * self.seconds, 1),
            "bytes": self.received,
            "clips": self.clips,
            "audio_s": round(self.audio, 3),
        }
        if self.transcript is not None:
            line["transcript"] = self.transcript
        note(event, **line)
