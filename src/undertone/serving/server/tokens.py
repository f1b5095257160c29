"""Who may call: the holders of a token, or of one of several with names, each within its own rate.

A file of tokens holds one token, or a line for each: ``name:token``, and after a space, if wanted, how many
requests a minute it may send. The file is read again when it has changed, so tokens are replaced
without a restart. Lines that begin with ``#`` are left out.
"""

from __future__ import annotations

import hmac
import logging
import time
from dataclasses import dataclass
from pathlib import Path

from undertone.errors import ConfigError
from undertone.serving.server.settings import ServerSettings

__all__ = ["ADMIN", "Caller", "Callers", "read_tokens"]

log = logging.getLogger(__name__)

LOOK_AGAIN_SECONDS = 1.0
"""The file is looked at no more often than this."""
UNNAMED = "token"
"""What the log calls the holder of a token that has no name."""
ADMIN = "admin"
"""The holder of the token with this name may replace models."""


@dataclass(frozen=True)
class Caller:
    """One who may call, as the log names them."""

    name: str
    token: str
    per_minute: int = 0
    """Requests a minute; 0: as many as they like."""


class Callers:
    """The tokens of one server, and what their holders have used of their rates."""

    def __init__(self, settings: ServerSettings) -> None:
        self._settings = settings
        self._file = settings.token_file
        self._looked = 0.0
        self._used: dict[str, tuple[float, float]] = {}  # requests left, and when that was so
        self._state = _state(self._file) if self._file is not None else None
        self._callers = self._all()

    def __bool__(self) -> bool:
        """Whether a token is needed at all."""
        return bool(self._settings.token) or self._file is not None

    def bearer(self, authorization: str) -> Caller | None:
        """Whose token an ``Authorization`` header carries."""
        scheme, _, given = authorization.partition(" ")
        return self.holder(given.strip()) if scheme.lower() == "bearer" else None

    def holder(self, token: str) -> Caller | None:
        """Whose token this is; all are compared, each in constant time."""
        self._look()
        same = [one for one in self._callers if hmac.compare_digest(token.encode(), one.token.encode())]
        return same[0] if same else None

    def wait(self, caller: Caller) -> float:
        """0 where the caller may send a request now, which then counts; else for how many seconds not."""
        if not caller.per_minute:
            return 0.0
        now, most = time.monotonic(), float(caller.per_minute)
        left, then = self._used.get(caller.name, (most, now))
        left = min(most, left + (now - then) * most / 60)
        if left < 1:
            self._used[caller.name] = left, now
            return (1 - left) * 60 / most
        self._used[caller.name] = left - 1, now
        return 0.0

    def _all(self) -> tuple[Caller, ...]:
        limit, token = self._settings.rate_limit, self._settings.token
        own = (Caller("own", token, limit),) if token else ()
        return own + (read_tokens(self._file, limit) if self._file is not None else ())

    def _look(self) -> None:
        """Read the file again if it has changed; one that cannot be read leaves all as it is."""
        now = time.monotonic()
        if self._file is None or now - self._looked < LOOK_AGAIN_SECONDS:
            return
        self._looked = now
        state = _state(self._file)
        if state == self._state:
            return
        self._state = state
        try:
            callers = self._all()
            if UNNAMED in {one.name for one in callers} - {one.name for one in self._callers}:
                raise ConfigError("a token without a name stands in place of those with names")
            self._callers = callers
        except ConfigError as error:
            log.warning("the tokens stay as they were: %s", error)
        else:
            log.warning("the file of tokens was read again: %d tokens", len(self._callers))


def read_tokens(file: Path, rate_limit: int = 0) -> tuple[Caller, ...]:
    """The tokens in a file; ConfigError where there are none, or it cannot be read."""
    try:
        lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--token-file {file}: cannot be read ({error})") from None
    lines = [line for line in lines if line and not line.startswith("#")]
    if not lines:
        raise ConfigError(f"--token-file {file}: is empty")
    if len(lines) == 1 and ":" not in lines[0]:
        return (Caller(UNNAMED, lines[0], rate_limit),)
    callers = tuple(_caller(line, f"--token-file {file}", rate_limit) for line in lines)
    if len({one.name for one in callers}) < len(callers):
        raise ConfigError(f"--token-file {file}: a name comes more than once")
    return callers


def _caller(line: str, where: str, rate_limit: int) -> Caller:
    name, colon, rest = line.partition(":")
    token, *more = rest.split() or [""]
    if not colon or not name.strip() or not token or len(more) > 1 or not all(m.isdecimal() for m in more):
        raise ConfigError(f"{where}: a line is not 'name:token' or 'name:token requests-a-minute'")
    return Caller(name.strip(), token, int(more[0]) if more else rate_limit)


def _state(file: Path) -> tuple[int, int, int] | None:
    try:
        known = file.stat()
    except OSError:
        return None
    return known.st_mtime_ns, known.st_size, known.st_ino
