"""Every clip and every transcript through its encoder once; what the store has is not computed again.

Extraction may be killed at any time: what finished shards hold stays, and the next run goes on.
"""

from __future__ import annotations

import logging
import multiprocessing
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from undertone.errors import DataError, UndertoneError
from undertone.features.keys import speech_key, text_key
from undertone.features.work import Done, Item, start_worker, work, work_chunk
from undertone.store import Store
from undertone.types import EncodedText, SpeechEncoder, TextEncoder, Utterance

__all__ = ["Bad", "Report", "extract", "read_speech", "read_text", "speech_key", "text_key"]

log = logging.getLogger(__name__)

CHUNK = 64
"""Items a worker takes at once; each chunk ends in a shard."""


@dataclass(frozen=True, slots=True)
class Bad:
    """An utterance that could not be encoded, and why."""

    id: str
    why: str


@dataclass
class Report:
    """What an extraction did."""

    computed: int = 0
    """Entries made now (clips and transcripts count one each)."""
    hits: int = 0
    """Entries that were there already."""
    bad: list[Bad] = field(default_factory=list)
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
    after all others are done. ``jobs`` processes share the work, one thread each. ``progress``:
    a bar on stderr, by default when it is a terminal.
    """
    began = time.perf_counter()
    report = Report()
    items = _missing(utterances, store, speech, text, report)
    results = (
        _in_processes(items, store, speech, text, jobs) if jobs > 1 else _here(items, store, speech, text)
    )
    for done in _shown(results, len(items), progress):
        if done.error is None:
            report.computed += 1
            report.audio_seconds += done.seconds
        else:
            report.bad.append(Bad(done.id, done.error))
            log.warning("%s: %s", done.id, done.error)
    store.refresh()
    report.wall_seconds = time.perf_counter() - began
    if not skip_bad:
        report.raise_if_bad()
    return report


def read_speech(store: Store, utterance: Utterance, encoder: SpeechEncoder) -> NDArray[np.float32] | None:
    """An utterance's frames from the store, as a read-only view; None when they are not there."""
    found = store.get(speech_key(utterance, encoder))
    return None if found is None else found["frames"]


def read_text(store: Store, utterance: Utterance, encoder: TextEncoder) -> EncodedText | None:
    """A transcript's token vectors from the store; None when they are not there."""
    found = store.get(text_key(utterance, encoder))
    return None if found is None else EncodedText(found["vectors"], found["chars"])


def _missing(
    utterances: Iterable[Utterance],
    store: Store,
    speech: SpeechEncoder | None,
    text: TextEncoder | None,
    report: Report,
) -> list[Item]:
    """What has to be computed: each key once; hits are checked against their sums."""
    items: dict[str, Item] = {}
    for utterance in utterances:
        wanted: list[Item] = []
        if speech is not None:
            try:
                wanted.append(Item("speech", speech_key(utterance, speech), utterance))
            except UndertoneError as error:
                report.bad.append(Bad(utterance.id, str(error)))
                log.warning("%s: %s", utterance.id, error)
        if text is not None:
            wanted.append(Item("text", text_key(utterance, text), utterance))
        for item in wanted:
            if item.key in items or store.get(item.key) is not None:
                report.hits += 1
            else:
                items[item.key] = item
    return list(items.values())


def _here(
    items: Sequence[Item], store: Store, speech: SpeechEncoder | None, text: TextEncoder | None
) -> Iterator[Done]:
    with store.writer() as writer:
        yield from work(items, writer, speech, text)


def _in_processes(
    items: Sequence[Item], store: Store, speech: SpeechEncoder | None, text: TextEncoder | None, jobs: int
) -> Iterator[Done]:
    size = max(1, min(CHUNK, -(-len(items) // (jobs * 8))))
    chunks = [items[i : i + size] for i in range(0, len(items), size)]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        min(jobs, len(chunks)) or 1, context, initializer=start_worker, initargs=(store.root, speech, text)
    ) as pool:
        try:
            for future in as_completed([pool.submit(work_chunk, chunk) for chunk in chunks]):
                yield from future.result()
        except BrokenProcessPool:
            raise DataError(
                "a worker process died (out of memory?); what it had finished is kept, run again to go on"
            ) from None
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _shown(results: Iterable[Done], total: int, progress: bool | None) -> Iterator[Done]:
    if not (sys.stderr.isatty() if progress is None else progress) or not total:
        yield from results
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        yield from bar.track(results, total=total, description="encode")
