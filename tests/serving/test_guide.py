"""The guide's Python runs as it stands there."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "serving.md"


def test_the_guides_python_runs(
    new_model: Callable[..., Path], tmp_path: Path, clip: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", GUIDE.read_text(encoding="utf-8"), re.S | re.M)
    assert len(blocks) == 2
    new_model(tmp_path / "runs" / "demo" / "unison" / "final")
    (tmp_path / "call.wav").write_bytes(clip)
    monkeypatch.chdir(tmp_path)
    known: dict[str, Any] = {"microphone": lambda: [np.zeros(4_800, np.float32)] * 3}
    for block in blocks:
        exec(block, known)
    assert known["answer"].modalities == ("speech", "text")


def test_the_guides_limits_are_the_servers() -> None:
    from undertone.judging.settings import Segmenting
    from undertone.serving.server.settings import ServerSettings

    text = GUIDE.read_text(encoding="utf-8")
    server, timeline = ServerSettings(), Segmenting()
    for number, unit in (
        (server.max_bytes // 2**20, " MiB"),
        (server.max_buffered // 2**20, " MiB"),
        (int(server.receive_seconds), " s"),
        (int(server.max_seconds) // 60, " minutes"),
        (server.max_waiting, " requests"),
        (server.max_head // 2**10, " KiB"),
        (server.max_connections, " connections"),
        (server.max_job_bytes // 2**20, " MiB"),
        (int(timeline.timeline_from), " s"),
        (int(timeline.window), " s"),
        (int(timeline.whole_up_to), " s"),
        (int(timeline.latency), " s"),
    ):
        assert f"{number}{unit}" in text
