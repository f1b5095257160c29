"""Sounds, and a real server in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from tests.serving.browsing import browser, page  # noqa: F401  fixtures
from tests.trees.models import _no_starter, clip, make_tone, make_wav, model_folder, new_model  # noqa: F401  fixtures

SERVER = Path(__file__).with_name("fake_server.py")


@dataclass
class Running:
    """A server, where it is, and what it logged."""

    process: subprocess.Popen[str]
    url: str
    lines: list[str] = field(default_factory=list)

    @property
    def requests(self) -> list[dict[str, object]]:
        return [line for line in self.events if line["event"] == "request"]

    @property
    def events(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in list(self.lines) if line.startswith("{")]

    def until(self, true: Callable[[], bool], seconds: float = 10.0) -> None:
        """Wait for what the log will say."""
        deadline = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < deadline, "it did not happen:\n" + "".join(self.lines[-20:])
            time.sleep(0.01)

    @property
    def memory(self) -> int:
        """Resident bytes of the server and its children."""
        import psutil

        me = psutil.Process(self.process.pid)
        return sum(p.memory_info().rss for p in (me, *me.children(recursive=True)))

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(30)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()


@pytest.fixture(scope="session")
def start_server() -> Callable[..., Running]:
    """Starts ``fake_server.py`` with settings; the caller stops it."""

    def start(limits: dict[str, int] | None = None, **settings: object) -> Running:
        environment = {**os.environ, "LIMITS": json.dumps(limits or {}), "PYTHONWARNINGS": "error"}
        process = subprocess.Popen(
            [sys.executable, str(SERVER), json.dumps(settings)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        running = Running(process, "")
        assert process.stderr is not None
        threading.Thread(
            target=lambda: running.lines.extend(iter(process.stderr.readline, "")), daemon=True
        ).start()
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and process.poll() is None:
            found = [line for line in running.lines if "listening on" in line]
            if found:
                running.url = found[0].split("listening on ")[1].split()[0]
                return running
            time.sleep(0.02)
        process.kill()
        process.wait()
        raise AssertionError("the server did not start:\n" + "".join(running.lines))

    return start


@pytest.fixture(scope="module")
def server(start_server: Callable[..., Running]) -> Iterator[Running]:
    running = start_server()
    yield running
    running.stop()
    assert running.process.stderr is not None
    running.process.stderr.close()


@pytest.fixture(scope="module")
def client(server: Running) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=30) as client:
        yield client
