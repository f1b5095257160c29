"""Writing: a writer collects entries into shards of its own."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from undertone.store.shard import DTYPES, write_shard

if TYPE_CHECKING:
    from undertone.store.core import Store

__all__ = ["SHARD_BYTES", "SHARD_SECONDS", "Writer"]

SHARD_BYTES = 32 << 20
"""A shard is closed when it holds this much …"""
SHARD_SECONDS = 60.0
"""… or is this old: the most work that a kill can lose."""


class Writer:
    """Collects entries into shards; each shard appears whole or not at all. For one thread."""

    def __init__(self, store: Store, shard_bytes: int, shard_seconds: float, name: str | None = None) -> None:
        store.create()
        self._store = store
        self._name = name
        self._limit = shard_bytes
        self._seconds = shard_seconds
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
        if self._size >= self._limit or time.monotonic() - self._since >= self._seconds:
            self.flush()

    def flush(self) -> None:
        """Finish the shard being collected."""
        if not self._made_by:
            return
        name = f"{time.time_ns():x}-{os.getpid():x}-{secrets.token_hex(4)}"
        part = self._store.partial / f"{name}.safetensors"
        whole = self._store.shards / f"{self._name or name}.safetensors"
        write_shard(part, whole, self._arrays, self._made_by)
        self._arrays, self._made_by, self._size = {}, {}, 0
        self._store.refresh()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.flush()  # also after an error: finished entries are kept
