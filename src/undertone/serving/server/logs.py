"""One line of JSON per request on the log ``undertone.access``: what happened, never transcripts."""

from __future__ import annotations

import json
import logging
import secrets
from dataclasses import dataclass, field

__all__ = ["Record"]

access = logging.getLogger("undertone.access")


@dataclass
class Record:
    """What is known of one request once it is over; routes add to it."""

    method: str
    path: str
    id: str = field(default_factory=lambda: secrets.token_hex(8))
    status: int | None = None
    seconds: float = 0.0
    received: int = 0
    """Bytes of the body."""
    clips: int = 0
    audio: float = 0.0
    """Seconds of audio."""
    transcript: str | None = None
    """Only where the settings ask for transcripts."""

    def write(self) -> None:
        if not access.isEnabledFor(logging.INFO):
            return
        line = {
            "request": self.id,
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
        access.info(json.dumps(line))
