"""The format of one shard: safetensors, its header serving as the index."""

from __future__ import annotations

import contextlib
import json
import math
import mmap
import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from undertone.errors import OutputError, StoreError
from undertone.files import writing

__all__ = [
    "DTYPES",
    "SCHEMA",
    "Array",
    "Entry",
    "by_age",
    "checksum",
    "damage_of",
    "read_header",
    "view",
    "write_shard",
]

SCHEMA = 1
DTYPES = {"F32": np.float32, "F16": np.float16, "F64": np.float64, "I64": np.int64, "I32": np.int32}
"""safetensors' names of the types a store holds."""
_NAMES = {np.dtype(dtype): name for name, dtype in DTYPES.items()}


@dataclass(frozen=True, slots=True)
class Array:
    """Where one array is in the file, and its checksum."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    """Offset in the file."""
    size: int
    checksum: int | None


@dataclass(frozen=True, slots=True)
class Entry:
    """One key in one shard."""

    key: str
    shard: Path
    arrays: Mapping[str, Array]
    made_by: str
    """Name of the encoder, for ``stat`` and ``gc``; not part of the address."""

    @property
    def size(self) -> int:
        return sum(array.size for array in self.arrays.values())


def write_shard(
    part: Path, whole: Path, arrays: Mapping[str, NDArray[Any]], made_by: Mapping[str, str]
) -> None:
    """Write ``arrays`` (named ``<key>/<array>``) to ``part``, flush it to the disk, rename it ``whole``.

    Written array by array, so that a shard is in memory once.
    """
    ordered = dict(sorted(arrays.items(), key=lambda item: -item[1].itemsize))  # keeps each one aligned
    sums = {full: checksum(full, array) for full, array in ordered.items()}
    about = json.dumps({"schema": SCHEMA, "made_by": dict(made_by), "checksums": sums})
    header: dict[str, Any] = {"__metadata__": {"undertone": about}}
    end = 0
    for full, array in ordered.items():
        start, end = end, end + array.nbytes
        header[full] = {"dtype": _NAMES[array.dtype], "shape": array.shape, "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    try:
        with writing(whole), part.open("wb") as file:
            file.write(len(text).to_bytes(8, "little") + text)
            for array in ordered.values():
                file.write(_bytes(array))
        flush_to_disk(part)
        with writing(whole):
            part.replace(whole)
    except OutputError:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise
    flush_to_disk(whole.parent)


def read_header(path: Path) -> list[Entry]:
    """The entries of a shard; StoreError when it is cut short or unreadable."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length)) if 0 < length < 1 << 30 else {}
        about = json.loads(header.pop("__metadata__")["undertone"])
        entries = _entries(path, header, about, 8 + length)
        end = max((a.start + a.size for e in entries for a in e.arrays.values()), default=0)
    except FileNotFoundError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise StoreError(f"{path}: damaged shard ({type(error).__name__} in its header)") from None
    if end > path.stat().st_size:
        raise StoreError(f"{path}: damaged shard (cut short)")
    return entries


def _entries(path: Path, header: Mapping[str, Any], about: Mapping[str, Any], data: int) -> list[Entry]:
    arrays: dict[str, dict[str, Array]] = {}
    for full, about_array in header.items():
        key, _, name = full.partition("/")
        begin, end = about_array["data_offsets"]
        arrays.setdefault(key, {})[name] = Array(
            dtype=about_array["dtype"],
            shape=tuple(about_array["shape"]),
            start=data + begin,
            size=end - begin,
            checksum=about["checksums"].get(full),
        )
    return [Entry(key, path, of_key, about["made_by"].get(key, "")) for key, of_key in arrays.items()]


def checksum(full: str, array: NDArray[Any]) -> int:
    """CRC-32 over an array's full name, type, shape and bytes."""
    head = f"{full} {array.dtype.str} {array.shape}".encode()
    return zlib.crc32(_bytes(array), zlib.crc32(head))


def _bytes(array: NDArray[Any]) -> memoryview:
    """The array's bytes, without a copy where it is contiguous."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def view(mapped: mmap.mmap, array: Array) -> NDArray[Any]:
    """An array as a read-only view of the mapped file; flat and short where the file is."""
    dtype = np.dtype(DTYPES.get(array.dtype, np.uint8))
    count = min(math.prod(array.shape), array.size // dtype.itemsize)
    flat = np.frombuffer(mapped, dtype, count, array.start) if count else np.zeros(0, dtype)
    return flat.reshape(array.shape) if count == math.prod(array.shape) else flat


def damage_of(entry: Entry, arrays: Mapping[str, NDArray[Any]]) -> str | None:
    """Which array of an entry differs from its checksum, in words; None: none."""
    for name, array in arrays.items():
        if checksum(f"{entry.key}/{name}", array) != entry.arrays[name].checksum:
            return f"'{name}' is damaged (its checksum does not fit)"
    return None


def by_age(path: Path) -> tuple[int, str]:
    """Orders shards, oldest first."""
    try:
        return path.stat().st_mtime_ns, path.name
    except FileNotFoundError:
        return 0, path.name


def flush_to_disk(path: Path) -> None:
    """Have the system write a file (or, where it can, a folder's list of names) to the disk."""
    with contextlib.suppress(OSError, PermissionError):
        handle = os.open(path, os.O_RDWR if path.is_file() else os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
