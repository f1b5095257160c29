"""Care of a store: what it holds, what is damaged, what can be removed."""

from __future__ import annotations

import logging
import math
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from undertone.errors import StoreError
from undertone.store.shard import Entry, by_age, damage_of, read_header

if TYPE_CHECKING:
    from undertone.store.core import Store

__all__ = ["STALE_SECONDS", "Damage", "Stat", "clear", "gc", "remove", "stat", "verify"]

log = logging.getLogger(__name__)

STALE_SECONDS = 3600.0
"""A partial shard untouched for this long belongs to nobody."""


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
    """Unfinished shards, being written or left by a killed writer."""
    by_encoder: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """Name → (entries, bytes)."""


def stat(store: Store) -> Stat:
    """Counts and sizes."""
    by_encoder: dict[str, tuple[int, int]] = {}
    for entry in store.entries():
        count, size = by_encoder.get(entry.made_by, (0, 0))
        by_encoder[entry.made_by] = (count + 1, size + entry.size)
    files = [path for path in store.root.rglob("*") if path.is_file()]
    return Stat(
        root=store.root,
        entries=len(store),
        shards=sum(path.parent == store.shards for path in files),
        bytes=sum(path.stat().st_size for path in files),
        partial=sum(path.parent == store.partial for path in files),
        by_encoder=dict(sorted(by_encoder.items())),
    )


def verify(store: Store) -> list[Damage]:
    """What is damaged: everything is read and compared with its checksums."""
    damages: list[Damage] = []
    for path in _shards(store):
        try:
            entries = read_header(path)
        except StoreError as error:
            damages.append(Damage(path, None, str(error)))
            continue
        results = ((entry, damage_of(entry, store.read(entry))) for entry in entries)
        damages.extend(Damage(path, entry.key, damage) for entry, damage in results if damage)
    return damages


def gc(store: Store, older_than: float | None, encoder: str | None) -> int:
    """Remove what is abandoned, damaged, doubled or unwanted; the bytes freed."""
    before = stat(store).bytes
    for path in store.partial.glob("*"):
        if _seconds_old(path) > STALE_SECONDS:
            remove(path)
    damaged = {(d.shard, d.key) for d in verify(store)}
    for path in _shards(store):
        if (older_than is not None and _seconds_old(path) > older_than) or (path, None) in damaged:
            store.drop(path)
    _compact(store, damaged, encoder)
    store.refresh()
    return before - stat(store).bytes


def clear(store: Store) -> int:
    """Remove every shard, unfinished ones too; the bytes freed."""
    before = stat(store).bytes
    for path in (*_shards(store), *store.partial.glob("*")):
        store.drop(path)
    remove(store.root / "store.json")
    store.refresh()
    return before - stat(store).bytes


def _compact(store: Store, damaged: set[tuple[Path, str | None]], encoder: str | None) -> None:
    """Rewrite the shards that hold something unwanted, without it."""
    keep: dict[str, Entry] = {}
    shards = {path: read_header(path) for path in _shards(store)}
    for path, entries in shards.items():
        for entry in entries:
            if (path, entry.key) not in damaged and (encoder is None or entry.made_by != encoder):
                keep[entry.key] = entry  # of several copies the newest
    for path, entries in shards.items():
        kept = [entry for entry in entries if keep.get(entry.key) == entry]
        if len(kept) == len(entries):
            continue
        with store.writer(shard_bytes=1 << 62, shard_seconds=math.inf) as writer:
            for entry in kept:
                writer.put(entry.key, store.read(entry), entry.made_by)
        store.drop(path)


def _shards(store: Store) -> list[Path]:
    """Finished shards, oldest first."""
    return sorted(store.shards.glob("*.safetensors"), key=by_age)


def _seconds_old(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def remove(path: Path) -> None:
    """Delete a file or a folder, if it is there."""
    try:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    except FileNotFoundError:
        pass
    except PermissionError:  # Windows: someone still reads it
        log.warning("%s: in use, left where it is", path)
