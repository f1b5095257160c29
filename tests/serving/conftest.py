"""Sounds, and a real server in a process of its own."""

from __future__ import annotations

import io
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
from typing import Any

import httpx
import numpy as np
import pytest

SERVER = Path(__file__).with_name("fake_server.py")


def wav(wave: np.ndarray, rate: int = 16000, subtype: str = "PCM_16", form: str = "WAV") -> bytes:
    """A sound file in memory."""
    import soundfile

    file = io.BytesIO()
    soundfile.write(file, wave, rate, subtype=subtype, format=form)
    return file.getvalue()


def tone(seconds: float = 1.0, level: float = 0.1, rate: int = 16000, hertz: float = 200.0) -> np.ndarray:
    return (level * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


@pytest.fixture(scope="session")
def make_wav() -> Callable[..., bytes]:
    return wav


@pytest.fixture(scope="session")
def make_tone() -> Callable[..., np.ndarray]:
    return tone


@pytest.fixture(scope="session")
def clip() -> bytes:
    """Three seconds of tone as 16-bit wav."""
    return wav(tone(3.0))


@dataclass
class Running:
    """A server, where it is, and what it logged."""

    process: subprocess.Popen[str]
    url: str
    lines: list[str] = field(default_factory=list)

    @property
    def requests(self) -> list[dict[str, object]]:
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
            found = [line for line in running.lines if "Uvicorn running on" in line]
            if found:
                running.url = found[0].split("running on ")[1].split()[0]
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


# ---- the model in the box ----------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _no_starter(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test here depends on whether this machine has the real starter installed."""
    monkeypatch.setattr("undertone.judging.starter.PACKAGE", "undertone_starter_of_tests")


# ---- tiny models -------------------------------------------------------------------------------------

TEXTS = ["I can't believe you did that", "what a lovely day", "leave me alone now", "the meeting is at nine"]


def make_model(folder: Path, system: str = "unison", seed: int = 0, **settings: object) -> Path:
    """A small model folder with random weights, acoustic frames and subword pieces."""
    import torch

    from undertone.features.config import SpeechConfig
    from undertone.features.speech import build
    from undertone.features.subword import Subword
    from undertone.models import folder as folders
    from undertone.models.example import Dimensions
    from undertone.models.table import SYSTEMS
    from undertone.models.table import build as build_system

    torch.manual_seed(seed)
    encoder = build(SpeechConfig())
    pieces = Subword.fit(TEXTS, 80)
    sizes = Dimensions(classes=4, speech=encoder.dim, text=16, vocabulary=pieces.size)
    known = SYSTEMS[system][1].model_fields
    small = {name: value for name, value in {"width": 16, "heads": 4}.items() if name in known}
    made = build_system(system, {**small, **settings}, sizes)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.3)  # an untrained head would call everything alike
    card: dict[str, Any] = {
        "labels": ["angry", "happy", "sad", "neutral"],
        "corpus": "tiny",
        "synthesised": True,
        "protocol": {"split": "loso"},
        "encoders": {
            "speech": {"name": "acoustic", "identity": encoder.identity, "settings": encoder.config.plain()},
            "text": {"name": "subword"},
        },
    }
    card["encoders"] = {side: card["encoders"][side] for side in SYSTEMS[system][0].sides}
    folders.save(folder, made.eval(), card, pieces)
    return folder


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("models") / "unison")


@pytest.fixture(scope="session")
def new_model() -> Callable[..., Path]:
    return make_model
