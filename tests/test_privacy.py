"""Nothing phones out: no name is resolved, no host beyond loopback connected to, no device id written."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.trees.models import make_model, tone, wav

ROOT = Path(__file__).parents[1]
OPT_OUTS = {
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "ORT_DISABLE_TELEMETRY": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
}
NEAR = re.compile(r'sin_addr=inet_addr\("(127\.|0\.0\.0\.0")|inet_pton\(AF_INET6, "::1?"')
"""Addresses in strace's output that do not leave the machine."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model, and 12 s of sound: long enough for the speech detector, which onnxruntime runs."""
    folder = tmp_path_factory.mktemp("offline")
    make_model(folder / "model")
    (folder / "long.wav").write_bytes(wav(tone(12.0)))
    return folder


def _clean(home: Path) -> dict[str, str]:
    """This environment with a home of its own, and without what would switch telemetry off from outside."""
    home.mkdir()
    removed = {*OPT_OUTS, "XDG_CACHE_HOME", "CI"}
    left = {name: value for name, value in os.environ.items() if name not in removed}
    return left | {"HOME": str(home), "UNDERTONE_CACHE": str(home / "undertone"), "PYTHONPATH": _paths()}


def _paths() -> str:
    return os.pathsep.join([str(ROOT / "src"), str(ROOT)])


def _watched(trace: Path) -> list[str]:
    """What runs a command under strace, without a route where namespaces can be had; none without strace."""
    if shutil.which("strace") is None:
        return []
    calls = ["strace", "-f", "-qq", "-e", "trace=connect,sendto,sendmsg,sendmmsg", "-o", str(trace)]
    away = ["unshare", "--map-root-user", "--net"]
    able = shutil.which("unshare") and not subprocess.run([*away, "true"], capture_output=True).returncode
    return [*(away if able else []), *calls]


@pytest.mark.skipif(sys.platform != "linux", reason="strace and namespaces are Linux' own")
@pytest.mark.parametrize("job", ["predict", "serve", "convert"])
def test_nothing_is_sent_beyond_this_machine(job: str, folder: Path, tmp_path: Path) -> None:
    if job == "convert":
        pytest.importorskip("openvino")
    home, trace = tmp_path / "home", tmp_path / "trace"
    command = [*_watched(trace), sys.executable, str(ROOT / "tests" / "offline.py"), job, str(folder)]
    done = subprocess.run(command, env=_clean(home), capture_output=True, encoding="utf-8", timeout=240)
    attempts = folder / "attempts.txt"
    assert not attempts.exists(), attempts.read_text(encoding="utf-8")
    assert done.returncode in (0, -signal.SIGTERM), done.stderr  # the server ends by its signal
    assert "label" in done.stdout
    written = [p.relative_to(home).as_posix() for p in home.rglob("*") if p.is_file()]
    assert not [p for p in written if not p.startswith("undertone/")], "an id or a log of another library"
    if not trace.exists():
        pytest.skip("strace is not installed (`make system-deps`): only Python's own sockets were watched")
    lines = trace.read_text(encoding="utf-8", errors="replace").splitlines()
    outside = [line for line in lines if "sa_family=AF_INET" in line and not NEAR.search(line)]
    assert not outside


def test_importing_undertone_switches_telemetry_off_before_any_library_is_loaded() -> None:
    code = f"import undertone, os; print(*[os.environ.get(name) for name in {tuple(OPT_OUTS)}])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={k: v for k, v in os.environ.items() if k not in OPT_OUTS} | {"PYTHONPATH": _paths()},
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    assert done.stdout.split() == list(OPT_OUTS.values())


def test_openvino_and_onnxruntime_are_imported_behind_their_one_door() -> None:
    """Only there is OpenVINO's telemetry package kept from being loaded; it knows no variable."""
    imports = re.compile(r"^\s*(?:import|from) (?:openvino|onnxruntime)\b", re.M)
    doors = [p.name for p in (ROOT / "src").rglob("*.py") if imports.search(p.read_text(encoding="utf-8"))]
    assert doors == ["runtimes.py"]


def test_the_container_and_the_unit_say_so_too() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    guide = (ROOT / "docs" / "guides" / "serving.md").read_text(encoding="utf-8")
    assert re.search(r"^ENV .*\bORT_DISABLE_TELEMETRY=1\b", dockerfile, re.M)
    assert re.search(r"^Environment=ORT_DISABLE_TELEMETRY=1$", guide, re.M)
