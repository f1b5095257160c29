"""Formats that soundfile does not read (mp4, m4a, webm …), through ffmpeg where it is installed.

ffmpeg gets a list of the containers and protocols it may open: without it, a playlist named
``clip.mp4`` could make it read other files or the network.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from undertone.audio import headers
from undertone.audio.sound import OpenSound
from undertone.audio.source import Source
from undertone.errors import AudioError
from undertone.types import Seconds

if TYPE_CHECKING:
    from undertone.types import Wave

__all__ = ["SUFFIXES", "ConvertedSound", "converted", "installed", "require"]

SUFFIXES = frozenset({".mp4", ".m4a", ".mkv", ".webm", ".avi", ".mov", ".aac", ".wma", ".amr", ".3gp"})
"""Of files that soundfile does not read."""

CONTAINERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,flv,asf,mpeg,mpegts,aac,ac3,eac3,amr,amrnb,amrwb,"
    "aiff,ape,au,caf,dts,flac,mp3,mpc,mpc8,ogg,tak,tta,w64,wav,wv"
)
SAFE = ("-v", "error", "-format_whitelist", CONTAINERS, "-protocol_whitelist", "file")

MEASURED = ("mov", "matroska", "asf", "avi")
"""Containers whose duration is no estimate from the rate of bytes."""

SLOPPY: Seconds = 0.3
"""How much longer than its sound such a container may claim to be."""


class ConvertedSound(OpenSound):
    """The first sound track as ffmpeg decodes it."""

    def __init__(self, source: Source, path: str, handles: tuple[int, ...]) -> None:
        self._source, self._path, self._handles = source, f"file:{path}", handles
        rate, channels, claimed = self._probe()
        super().__init__(source.name, rate, channels, claimed, round(SLOPPY * rate))
        samples = headers.samples(source)
        if samples is not None and samples.available < (samples.claimed or 0):
            self.claimed, self.fault = None, "cut short"
        self._process = self._decode(0.0)

    def ends_as_claimed(self) -> bool:
        if self.claimed is None:
            return False
        self.close()
        self._process = self._decode(max(0.0, self.claimed / self.rate - SLOPPY))
        return len(self._next(1)) == 1

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()

    def _next(self, count: int) -> Wave:
        import numpy as np

        assert self._process.stdout is not None
        size = 4 * self.channels
        data = self._process.stdout.read(count * size)
        if len(data) < count * size and self._process.wait():
            self.fault = "cut short or damaged"
        whole = data[: len(data) // size * size]
        frames: Wave = np.frombuffer(whole, "<f4").astype(np.float32).reshape(-1, self.channels)
        return frames

    def _decode(self, start: Seconds) -> subprocess.Popen[bytes]:
        form = ["-f", "f32le", "-ar", str(self.rate), "-ac", str(self.channels), "pipe:1"]
        after = ["-ss", f"{start:.3f}"] if start else []
        track = ["-i", self._path, "-map", "0:a:0", "-vn"]
        return subprocess.Popen(
            [require("ffmpeg", self._source), "-nostdin", "-threads", "1", *SAFE, *after, *track, *form],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            pass_fds=self._handles,
        )

    def _probe(self) -> tuple[int, int, int | None]:
        """Rate, channels and, where the container knows it, number of frames of the first sound track."""
        fields = "stream=sample_rate,channels,duration:format=duration,format_name"
        wanted = ["-select_streams", "a:0", "-show_entries", fields, "-of", "json"]
        done = subprocess.run(
            [require("ffprobe", self._source), *SAFE, "-i", self._path, *wanted],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            pass_fds=self._handles,
        )
        name = self._source.name
        if done.returncode != 0:
            lines = done.stderr.decode("utf-8", "replace").strip().splitlines() or ["no reason given"]
            why = lines[-1].split(": ")[-1].strip()
            raise AudioError(f"{name}: neither soundfile nor ffmpeg can read it ({why})")
        report: dict[str, Any] = json.loads(done.stdout)
        if not report.get("streams"):
            raise AudioError(f"{name}: has no sound track")
        stream, container = report["streams"][0], report.get("format", {})
        rate, channels = int(stream["sample_rate"]), int(stream["channels"])
        seconds = stream.get("duration") or container.get("duration")
        if not seconds or not container.get("format_name", "").startswith(MEASURED):
            return rate, channels, None
        return rate, channels, round(float(seconds) * rate)


@contextmanager
def converted(source: Source) -> Iterator[ConvertedSound]:
    """The open recording; an AudioError where ffmpeg is not installed or cannot read it."""
    with _on_disk(source) as (path, handles), closing(ConvertedSound(source, path, handles)) as sound:
        yield sound


def installed() -> bool:
    """Whether there is an ffmpeg."""
    return shutil.which("ffmpeg") is not None


def require(program: str, source: Source) -> str:
    """The path of a program of ffmpeg's; without it, an error that names the remedy."""
    path = shutil.which(program)
    if path is None:
        raise AudioError(
            f"{source.name}: soundfile does not read this format; if it is sound, install ffmpeg"
        )
    return path


@contextmanager
def _on_disk(source: Source) -> Iterator[tuple[str, tuple[int, ...]]]:
    """The source as a file, for ffmpeg must seek in it, and the handles that it must inherit for this."""
    if isinstance(source.content, Path):
        yield str(source.content.absolute()), ()
    elif hasattr(os, "memfd_create"):
        with open(os.memfd_create("undertone"), "wb") as file:  # noqa: PTH123
            file.write(source.content)
            file.flush()
            yield f"/proc/self/fd/{file.fileno()}", (file.fileno(),)
    else:
        with tempfile.TemporaryDirectory(prefix="undertone-") as folder:
            path = Path(folder) / "sound"
            path.write_bytes(source.content)
            yield str(path), ()
