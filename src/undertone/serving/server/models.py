"""The models of one server, by name: any of them is loaded again while requests go on.

A new model takes the name when it is loaded; the one before answers what it has begun, and is then let go. No
second change of a name begins before that, so that of each name there are at most two in memory.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from threading import Thread
from typing import TYPE_CHECKING, Any, TypeAlias

from undertone.errors import ConfigError, UndertoneError, no_such
from undertone.judging.clip import Model
from undertone.serving.server.batching import Batcher, Batches
from undertone.serving.server.metrics import Metrics
from undertone.serving.server.turns import Turns, WordsBetween

if TYPE_CHECKING:
    from undertone.judging.words import Words

__all__ = ["DEFAULT", "Load", "Models", "NoSuchModel", "Served"]

log = logging.getLogger(__name__)

DEFAULT = "default"
"""The name of the model of ``--model``, which judges where a request names none."""
Load: TypeAlias = "Callable[[], tuple[Model, Words | None]]"
"""Loads a model, in a thread."""


def give_memory_back() -> None:
    """Return freed memory to the system; C libraries other than glibc are left as they are.

    glibc keeps what a model took for the thread that read it, and another thread reads the next one.
    """
    gc.collect()
    if sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)):
        trim(0)


class NoSuchModel(UndertoneError):
    """A request names a model that is not served."""


class Served:
    """One model with its queue and its aligner, and how many requests use it now."""

    def __init__(self, model: Model, batcher: Batches, words: WordsBetween | None) -> None:
        self.model, self.batcher, self.words = model, batcher, words
        self._users = 0
        self._unused = asyncio.Event()
        self._unused.set()

    @contextmanager
    def used(self) -> Iterator[None]:
        """It stays for as long as the block takes."""
        self._users += 1
        self._unused.clear()
        try:
            yield
        finally:
            self._users -= 1
            if not self._users:
                self._unused.set()

    async def retire(self) -> None:
        """Answer what was begun, then stop."""
        await self._unused.wait()
        await self.batcher.stop()


class Models:
    """What is served under which name."""

    def __init__(self, metrics: Metrics, turns: Turns, max_batch: int, loads: Mapping[str, Load]) -> None:
        self._metrics, self._turns, self._max_batch = metrics, turns, max_batch
        self._loads = dict(loads)
        self._served: dict[str, Served] = {}
        self._changing = asyncio.Lock()
        self._retiring: asyncio.Task[None] | None = None

    def put(self, name: str, model: Model, words: Words | None, batcher: Batches | None = None) -> Served:
        """Serve a model from now on; all have the same rate, for recordings are decoded once."""
        if self._served and model.rate != self.pick(None).model.rate:
            raise ConfigError(f"{name}: takes {model.rate} Hz, the others {self.pick(None).model.rate} Hz")
        batcher = batcher or Batcher(model, self._metrics, self._max_batch)
        between = WordsBetween(words, self._turns) if words is not None else None
        self._served[name] = Served(model, batcher, between)
        return self._served[name]

    def pick(self, name: str | None) -> Served:
        """The model of a name, or the default one; NoSuchModel."""
        try:
            return self._served[name or DEFAULT]
        except KeyError:
            raise NoSuchModel(no_such("model", str(name)[:100], self._served)) from None

    def start(self) -> None:
        for one in self._served.values():
            one.batcher.start()

    async def stop(self) -> None:
        if self._retiring is not None:
            await self._retiring
        for one in self._served.values():
            await one.retire()

    async def reload(self, name: str | None = None) -> None:
        """Load a model, or all, again; one that cannot be loaded, or is still being replaced, stays."""
        if self._changing.locked():
            raise ConfigError("models are being loaded already")
        async with self._changing:
            if name is not None:
                self.pick(name)
            for one in [name] if name is not None else list(self._loads):
                await self._replace(one)

    async def _replace(self, name: str) -> None:
        if name not in self._loads:
            raise ConfigError(f"{name}: cannot be loaded again")
        if self._retiring is not None:
            done, _ = await asyncio.wait({self._retiring}, timeout=60)
            if not done:
                raise ConfigError(f"{name}: the model before is still at work")
        try:
            model, words = await asyncio.to_thread(self._loads[name])
        except UndertoneError:
            raise
        except Exception as error:
            log.exception("%s could not be loaded", name)
            raise ConfigError(f"{name}: could not be loaded; the log has the reason") from error
        before = self.pick(name)
        self.put(name, model, words).batcher.start()
        self._retiring = asyncio.create_task(before.retire())
        self._retiring.add_done_callback(lambda _: Thread(target=give_memory_back).start())
        log.warning("%s is now %s", name, model.name)

    def plain(self) -> list[dict[str, Any]]:
        """Each with its name, the model's own, its labels, below which probability it names none, and what
        people should know of it."""
        return [
            {
                "id": name,
                "object": "model",
                "model": one.model.name,
                "labels": list(one.model.labels),
                "threshold": one.model.card.get("abstain", {}).get("threshold"),
                "synthesised": bool(one.model.card.get("synthesised")),
                "licence": one.model.card.get("licence"),
            }
            for name, one in self._served.items()
        ]
