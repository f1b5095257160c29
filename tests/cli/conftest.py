"""The command line through its own door, in this process."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from trees.commands import Ran, Run
from undertone.cli import main


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """Runs ``undertone`` with some words, as a new process would: its messages go to today's stderr."""
    root = logging.getLogger()
    before = list(root.handlers)

    def runs(*words: str | Path) -> Ran:
        monkeypatch.setattr(sys, "argv", ["undertone", *map(str, words)])
        capsys.readouterr()
        root.handlers = []
        with pytest.raises(SystemExit) as left:
            main()
        written = capsys.readouterr()
        return Ran(int(left.value.code or 0), written.out, written.err)

    yield runs
    root.handlers = before
