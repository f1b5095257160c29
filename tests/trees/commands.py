"""What a command left behind: its status, and what it wrote on stdout and stderr."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Ran:
    status: int
    out: str
    err: str


Run = Callable[..., Ran]


def failed(ran: Ran, *names: str, status: int = 1) -> None:
    """One line on stderr that names what it is about, the status, nothing on stdout."""
    assert ran.status == status, ran
    assert ran.out == ""
    lines = ran.err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("undertone: "), ran.err
    for name in names:
        assert name in lines[0], ran.err
