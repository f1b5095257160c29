"""Encode tasks, the same in this process and in a worker: decode, encode, keep in the store, go on."""

from __future__ import annotations

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

__all__ = ["EncodeTask", "Encoded", "start_worker", "work", "work_chunk"]

AHEAD = 2
"""Groups of clips decoded before they are needed."""


@dataclass(frozen=True, slots=True)
class EncodeTask:
    """One clip or transcript to encode, and the key that its arrays get."""

    kind: Literal["speech", "text"]
    key: str
    utterance: Utterance


@dataclass(frozen=True, slots=True)
class Encoded:
    """The outcome of a task: kept in the store, or why not."""

    id: str
    """Of the utterance."""
    error: str | None = None
    seconds: float = 0.0
    """Of audio."""


def work(
    tasks: Sequence[EncodeTask], writer: Writer, speech: SpeechEncoder | None, text: TextEncoder | None
) -> Iterator[Encoded]:
    """Compute and keep each task; a task that cannot be is reported, the others go on."""
    if clips := [task for task in tasks if task.kind == "speech"]:
        assert speech is not None
        yield from _speech(clips, writer, speech)
    if transcripts := [task for task in tasks if task.kind == "text"]:
        assert text is not None
        size = getattr(text, "group", 1)
        for start in range(0, len(transcripts), size):
            yield from _text(transcripts[start : start + size], writer, text)


def _speech(tasks: Sequence[EncodeTask], writer: Writer, encoder: SpeechEncoder) -> Iterator[Encoded]:
    size = getattr(encoder, "group", 1)
    groups = [tasks[i : i + size] for i in range(0, len(tasks), size)]
    with ThreadPoolExecutor(1, "decode") as pool:
        for group, waves in _ahead(pool, groups, encoder.rate):
            decoded: list[tuple[EncodeTask, Wave]] = []
            for task, wave in zip(group, waves, strict=True):
                if isinstance(wave, UndertoneError):
                    yield Encoded(task.utterance.id, str(wave))
                else:
                    decoded.append((task, wave))
            yield from _encode(decoded, writer, encoder)


def _ahead(
    pool: ThreadPoolExecutor, groups: Sequence[Sequence[EncodeTask]], rate: int
) -> Iterator[tuple[Sequence[EncodeTask], list[Wave | UndertoneError]]]:
    """Each group with its waves, the next ones being decoded meanwhile."""
    waiting: deque[tuple[Sequence[EncodeTask], Future[list[Wave | UndertoneError]]]] = deque()
    for group in groups:
        waiting.append((group, pool.submit(_decode, group, rate)))
        if len(waiting) > AHEAD:
            ready, future = waiting.popleft()
            yield ready, future.result()
    for ready, future in waiting:
        yield ready, future.result()


def _decode(group: Sequence[EncodeTask], rate: int) -> list[Wave | UndertoneError]:
    waves: list[Wave | UndertoneError] = []
    for task in group:
        try:
            u = task.utterance
            waves.append(load(u.audio, u.start, u.end, rate))
        except UndertoneError as error:
            waves.append(error)
    return waves


def _encode(
    clips: Sequence[tuple[EncodeTask, Wave]], writer: Writer, encoder: SpeechEncoder
) -> Iterator[Encoded]:
    try:
        encoded = encoder.encode([wave for _, wave in clips])
    except (UndertoneError, MemoryError) as error:
        if len(clips) > 1:  # one of them is the cause: encode each alone
            for clip in clips:
                yield from _encode([clip], writer, encoder)
        else:
            yield Encoded(clips[0][0].utterance.id, str(error) or "out of memory")
        return
    for (task, wave), frames in zip(clips, encoded, strict=True):
        writer.put(task.key, {"frames": _as_kept(frames, encoder)}, encoder.name)
        yield Encoded(task.utterance.id, seconds=len(wave) / encoder.rate)


def _text(tasks: Sequence[EncodeTask], writer: Writer, encoder: TextEncoder) -> Iterator[Encoded]:
    try:
        encoded = encoder.encode([task.utterance.text or "" for task in tasks])
    except (UndertoneError, MemoryError) as error:
        if len(tasks) > 1:
            for task in tasks:
                yield from _text([task], writer, encoder)
        else:
            yield Encoded(tasks[0].utterance.id, str(error) or "out of memory")
        return
    for task, tokens in zip(tasks, encoded, strict=True):
        arrays = {"vectors": _as_kept(tokens.vectors, encoder), "chars": tokens.chars}
        writer.put(task.key, arrays, encoder.name)
        yield Encoded(task.utterance.id)


def _as_kept(array: NDArray[np.float32], encoder: Any) -> NDArray[Any]:
    return array.astype(np.float16 if getattr(encoder, "keep", "fp32") == "fp16" else np.float32, copy=False)


_worker: dict[str, Any] = {}
"""Store and encoders of a worker process, kept between chunks."""


def start_worker(root: Path, speech: SpeechEncoder | None, text: TextEncoder | None) -> None:
    """Run once in each worker process: opens the store; the encoders were sent as their configs."""
    _worker.update(store=Store(root), speech=speech, text=text)


def work_chunk(tasks: Sequence[EncodeTask]) -> list[Encoded]:
    """A chunk of work in a worker; it has become a shard when this returns."""
    with _worker["store"].writer() as writer:
        return list(work(tasks, writer, _worker["speech"], _worker["text"]))
