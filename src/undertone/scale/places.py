"""Files by local path or URL: the door to fsspec.

A place without ``://`` is a path. Local files are written whole or not at all; so are an object
store's, by its own ``put``.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, BinaryIO

from undertone.errors import ConfigError, DataError, MissingExtra
from undertone.files import whole, write_whole

__all__ = [
    "exists",
    "fetch",
    "is_url",
    "join",
    "mark",
    "names",
    "opened",
    "parent",
    "put",
    "read",
    "remove",
    "write",
]


def is_url(place: str) -> bool:
    """Whether it is ``scheme://…`` rather than a path."""
    return "://" in place


def join(folder: str, name: str) -> str:
    """A name inside a folder; an absolute name or a URL stands for itself."""
    if is_url(name) or Path(name).is_absolute():
        return name
    return f"{folder.rstrip('/')}/{name}" if is_url(folder) else str(Path(folder) / name)


def parent(place: str) -> str:
    """The folder that a file is in."""
    return place.rpartition("/")[0] if is_url(place) else str(Path(place).absolute().parent)


def opened(place: str) -> BinaryIO:
    """The file, open for reading."""
    if is_url(place):
        system, path = _remote(place)
        try:
            file: BinaryIO = system.open(path, "rb")
        except OSError as error:
            raise DataError(f"{place}: cannot be read ({_why(error)})") from None
        return file
    try:
        return Path(place).open("rb")
    except OSError as error:
        raise DataError(f"{place}: cannot be read ({_why(error)})") from None


def read(place: str) -> bytes:
    """All of a file."""
    with opened(place) as file:
        return file.read()


def fetch(place: str, to: Path) -> Path:
    """A copy of a remote file at ``to``."""
    system, path = _remote(place)
    try:
        system.get_file(path, str(to))
    except OSError as error:
        raise DataError(f"{place}: cannot be read ({_why(error)})") from None
    return to


def write(place: str, data: bytes) -> None:
    """Write a file, whole or not at all; one that is there is replaced."""
    if is_url(place):
        system, path = _remote(place)
        system.makedirs(path.rpartition("/")[0], exist_ok=True)
        system.pipe_file(path, data)
        return
    write_whole(Path(place), data)


def put(file: Path, place: str) -> None:
    """Bring a finished local file to its place, whole or not at all."""
    if is_url(place):
        system, path = _remote(place)
        system.makedirs(path.rpartition("/")[0], exist_ok=True)
        system.put_file(str(file), path)
        return
    with whole(Path(place)) as part:
        shutil.copyfile(file, part)  # the temporary folder may be on another disk


def remove(place: str) -> None:
    """Delete a file."""
    if is_url(place):
        system, path = _remote(place)
        system.rm_file(path)
    else:
        Path(place).unlink(missing_ok=True)


def names(folder: str) -> list[str]:
    """Names of the files in a folder, sorted, without those being written; empty where there is no folder."""
    if is_url(folder):
        system, path = _remote(folder)
        try:
            files = [entry["name"] for entry in system.ls(path, detail=True) if entry["type"] == "file"]
        except FileNotFoundError:
            return []
        return sorted(name.rpartition("/")[2] for name in files)
    if not Path(folder).is_dir():
        return []
    return sorted(p.name for p in Path(folder).iterdir() if p.is_file() and not p.name.startswith("."))


def exists(place: str) -> bool:
    """Whether there is such a file."""
    if is_url(place):
        system, path = _remote(place)
        return bool(system.isfile(path))
    return Path(place).is_file()


def mark(place: str) -> str:
    """A text that changes when the file does: size and date, or the object store's checksum."""
    if is_url(place):
        system, path = _remote(place)
        try:
            return str(system.checksum(path))
        except OSError as error:
            raise DataError(f"{place}: cannot be read ({_why(error)})") from None
    try:
        status = Path(place).stat()
    except OSError:
        return "missing"
    return f"{status.st_size} {status.st_mtime_ns}"


def _remote(url: str) -> tuple[Any, str]:
    try:
        import fsspec
    except ImportError:
        raise MissingExtra(f"reading {url}", "scale") from None
    try:
        system, path = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:  # s3 needs s3fs, gs needs gcsfs …
        raise ConfigError(f"{url}: {error}") from None
    return system, path


def _why(error: OSError) -> str:
    return error.strerror or type(error).__name__
