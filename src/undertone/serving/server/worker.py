"""The decoding process: bytes of uploads in on stdin, samples out on stdout. Run with ``python -m``.

It sits under limits of memory, processor time, files and their size, and holds nothing but numpy, soundfile
and soxr, so a malicious file can at worst end this process, which the server starts anew. It never writes to
disk, and starts no program: its PATH is empty, and ``header`` refuses whatever soundfile does not read.

    in   4 bytes: length of the head │ head, JSON: {"size", "name", "max_seconds", "rate", "cpu"} │ size bytes
    out  4 bytes: length of the head │ head, JSON: {"size"} or {"error"}                          │ float32
"""

from __future__ import annotations

import json
import os
import signal
import struct
import sys
from typing import Any, BinaryIO

LENGTH = struct.Struct("<I")
MOST_HEAD = 2**16


def main() -> None:
    """Serve until stdin closes."""
    incoming, outgoing = sys.stdin.buffer, sys.stdout.buffer
    for name in ("SIGINT", "SIGTERM"):  # the server ends it by closing stdin
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    _warm()
    _limit(int(sys.argv[1]) if len(sys.argv) > 1 else 0)
    _write(outgoing, {"ready": True})
    while (job := _read_head(incoming)) is not None:
        data = incoming.read(job["size"])
        _limit_time(job["cpu"])
        try:
            samples = _decode(data, job).tobytes()
        except MemoryError:
            _write(outgoing, {"error": "needs more memory to decode than is allowed"})
        except Exception as error:
            _write(outgoing, {"error": str(error) or type(error).__name__})
        else:
            _write(outgoing, {"size": len(samples)}, samples)
        del data


def _decode(data: bytes, job: dict[str, Any]) -> Any:
    from undertone.audio import decode
    from undertone.audio.streaming import header
    from undertone.errors import AudioError

    name: str = job["name"]
    about = header(data, name)
    if about.duration > job["max_seconds"]:
        raise AudioError(
            f"{name}: {about.duration:.0f} s is longer than the {job['max_seconds']:g} s allowed"
        )
    if not 1 <= about.channels <= 32 or not 4_000 <= about.rate <= 384_000:
        raise AudioError(f"{name}: {about.channels} channels at {about.rate} Hz is not a recording of speech")
    return decode(data, name, rate=job["rate"])


def _warm() -> None:
    """Import everything before the limits: they are meant for the data."""
    import numpy as np
    import soundfile  # noqa: F401
    import soxr

    import undertone.audio.streaming  # noqa: F401

    soxr.resample(np.zeros(800, np.float32), 8000, 16000)


def _limit(memory: int) -> None:
    """Limits for the life of the process, where the system has them (not on Windows)."""
    try:
        import resource
    except ImportError:
        return
    if memory:
        limit = _address_space() + memory
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    for name, value in (("RLIMIT_FSIZE", 0), ("RLIMIT_CORE", 0), ("RLIMIT_NOFILE", 32)):
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
