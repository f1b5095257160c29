"""Where features live: content-addressed arrays in safetensors shards, written once, read by mapping.

    <root>/store.json                    the schema
    <root>/shards/<name>.safetensors     finished shards; only ever added or removed, never changed
    <root>/partial/<name>                shards in flight: what a killed writer loses

A shard's own header is the index: tensors are named ``<key>/<array>`` and the header's metadata
holds a checksum of each (over name, type, shape and bytes) and what made the entry. So nothing can
disagree with anything: a shard is there whole or not at all. Each writer writes shards of its own,
so writers never meet. The newest intact copy of a key is the one that is read.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import mmap
import os
import secrets
import shutil
import sys
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from undertone.errors import StoreError

__all__ = ["Damage", "Entry", "Stat", "Store", "Writer", "default_root"]

log = logging.getLogger(__name__)

SCHEMA = 1
DTYPES = {"F32": np.float32, "F16": np.float16, "F64": np.float64, "I64": np.int64, "I32": np.int32}
"""safetensors' names of the types a store holds."""

SHARD_BYTES = 64 << 20
"""A shard is closed when it holds this much …"""
SHARD_SECONDS = 60.0
"""… or is this old: the most work that a kill can lose."""
STALE_SECONDS = 3600.0
"""A partial shard untouched for this long belongs to nobody."""


def default_root() -> Path:
    """``UNDERTONE_CACHE`` if set, else a folder in the platform's user cache."""
    if chosen := os.environ.get("UNDERTONE_CACHE"):
        return Path(chosen).expanduser() / "store"
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "undertone" / "store"


@dataclass(frozen=True, slots=True)
class Array:
    """Where one array is, and what its bytes must sum to."""

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


@dataclass(frozen=True, slots=True)
class Damage:
    """A shard, or one entry of it, that is not what was written."""

    shard: Path
    key: str | None
    what: str


@dataclass(frozen=True, slots=True)
class Stat:
    """What a store holds."""

    root: Path
    entries: int
    shards: int
    bytes: int
    """On disk, everything included."""
    partial: int
    """Shards in flight, or left by a killed writer."""
    by_encoder: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """Name → (entries, bytes)."""


class Store:
    """Arrays by key. Opening one reads the shards' headers, nothing else."""

    def __init__(self, root: Path | str | None = None) -> None:
        self.root = Path(root) if root is not None else default_root()
        self._entries: dict[str, list[Entry]] = {}
        self._shards: set[str] = set()
        self._maps: dict[Path, mmap.mmap] = {}
        self._sound: set[tuple[Path, str]] = set()
        self._seen_at = -1
        self._check_schema()
        self.refresh()

    @property
    def shards(self) -> Path:
        return self.root / "shards"

    @property
    def partial(self) -> Path:
        return self.root / "partial"

    def get(self, key: str) -> dict[str, NDArray[Any]] | None:
        """The arrays under a key, read-only views of the mapped file; None: not here, or damaged."""
        if key not in self._entries:
            self._refresh_if_changed()
        for entry in reversed(tuple(self._entries.get(key, ()))):
            try:
                arrays = self._read(entry)
            except FileNotFoundError:  # another process collected the garbage
                self._forget(entry)
                continue
            if (entry.shard, key) not in self._sound:
                if wrong := _wrong(entry, arrays):
                    log.warning("%s: %s: %s; it will be extracted again", entry.shard, key, wrong)
                    self._forget(entry)
                    continue
                self._sound.add((entry.shard, key))
            return arrays
        return None

    def __contains__(self, key: str) -> bool:
        if key not in self._entries:
            self._refresh_if_changed()
        return key in self._entries

    def __len__(self) -> int:
        return len(self._entries)

    def keys(self) -> list[str]:
        return sorted(self._entries)

    def writer(self, shard_bytes: int = SHARD_BYTES, shard_seconds: float = SHARD_SECONDS) -> Writer:
        """Use as ``with store.writer() as w: w.put(key, arrays)``."""
        return Writer(self, shard_bytes, shard_seconds)

    def refresh(self) -> None:
        """Take note of shards that came or went since the last look."""
        changed = _changed_at(self.shards)
        settled = time.time_ns() - changed > 2_000_000_000  # file systems' clocks are coarse
        self._seen_at = changed if settled else -2
        found = {path.name: path for path in sorted(self.shards.glob("*.safetensors"), key=_age)}
        for gone in self._shards - found.keys():
            self._drop_shard(self.shards / gone)
        for name in [name for name in found if name not in self._shards]:
            self._shards.add(name)
            try:
                entries = read_header(found[name])
            except (StoreError, FileNotFoundError) as error:
                log.warning("%s; its entries will be extracted again", error)
                continue
            self._add(entries)

    def stat(self) -> Stat:
        """Counts and sizes."""
        by_encoder: dict[str, tuple[int, int]] = {}
        for copies in self._entries.values():
            count, size = by_encoder.get(copies[-1].made_by, (0, 0))
            by_encoder[copies[-1].made_by] = (count + 1, size + copies[-1].size)
        files = [path for path in self.root.rglob("*") if path.is_file()]
        return Stat(
            root=self.root,
            entries=len(self),
            shards=len(self._shards),
            bytes=sum(path.stat().st_size for path in files),
            partial=sum(path.parent == self.partial for path in files),
            by_encoder=dict(sorted(by_encoder.items())),
        )

    def verify(self) -> list[Damage]:
        """Read everything and sum it: what is damaged."""
        self.refresh()
        found: list[Damage] = []
        for path in sorted(self.shards.glob("*.safetensors")):
            try:
                entries = read_header(path)
            except StoreError as error:
                found.append(Damage(path, None, str(error)))
                continue
            sums = ((entry, _wrong(entry, self._read(entry))) for entry in entries)
            found.extend(Damage(path, entry.key, wrong) for entry, wrong in sums if wrong)
        return found

    def gc(self, older_than: float | None = None, encoder: str | None = None) -> int:
        """Give back what is damaged, doubled or abandoned; how many bytes that was.

        ``older_than`` (seconds) also removes whole shards not written since; ``encoder`` also
        removes what the encoder of that name made.
        """
        before = self.stat().bytes
        for path in self.partial.glob("*"):
            if time.time() - path.stat().st_mtime > STALE_SECONDS:
                _remove(path)
        damaged = {(d.shard, d.key) for d in self.verify()}
        for path in sorted(self.shards.glob("*.safetensors")):
            too_old = older_than is not None and time.time() - path.stat().st_mtime > older_than
            if too_old or (path, None) in damaged:
                self._drop_shard(path)
                _remove(path)
        self._compact(damaged, encoder)
        self.refresh()
        return before - self.stat().bytes

    def clear(self) -> int:
        """Remove everything; how many bytes that was."""
        size = self.stat().bytes
        for path in (*self.shards.glob("*.safetensors"), *self.partial.glob("*")):
            self._drop_shard(path)
            _remove(path)
        self.refresh()
        return size

    def _check_schema(self) -> None:
        path = self.root / "store.json"
        try:
            schema = int(json.loads(path.read_text(encoding="utf-8"))["schema"])
        except FileNotFoundError:
            return
        except (ValueError, KeyError, TypeError):
            raise StoreError(
                f"{path}: not a store's description; clear the store or choose another"
            ) from None
        if schema != SCHEMA:
            raise StoreError(
                f"{path}: schema {schema}, this version reads {SCHEMA}: upgrade or clear the store"
            )

    def _create(self) -> None:
        for folder in (self.shards, self.partial):
            folder.mkdir(parents=True, exist_ok=True)
        path = self.root / "store.json"
        if not path.exists():
            text = json.dumps({"schema": SCHEMA})
            part = self.partial / f"store.json.{secrets.token_hex(4)}"
            part.write_text(text, encoding="utf-8")
            part.replace(path)

    def _refresh_if_changed(self) -> None:
        if _changed_at(self.shards) != self._seen_at:
            self.refresh()

    def _add(self, entries: list[Entry]) -> None:
        for entry in entries:
            self._entries.setdefault(entry.key, []).append(entry)

    def _forget(self, entry: Entry) -> None:
        copies = self._entries.get(entry.key, [])
        if entry in copies:
            copies.remove(entry)
        if not copies:
            self._entries.pop(entry.key, None)

    def _drop_shard(self, path: Path) -> None:
        self._shards.discard(path.name)
        self._maps.pop(path, None)
        for entry in [e for copies in self._entries.values() for e in copies if e.shard == path]:
            self._forget(entry)

    def _read(self, entry: Entry) -> dict[str, NDArray[Any]]:
        mapped = self._map(entry.shard)
        return {name: _view(mapped, array) for name, array in entry.arrays.items()}

    def _map(self, path: Path) -> mmap.mmap:
        if path not in self._maps:
            with path.open("rb") as file:
                self._maps[path] = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return self._maps[path]

    def _compact(self, damaged: set[tuple[Path, str | None]], encoder: str | None) -> None:
        """Rewrite the shards that hold something unwanted, without it."""
        keep: dict[str, Entry] = {}
        shards: dict[Path, list[Entry]] = {}
        for path in sorted(self.shards.glob("*.safetensors"), key=_age):
            shards[path] = read_header(path)
            for entry in shards[path]:
                if (path, entry.key) not in damaged and (encoder is None or entry.made_by != encoder):
                    keep[entry.key] = entry
        for path, entries in shards.items():
            kept = [entry for entry in entries if keep.get(entry.key) == entry]
            if len(kept) == len(entries):
                continue
            with self.writer(shard_bytes=1 << 62, shard_seconds=math.inf) as writer:
                for entry in kept:
                    writer.put(entry.key, self._read(entry), entry.made_by)
            self._drop_shard(path)
            _remove(path)


class Writer:
    """Collects entries into shards; each shard appears whole or not at all. For one thread."""

    def __init__(self, store: Store, shard_bytes: int, shard_seconds: float) -> None:
        store._create()
        self._store = store
        self._limit = shard_bytes
        self._patience = shard_seconds
        self._arrays: dict[str, NDArray[Any]] = {}
        self._made_by: dict[str, str] = {}
        self._size = 0
        self._since = time.monotonic()

    def put(self, key: str, arrays: Mapping[str, NDArray[Any]], made_by: str = "") -> None:
        """Keep arrays (fp16, fp32, fp64, int32 or int64) under a key."""
        assert arrays and "/" not in key, "a key without slashes, and something to keep"
        if not self._made_by:
            self._since = time.monotonic()
        for name, array in arrays.items():
            if array.dtype not in DTYPES.values():
                raise TypeError(f"{key}: a store holds no {array.dtype} arrays")
            self._arrays[f"{key}/{name}"] = np.array(array, order="C")  # ours: the caller may reuse its own
            self._size += array.nbytes
        self._made_by[key] = made_by
        if self._size >= self._limit or time.monotonic() - self._since >= self._patience:
            self.flush()

    def flush(self) -> None:
        """Close the shard in flight."""
        if not self._made_by:
            return
        from safetensors.numpy import save_file

        name = f"{time.time_ns():x}-{os.getpid():x}-{secrets.token_hex(4)}.safetensors"
        part, whole = self._store.partial / name, self._store.shards / name
        about = {
            "schema": SCHEMA,
            "made_by": self._made_by,
            "checksums": {full: checksum(full, array) for full, array in self._arrays.items()},
        }
        save_file(self._arrays, part, metadata={"undertone": json.dumps(about)})
        _settle(part)
        part.replace(whole)
        _settle(whole.parent)
        self._arrays, self._made_by, self._size = {}, {}, 0
        self._store._refresh_if_changed()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.flush()  # also after an error: what is finished is finished


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
    for full, told in header.items():
        key, _, name = full.partition("/")
        begin, end = told["data_offsets"]
        arrays.setdefault(key, {})[name] = Array(
            dtype=told["dtype"],
            shape=tuple(told["shape"]),
            start=data + begin,
            size=end - begin,
            checksum=about["checksums"].get(full),
        )
    return [Entry(key, path, found, about["made_by"].get(key, "")) for key, found in arrays.items()]


def checksum(full: str, array: NDArray[Any]) -> int:
    """CRC-32 over an array's full name, type, shape and bytes."""
    head = f"{full} {array.dtype.str} {array.shape}".encode()
    return zlib.crc32(
        np.ascontiguousarray(array).reshape(-1).view(np.uint8).data if array.size else b"", zlib.crc32(head)
    )


def _view(mapped: mmap.mmap, array: Array) -> NDArray[Any]:
    dtype = np.dtype(DTYPES.get(array.dtype, np.uint8))
    count = min(math.prod(array.shape), array.size // dtype.itemsize)
    flat = np.frombuffer(mapped, dtype, count, array.start) if count else np.zeros(0, dtype)
    return flat.reshape(array.shape) if count == math.prod(array.shape) else flat


def _wrong(entry: Entry, arrays: Mapping[str, NDArray[Any]]) -> str | None:
    for name, array in arrays.items():
        if checksum(f"{entry.key}/{name}", array) != entry.arrays[name].checksum:
            return f"'{name}' is damaged (its checksum does not fit)"
    return None


def _changed_at(folder: Path) -> int:
    try:
        return folder.stat().st_mtime_ns
    except FileNotFoundError:
        return -1


def _age(path: Path) -> tuple[int, str]:
    try:
        return path.stat().st_mtime_ns, path.name
    except FileNotFoundError:
        return 0, path.name


def _settle(path: Path) -> None:
    """Have the system write a file (or, where it can, a folder's list of names) to the disk."""
    with contextlib.suppress(OSError, PermissionError):
        handle = os.open(path, os.O_RDWR if path.is_file() else os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _remove(path: Path) -> None:
    try:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    except FileNotFoundError:
        pass
    except PermissionError:  # Windows: someone still reads it
        log.warning("%s: in use, left where it is", path)
