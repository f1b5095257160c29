"""The work itself, the same in this process and in a worker: decode, encode, keep, go on."""

from __future__ import annotations

import logging
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from undertone.audio import load
from undertone.errors import UndertoneError
from undertone.store import Store, Writer
from undertone.types import SpeechEncoder, TextEncoder, Utterance

if TYPE_CHECKING:
    from undertone.types import Wave

__all__ = ["Done", "Item", "start_worker", "work", "work_chunk"]

log = logging.getLogger(__name__)

AHEAD = 2
"""Groups of clips decoded before they are needed."""


@dataclass(frozen=True, slots=True)
class Item:
    """One thing to compute."""

    kind: Literal["speech", "text"]
    key: str
    utterance: Utterance


@dataclass(frozen=True, slots=True)
class Done:
    """What became of an item: kept, or why not."""

    id: str
    error: str | None = None
    seconds: float = 0.0
    """Of audio."""


def work(
    items: Sequence[Item], writer: Writer, speech: SpeechEncoder | None, text: TextEncoder | None
) -> Iterator[Done]:
    """Compute and keep each item; an item that cannot be is reported, the others go on."""
    if spoken := [item for item in items if item.kind == "speech"]:
        assert speech is not None
        yield from _speech(spoken, writer, speech)
    if written := [item for item in items if item.kind == "text"]:
        assert text is not None
        size = getattr(text, "group", 1)
        for start in range(0, len(written), size):
            yield from _text(written[start : start + size], writer, text)


def _speech(items: Sequence[Item], writer: Writer, encoder: SpeechEncoder) -> Iterator[Done]:
    size = getattr(encoder, "group", 1)
    groups = [items[i : i + size] for i in range(0, len(items), size)]
    with ThreadPoolExecutor(1, "decode") as pool:
        for group, waves in _ahead(pool, groups, encoder.rate):
            sound: list[tuple[Item, Wave]] = []
            for item, wave in zip(group, waves, strict=True):
                if isinstance(wave, UndertoneError):
                    yield Done(item.utterance.id, str(wave))
                else:
                    sound.append((item, wave))
            yield from _encode(sound, writer, encoder)


def _ahead(
    pool: ThreadPoolExecutor, groups: Sequence[Sequence[Item]], rate: int
) -> Iterator[tuple[Sequence[Item], list[Wave | UndertoneError]]]:
    """Each group with its waves, the next ones being decoded meanwhile."""
    waiting: deque[tuple[Sequence[Item], Future[list[Wave | UndertoneError]]]] = deque()
    for group in groups:
        waiting.append((group, pool.submit(_decode, group, rate)))
        if len(waiting) > AHEAD:
            ready, future = waiting.popleft()
            yield ready, future.result()
    for ready, future in waiting:
        yield ready, future.result()


def _decode(group: Sequence[Item], rate: int) -> list[Wave | UndertoneError]:
    waves: list[Wave | UndertoneError] = []
    for item in group:
        try:
            u = item.utterance
            waves.append(load(u.audio, u.start, u.end, rate))
        except UndertoneError as error:
            waves.append(error)
    return waves


def _encode(sound: Sequence[tuple[Item, Wave]], writer: Writer, encoder: SpeechEncoder) -> Iterator[Done]:
    try:
        frames = encoder.encode([wave for _, wave in sound])
    except (UndertoneError, MemoryError) as error:
        if len(sound) > 1:  # one of them is at fault: find out which
            for one in sound:
                yield from _encode([one], writer, encoder)
        else:
            yield Done(sound[0][0].utterance.id, str(error) or "out of memory")
        return
    for (item, wave), found in zip(sound, frames, strict=True):
        writer.put(item.key, {"frames": _kept(found, encoder)}, encoder.name)
        yield Done(item.utterance.id, seconds=len(wave) / encoder.rate)


def _text(items: Sequence[Item], writer: Writer, encoder: TextEncoder) -> Iterator[Done]:
    try:
        coded = encoder.encode([item.utterance.text or "" for item in items])
    except (UndertoneError, MemoryError) as error:
        if len(items) > 1:
            for item in items:
                yield from _text([item], writer, encoder)
        else:
            yield Done(items[0].utterance.id, str(error) or "out of memory")
        return
    for item, found in zip(items, coded, strict=True):
        arrays = {"vectors": _kept(found.vectors, encoder), "chars": found.chars}
        writer.put(item.key, arrays, encoder.name)
        yield Done(item.utterance.id)


def _kept(array: NDArray[np.float32], encoder: Any) -> NDArray[Any]:
    return array.astype(np.float16 if getattr(encoder, "keep", "fp32") == "fp16" else np.float32, copy=False)


_worker: dict[str, Any] = {}
"""What a worker process keeps between chunks."""


def start_worker(root: Path, speech: SpeechEncoder | None, text: TextEncoder | None) -> None:
    """Run once in each worker process: one thread, and the encoders, which travel as their configs."""
    if "torch" in sys.modules:  # acoustic frames do without
        sys.modules["torch"].set_num_threads(1)
    _worker.update(store=Store(root), speech=speech, text=text)


def work_chunk(items: Sequence[Item]) -> list[Done]:
    """A chunk of work in a worker; it has become a shard when this returns."""
    with _worker["store"].writer() as writer:
        return list(work(items, writer, _worker["speech"], _worker["text"]))
