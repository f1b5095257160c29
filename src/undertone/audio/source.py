"""Where the bytes of a recording are: a file, a member of a tar archive, memory."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from types import MappingProxyType

from undertone.errors import AudioError

__all__ = ["Source", "locate"]

TAR = ".tar#"
"""Separator of an archive and its member: ``shard.tar#clip.flac``."""


@dataclass(frozen=True)
class Source:
    """A recording's bytes and what to call them in a message."""

    name: str
    content: Path | bytes

    def open(self) -> io.BytesIO | io.BufferedReader:
        return io.BytesIO(self.content) if isinstance(self.content, bytes) else self.content.open("rb")

    @property
    def size(self) -> int:
        return len(self.content) if isinstance(self.content, bytes) else self.content.stat().st_size


def locate(ref: str | Path) -> Source:
    """The bytes behind a path or ``archive.tar#member``; an AudioError names what is missing."""
    path = Path(ref)
    if path.is_file():
        return Source(str(ref), path)
    if path.exists():
        raise AudioError(f"{ref}: is not a file")
    if TAR in str(ref):
        archive, _, member = str(ref).partition("#")
        return Source(str(ref), _member(Path(archive), member))
    raise AudioError(f"{ref}: no such file")


def _member(archive: Path, member: str) -> bytes:
    try:
        status = archive.stat()
    except OSError:
        raise AudioError(f"{archive}#{member}: no such archive") from None
    places = _index(archive, status.st_mtime_ns, status.st_size)
    if member not in places:
        raise AudioError(f"{archive}#{member}: the archive has no such member")
    offset, size = places[member]
    with archive.open("rb") as file:
        file.seek(offset)
        data = file.read(size)
    if len(data) != size:
        raise AudioError(f"{archive}#{member}: the archive is cut short")
    return data


@lru_cache(maxsize=64)
def _index(archive: Path, _mtime: int, _size: int) -> Mapping[str, tuple[int, int]]:
    """Offset and size of each regular member; read once per archive, nothing is ever unpacked."""
    try:
        with tarfile.open(archive, "r:") as tar:
            places = {m.name: (m.offset_data, m.size) for m in tar if m.isreg() and _inside(m.name)}
    except (tarfile.TarError, OSError) as error:
        raise AudioError(f"{archive}: not a readable (uncompressed) tar archive: {error}") from None
    return MappingProxyType(places)


def _inside(name: str) -> bool:
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts
