"""The store itself: which keys there are, and reading them by mapping."""

from __future__ import annotations

import json
import logging
import math
import mmap
import os
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from undertone.errors import StoreError
from undertone.files import write_whole
from undertone.store import care
from undertone.store.care import Damage, Stat
from undertone.store.shard import SCHEMA, Entry, by_age, damage_of, read_header, view
from undertone.store.writer import SHARD_BYTES, SHARD_SECONDS, Writer

__all__ = ["Store", "default_root"]

log = logging.getLogger(__name__)

CLEAR = "`undertone store clear` empties it (its features can be extracted again), or choose another store"


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


class Store:
    """Arrays by key. Opening one reads the shards' headers, nothing else."""

    def __init__(self, root: Path | str | None = None, *, damaged: bool = False) -> None:
        """``damaged``: also one whose description is damaged or of another version, as ``clear`` must."""
        self.root = Path(root) if root is not None else default_root()
        self._entries: dict[str, list[Entry]] = {}
        self._shards: set[str] = set()
        self._maps: dict[Path, mmap.mmap] = {}
        self._verified: set[tuple[Path, str]] = set()
        self._seen_at = -1
        if not damaged:
            self._check_schema()
        self.refresh()

    @property
    def shards(self) -> Path:
        return self.root / "shards"

    @property
    def partial(self) -> Path:
        return self.root / "partial"

    def get(self, key: str) -> dict[str, NDArray[Any]] | None:
        """The arrays under a key, read-only views of the mapped file; None: missing, or damaged."""
        arrays = self._intact(key)
        if arrays is None and self._refresh_if_changed():
            arrays = self._intact(key)
        return arrays

    def __contains__(self, key: str) -> bool:
        if key not in self._entries:
            self._refresh_if_changed()
        return key in self._entries

    def present(self, keys: Iterable[str]) -> set[str]:
        """Those of the keys that the store holds, after one look at the shards for all of them."""
        self._refresh_if_changed()
        return {key for key in keys if key in self._entries}

    def __len__(self) -> int:
        return len(self._entries)

    def keys(self) -> list[str]:
        return sorted(self._entries)

    def writer(
        self,
        shard_bytes: int = SHARD_BYTES,
        shard_seconds: float = SHARD_SECONDS,
        name: str | None = None,
    ) -> Writer:
        """Use as ``with store.writer() as w: w.put(key, arrays)``.

        With ``name``, everything goes into one shard of that name, which replaces an earlier one: for
        work that may be done twice.
        """
        if name is not None:
            shard_bytes, shard_seconds = 1 << 62, math.inf
        return Writer(self, shard_bytes, shard_seconds, name)

    def refresh(self) -> None:
        """Read which shards were added or removed since the last look."""
        changed = _changed_at(self.shards)
        settled = time.time_ns() - changed > 2_000_000_000  # file systems' clocks are coarse
        self._seen_at = changed if settled else -2
        paths = {path.name: path for path in sorted(self.shards.glob("*.safetensors"), key=by_age)}
        for name in self._shards - paths.keys():
            self._drop_shard(self.shards / name)
        for name in [name for name in paths if name not in self._shards]:
            self._shards.add(name)
            try:
                entries = read_header(paths[name])
            except (StoreError, FileNotFoundError) as error:
                log.warning("%s; its entries will be extracted again", error)
                continue
            self._add(entries)

    def entries(self) -> Iterator[Entry]:
        """The copy of each key that is read."""
        return (copies[-1] for copies in self._entries.values())

    def read(self, entry: Entry) -> dict[str, NDArray[Any]]:
        """The arrays of one copy, unchecked."""
        mapped = self._map(entry.shard)
        return {name: view(mapped, array) for name, array in entry.arrays.items()}

    def stat(self) -> Stat:
        """Counts and sizes."""
        return care.stat(self)

    def verify(self) -> list[Damage]:
        """What is damaged: everything is read and compared with its checksums."""
        return care.verify(self)

    def gc(self, older_than: float | None = None, encoder: str | None = None) -> int:
        """Remove what is damaged, doubled or abandoned; the bytes freed.

        ``older_than`` (seconds) also removes whole shards not written since; ``encoder`` also
        removes what the encoder of that name made.
        """
        return care.gc(self, older_than, encoder)

    def clear(self) -> int:
        """Remove everything; the bytes freed."""
        return care.clear(self)

    def drop(self, path: Path) -> None:
        """Forget a shard and delete its file."""
        self._drop_shard(path)
        care.remove(path)

    def _check_schema(self) -> None:
        path = self.root / "store.json"
        try:
            schema = int(json.loads(path.read_text(encoding="utf-8"))["schema"])
        except (FileNotFoundError, NotADirectoryError):
            return
        except (ValueError, KeyError, TypeError, OverflowError):
            raise StoreError(f"{path}: not a store's description; {CLEAR}") from None
        if schema != SCHEMA:
            raise StoreError(f"{path}: schema {schema}, this version reads {SCHEMA}; {CLEAR}")

    def create(self) -> None:
        """Make the folders; opening a store that does not exist makes nothing."""
        for folder in (self.shards, self.partial):
            folder.mkdir(parents=True, exist_ok=True)
        path = self.root / "store.json"
        if not path.exists():
            write_whole(path, json.dumps({"schema": SCHEMA}))

    def _intact(self, key: str) -> dict[str, NDArray[Any]] | None:
        """The arrays of the newest copy whose checksums fit; damaged copies are forgotten."""
        for entry in reversed(tuple(self._entries.get(key, ()))):
            try:
                arrays = self.read(entry)
            except FileNotFoundError:  # another process collected the garbage
                self._forget(entry)
                continue
            if (entry.shard, key) not in self._verified:
                if damage := damage_of(entry, arrays):
                    log.warning("%s: %s: %s; it will be extracted again", entry.shard, key, damage)
                    self._forget(entry)
                    continue
                self._verified.add((entry.shard, key))
            return arrays
        return None

    def _refresh_if_changed(self) -> bool:
        changed = _changed_at(self.shards) != self._seen_at
        if changed:
            self.refresh()
        return changed

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

    def _map(self, path: Path) -> mmap.mmap:
        if path not in self._maps:
            with path.open("rb") as file:
                self._maps[path] = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return self._maps[path]


def _changed_at(folder: Path) -> int:
    try:
        return folder.stat().st_mtime_ns
    except FileNotFoundError:
        return -1
