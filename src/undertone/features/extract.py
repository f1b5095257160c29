"""Every clip and every transcript through its encoder once; what the store already has is not computed again.

Extraction may be killed at any time: finished shards stay, and the next run continues.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from undertone.audio import digest
from undertone.errors import DataError, UndertoneError
from undertone.features.work import Encoded, EncodeTask, start_worker, work, work_chunk
from undertone.files import spawned_pool
from undertone.progress import track
from undertone.store import Store
from undertone.types import EncodedText, SpeechEncoder, TextEncoder, Utterance

__all__ = [
    "BadUtterance",
    "Report",
    "extract",
    "read_speech",
    "read_text",
    "speech_key",
    "text_key",
]

log = logging.getLogger(__name__)

CHUNK = 64
"""Tasks a worker takes at once; each chunk ends in a shard."""


@dataclass(frozen=True, slots=True)
class BadUtterance:
    """An utterance that could not be encoded, and why."""

    id: str
    why: str


@dataclass
class Report:
    """Counts, failures and times of one extraction."""

    computed: int = 0
    """Entries made now (clips and transcripts count one each)."""
    hits: int = 0
    """Entries that were there already."""
    bad: list[BadUtterance] = field(default_factory=list)
    audio_seconds: float = 0.0
    """Of audio encoded now."""
    wall_seconds: float = 0.0

    def plain(self) -> dict[str, Any]:
        """Plain JSON-able values."""
        return asdict(self)

    def raise_if_bad(self) -> None:
        """A DataError with the list, if anything was refused."""
        if self.bad:
            shown = "; ".join(f"{b.id}: {b.why}" for b in self.bad[:20])
            more = f"; and {len(self.bad) - 20} more" if len(self.bad) > 20 else ""
            raise DataError(
                f"{len(self.bad)} could not be encoded, the rest is done "
                f"(--skip-bad goes on without them): {shown}{more}"
            )


def extract(
    utterances: Iterable[Utterance],
    store: Store,
    speech: SpeechEncoder | None = None,
    text: TextEncoder | None = None,
    *,
    jobs: int = 1,
    skip_bad: bool = False,
    progress: bool | None = None,
) -> Report:
    """Encode what the store does not hold yet, audio paths being absolute.

    Clips that cannot be encoded are named in the report; unless ``skip_bad`` a DataError lists them
    after all others are done. ``jobs`` processes share the work, one thread each. ``progress=False``:
    neither a bar on stderr nor, where that is no terminal, a line a minute.
    """
    began = time.perf_counter()
    report = Report()
    tasks = _missing(utterances, store, speech, text, report)
    results = (
        _in_processes(tasks, store, speech, text, jobs) if jobs > 1 else _in_order(tasks, store, speech, text)
    )
    for done in _shown(results, len(tasks), progress):
        if done.error is None:
            report.computed += 1
            report.audio_seconds += done.seconds
        else:
            report.bad.append(BadUtterance(done.id, done.error))
            log.info("%s: %s", done.id, done.error)
    store.refresh()
    report.wall_seconds = time.perf_counter() - began
    if not skip_bad:
        report.raise_if_bad()
    return report


def read_speech(store: Store, utterance: Utterance, encoder: SpeechEncoder) -> NDArray[np.float32] | None:
    """An utterance's frames from the store, as a read-only view; None when they are not there."""
    arrays = store.get(speech_key(utterance, encoder))
    return None if arrays is None else arrays["frames"]


def read_text(store: Store, utterance: Utterance, encoder: TextEncoder) -> EncodedText | None:
    """A transcript's token vectors from the store; None when they are not there."""
    arrays = store.get(text_key(utterance, encoder))
    return None if arrays is None else EncodedText(arrays["vectors"], arrays["chars"])


def speech_key(utterance: Utterance, encoder: SpeechEncoder) -> str:
    """Address of an utterance's frames: the recording's bytes, the span, the encoder's identity."""
    return _address("speech", encoder.identity, *_recording(utterance))


def text_key(utterance: Utterance, encoder: TextEncoder) -> str:
    """Address of a transcript's token vectors: its characters, the encoder's identity."""
    return _address("text", encoder.identity, utterance.text or "")


def _missing(
    utterances: Iterable[Utterance],
    store: Store,
    speech: SpeechEncoder | None,
    text: TextEncoder | None,
    report: Report,
) -> list[EncodeTask]:
    """The tasks that remain, each key once; hits are verified by their checksums."""
    tasks: dict[str, EncodeTask] = {}
    for utterance in utterances:
        wanted: list[EncodeTask] = []
        if speech is not None:
            try:
                wanted.append(EncodeTask("speech", speech_key(utterance, speech), utterance))
            except UndertoneError as error:
                report.bad.append(BadUtterance(utterance.id, str(error)))
                log.info("%s: %s", utterance.id, error)
        if text is not None:
            wanted.append(EncodeTask("text", text_key(utterance, text), utterance))
        for task in wanted:
            if task.key in tasks or store.get(task.key) is not None:
                report.hits += 1
            else:
                tasks[task.key] = task
    return list(tasks.values())


def _in_order(
    tasks: Sequence[EncodeTask], store: Store, speech: SpeechEncoder | None, text: TextEncoder | None
) -> Iterator[Encoded]:
    with store.writer() as writer:
        yield from work(tasks, writer, speech, text)


def _in_processes(
    tasks: Sequence[EncodeTask],
    store: Store,
    speech: SpeechEncoder | None,
    text: TextEncoder | None,
    jobs: int,
) -> Iterator[Encoded]:
    size = max(1, min(CHUNK, -(-len(tasks) // (jobs * 8))))
    chunks = [tasks[i : i + size] for i in range(0, len(tasks), size)]
    try:
        with spawned_pool(min(jobs, len(chunks)), start_worker, (store.root, speech, text)) as pool:
            for future in as_completed([pool.submit(work_chunk, chunk) for chunk in chunks]):
                yield from future.result()
    except BrokenProcessPool:
        raise DataError(
            "a worker process died (out of memory?); its finished shards are kept, run again to continue"
        ) from None


def _shown(results: Iterable[Encoded], total: int, progress: bool | None) -> Iterable[Encoded]:
    return track(results, "encoding", total) if total and progress is not False else results


def _recording(utterance: Utterance) -> list[object]:
    span = [None if t is None else round(t * 1e6) for t in (utterance.start, utterance.end)]
    return [_digest_of(utterance.audio), *span]


def _address(*parts: object) -> str:
    return hashlib.sha256("\x1f".join(map(str, parts)).encode()).hexdigest()[:32]


def _digest_of(ref: str) -> str:
    """The recording's hash; read again only when its size or date changes."""
    archive = Path(ref if Path(ref).exists() else ref.partition("#")[0])
    try:
        status = archive.stat()
    except OSError:
        return digest(ref)  # raises an error that names it
    return _digest(ref, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=4096)
def _digest(ref: str, _size: int, _changed: int) -> str:
    return digest(ref)
