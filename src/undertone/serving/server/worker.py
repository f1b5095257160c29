"""The decoding process: bytes of uploads in on stdin, samples out on stdout. Run with ``python -m``.

It sits under limits of memory, processor time, files and their size, and holds nothing but numpy, soundfile
and soxr, so a malicious file can at worst end this process, which the server starts anew. It never writes to
disk, and starts no program: its PATH is empty. Only with ``containers`` what soundfile does not read goes to
ffmpeg: the PATH is then its folder, it is under the same limits, and it reads the upload from memory.

    in   4 bytes: length of the head │ head, JSON: {"size", "name", "max_seconds", "rate", "cpu",
                                         "containers", "channels"} │ size bytes
    out  4 bytes: length of the head │ head, JSON: {"size", "channels", "warnings"} or {"error"}  │ float32

``channels`` is what is wanted of them, and then the number of each column of the samples (N, C); none: they
are (N,). A head with "path" is about a file on the disk, which is not held in memory: its answer has no
samples but "seconds", and after it the samples come piece by piece, until a piece has none.
"""

from __future__ import annotations

import json
import os
import signal
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

LENGTH = struct.Struct("<I")
MOST_HEAD = 2**16
REMEDY = "a server that runs with --containers reads m4a, mp4, webm and more"


def main() -> None:
    """Serve until stdin closes."""
    incoming, outgoing = sys.stdin.buffer, sys.stdout.buffer
    for name in ("SIGINT", "SIGTERM"):  # the server ends it by closing stdin
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    _warm()
    memory, largest = [*map(int, sys.argv[1:]), 0, 0][:2]
    _limit(memory, largest)
    _write(outgoing, {"ready": True})
    while (job := _read_head(incoming)) is not None:
        data = incoming.read(job["size"])
        _limit_time(job["cpu"])
        try:
            for head, samples in _in_pieces(job) if "path" in job else [_decode(data, job)]:
                _write(outgoing, head, samples)
        except MemoryError:
            _write(outgoing, {"error": "needs more memory to decode than is allowed"})
        except Exception as error:
            _write(outgoing, {"error": str(error) or type(error).__name__})
        del data


def _decode(data: bytes, job: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    from undertone.audio import receive

    containers = bool(job.get("containers"))
    with _remedied(containers):
        received = receive(
            data,
            job["name"],
            job["channels"],
            job["rate"],
            longest=job["max_seconds"],
            containers=containers,
        )
    samples = received.samples.tobytes()
    warnings = [received.warning] if received.warning else []
    return {"size": len(samples), "channels": received.channels, "warnings": warnings}, samples


def _in_pieces(job: dict[str, Any]) -> Iterator[tuple[dict[str, Any], bytes]]:
    """What there is, then its samples, then a piece without any."""
    from undertone.audio import pieces, survey

    path, name, channels = Path(job["path"]), job["name"], job["channels"]
    containers = bool(job.get("containers"))
    with _remedied(containers):
        about = survey(path, name, channels, longest=job["max_seconds"], containers=containers)
    warnings = [about.warning] if about.warning else []
    yield {"seconds": about.seconds, "channels": about.channels, "warnings": warnings}, b""
    for piece in pieces(path, name, channels, job["rate"], seconds=job["piece"], containers=containers):
        if len(piece):
            samples = piece.tobytes()
            yield {"size": len(samples)}, samples
    yield {"size": 0}, b""


@contextmanager
def _remedied(containers: bool) -> Iterator[None]:
    """States what reads a format that only ffmpeg does, where it may not be used."""
    from undertone.audio.native import Unreadable
    from undertone.errors import AudioError

    try:
        yield
    except Unreadable as error:
        if containers or error.known:
            raise
        raise AudioError(f"{error}; {REMEDY}") from None


def _warm() -> None:
    """Import everything before the limits: they are meant for the data."""
    import numpy as np
    import soundfile  # noqa: F401
    import soxr

    import undertone.audio  # noqa: F401

    soxr.resample(np.zeros(800, np.float32), 8000, 16000)


def _limit(memory: int, largest: int) -> None:
    """Limits for the life of the process and of ffmpeg, where the system has them (not on Windows).

    ``largest`` counts for files in memory, too: an upload on its way to ffmpeg is one.
    """
    try:
        import resource
    except ImportError:
        return
    if memory:
        limit = _address_space() + memory
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    for name, value in (("RLIMIT_FSIZE", largest), ("RLIMIT_CORE", 0), ("RLIMIT_NOFILE", 32)):
        resource.setrlimit(getattr(resource, name), (value, value))


def _limit_time(seconds: float) -> None:
    """Processor time for the next job: past it the system ends the process."""
    try:
        import resource
    except ImportError:
        return
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime + seconds) + 1, hard))


def _address_space() -> int:
    """Bytes mapped now; 0 where the system gives no number."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123
            return int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 2**31  # libraries map a lot that they never use


def _read_head(stream: BinaryIO) -> dict[str, Any] | None:
    prefix = stream.read(LENGTH.size)
    if len(prefix) < LENGTH.size:
        return None
    head: dict[str, Any] = json.loads(stream.read(LENGTH.unpack(prefix)[0]))
    return head


def _write(stream: BinaryIO, head: dict[str, Any], payload: bytes = b"") -> None:
    text = json.dumps(head).encode()
    stream.write(LENGTH.pack(len(text)) + text)
    stream.write(payload)
    stream.flush()


if __name__ == "__main__":
    main()
