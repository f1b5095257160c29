"""Formats that soundfile does not read (mp4, m4a, webm …), through ffmpeg where it is installed.

ffmpeg gets a list of the containers and protocols it may open: without it, a playlist named
``clip.mp4`` could make it read other files or the network.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from undertone.audio.source import Source
from undertone.errors import AudioError

__all__ = ["SUFFIXES", "converted", "probe", "require"]

SUFFIXES = frozenset({".mp4", ".m4a", ".mkv", ".webm", ".avi", ".mov", ".aac", ".wma", ".amr", ".3gp"})
"""Of files that go to ffmpeg without trying soundfile first."""

CONTAINERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,flv,asf,mpeg,mpegts,aac,ac3,eac3,amr,amrnb,amrwb,"
    "aiff,ape,au,caf,dts,flac,mp3,mpc,mpc8,ogg,tak,tta,w64,wav,wv"
)
SAFE = ("-v", "error", "-format_whitelist", CONTAINERS, "-protocol_whitelist", "file")


def probe(source: Source) -> tuple[int, int, int]:
    """Rate, frames and channels of the first sound track, by the header."""
    with _on_disk(source) as path:
        fields = "stream=sample_rate,channels,duration:format=duration"
        arguments = ["-select_streams", "a:0", "-show_entries", fields, "-of", "json", f"file:{path}"]
        report = json.loads(_run("ffprobe", source, arguments))
    if not report.get("streams"):
        raise AudioError(f"{source.name}: has no sound track")
    stream = report["streams"][0]
    rate = int(stream["sample_rate"])
    seconds = stream.get("duration") or report.get("format", {}).get("duration") or 0.0
    return rate, round(float(seconds) * rate), int(stream["channels"])


@contextmanager
def converted(source: Source) -> Iterator[Path]:
    """A temporary wav of the first sound track, its rate and channels as they are."""
    with tempfile.TemporaryDirectory(prefix="undertone-") as folder, _on_disk(source) as path:
        wav = Path(folder) / "sound.wav"
        arguments = ["-i", f"file:{path}", "-map", "0:a:0", "-vn", "-c:a", "pcm_f32le", f"file:{wav}"]
        _run("ffmpeg", source, ["-nostdin", *arguments])
        yield wav


def require(program: str, source: Source) -> str:
    """The path of a program of ffmpeg's; without it, an error that names the remedy."""
    path = shutil.which(program)
    if path is None:
        raise AudioError(
            f"{source.name}: soundfile does not read this format; if it is sound, install ffmpeg"
        )
    return path


def _run(program: str, source: Source, arguments: list[str]) -> bytes:
    command = [require(program, source), *SAFE, *arguments]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode != 0:
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines() or ["no reason given"]
        raise AudioError(f"{source.name}: neither soundfile nor ffmpeg can read it ({lines[-1].strip()})")
    return done.stdout


@contextmanager
def _on_disk(source: Source) -> Iterator[Path]:
    """The source as a file: ffmpeg must seek in it."""
    if isinstance(source.content, Path):
        yield source.content.absolute()
        return
    with tempfile.TemporaryDirectory(prefix="undertone-") as folder:
        path = Path(folder) / "sound"
        path.write_bytes(source.content)
        yield path
