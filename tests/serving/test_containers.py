"""Uploads that only ffmpeg reads: refused, or with ``--containers`` read by it in the decoding process."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from trees.sound import noise
from undertone.serving.server.settings import ServerSettings

pytestmark = pytest.mark.skipif(
    shutil.which("ffmpeg") is None or not hasattr(os, "memfd_create"),
    reason="ffmpeg is not installed, or this is not Linux",
)

MADE = {
    "index last.m4a": [],
    "index first.mp4": ["-movflags", "faststart"],
    "browser.webm": ["-c:a", "libopus"],
    "clip.wma": [],
    "clip.aac": [],
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("made")
    noise(folder / "clip.wav", 2.0)
    for name, options in MADE.items():
        words = ["ffmpeg", "-v", "error", "-i", folder / "clip.wav", *options, folder / name]
        subprocess.run([str(word) for word in words], check=True)
    return {name: (folder / name).read_bytes() for name in MADE}


@pytest.fixture(scope="module")
def open_server(start_server: Callable[..., Any]) -> Iterator[Any]:
    running = start_server(containers=True, max_seconds=10.0)
    yield running
    running.stop()
    running.process.stderr.close()


def _post(server: Any, data: bytes, name: str = "clip.m4a") -> httpx.Response:
    return httpx.post(f"{server.url}/v1/predict", files={"file": (name, data)}, timeout=30)


@pytest.mark.parametrize("name", MADE)
def test_with_containers_an_upload_goes_through_ffmpeg(
    open_server: Any, made: dict[str, bytes], name: str
) -> None:
    answer = _post(open_server, made[name], name)
    assert answer.status_code == 200, answer.text
    assert answer.json()["modalities"] == ["speech"]


def test_without_containers_the_refusal_names_the_option(server: Any, made: dict[str, bytes]) -> None:
    answer = _post(server, made["index last.m4a"])
    assert 400 <= answer.status_code < 500
    assert "clip.m4a: not a sound format that soundfile reads" in answer.text
    assert "--containers" in answer.text


def test_a_playlist_opens_no_other_file(open_server: Any, tmp_path: Path) -> None:
    noise(tmp_path / "secret.wav", 2.0)
    secret = tmp_path / "secret.wav"
    for text in (
        f"ffconcat version 1.0\nfile {secret}\n",
        f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{secret}\n#EXT-X-ENDLIST\n",
        f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{open_server.url}/healthz\n#EXT-X-ENDLIST\n",
    ):
        answer = _post(open_server, text.encode())
        assert 400 <= answer.status_code < 500
        assert "neither soundfile nor ffmpeg can read it" in answer.text


def test_the_limits_hold_for_containers(open_server: Any, tmp_path: Path) -> None:
    for seconds, options in {12: ["-c:a", "libopus"], 2: ["-ar", "2000", "-c:a", "pcm_s16le"]}.items():
        path = tmp_path / "clip.mkv"
        source = f"sine=300:duration={seconds}"
        words = ["ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i", source, *options, str(path)]
        subprocess.run(words, check=True)
        answer = _post(open_server, path.read_bytes())
        assert 400 <= answer.status_code < 500
        assert "longer than the 10 s allowed" in answer.text or "is not a recording of speech" in answer.text


def test_what_takes_too_long_is_ended_with_its_ffmpeg(
    start_server: Callable[..., Any], made: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import psutil

    for program in ("ffmpeg", "ffprobe"):
        (tmp_path / program).write_text("#!/bin/sh\nexec /bin/sleep 61\n")
        (tmp_path / program).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    running = start_server(containers=True, decode_seconds=1.0)
    try:
        answer = _post(running, made["index last.m4a"])
        assert 400 <= answer.status_code < 600
        sleeping = [p for p in psutil.process_iter(["cmdline"]) if p.info["cmdline"] == ["/bin/sleep", "61"]]
        psutil.wait_procs(sleeping, timeout=5)
        assert not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in sleeping)
        assert _post(running, b"nonsense").status_code >= 400  # and the server goes on
    finally:
        running.stop()
        running.process.stderr.close()


def test_containers_need_ffmpeg(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(Exception, match="needs ffmpeg and ffprobe"):
        ServerSettings(containers=True)
