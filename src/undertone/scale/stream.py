"""Parts through a pool of actors: Ray Data places, feeds, retries and replaces; ``parts`` defines a part.

The rows of the dataset are parts, not utterances: a worker reads its part from where it lies, so neither
the driver nor the object store ever holds a recording, and both stay small however many there are. Each
part leaves one file, named by what went into it and written whole or not at all. So a part may be done
twice (a worker that died after writing, a machine that was only out of reach) and is there once.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from undertone.errors import DataError, UndertoneError
from undertone.files import one_thread
from undertone.progress import Watch
from undertone.scale.cluster import most, quiet
from undertone.scale.parts import PartedSource, WorkPart
from undertone.scale.stage import Staged, staged
from undertone.scale.workers import Workers

__all__ = ["Account", "FailedUtterance", "Make", "PartSummary", "PartWork", "Watch", "attempt", "run"]

BLOCKS = 2_000
"""Blocks of the dataset: more parts than that share blocks, whose finished parts a retry passes over."""


@dataclass(frozen=True)
class FailedUtterance:
    """An utterance that could not be worked on."""

    id: str
    why: str


@dataclass(frozen=True)
class PartSummary:
    """What came of one part."""

    utterances: int
    failed: tuple[FailedUtterance, ...] = ()
    totals: dict[str, float] = field(default_factory=dict)
    """Whatever adds up over parts."""


Make = Callable[[WorkPart, Sequence[Staged]], PartSummary]
"""Does a part and leaves its file."""


class PartWork(Protocol):
    """What is done with parts; travels to the workers, so it holds no models, only how to get them."""

    def finished(self) -> Callable[[WorkPart], bool]:
        """Whether a part's file is there; looks once, at the time of the call."""

    def start(self) -> Make:
        """In a worker, once: the models loaded."""


@dataclass
class Account:
    """The closing account of a run."""

    utterances: int
    resumed: int = 0
    """Utterances in parts that an earlier run had finished."""
    failed: list[FailedUtterance] = field(default_factory=list)
    """Of the parts that were done now."""
    totals: dict[str, float] = field(default_factory=dict)
    """Sums over those parts."""
    workers: dict[str, int] = field(default_factory=dict)
    """Parts by ``node:process`` that did them."""
    seconds: float = 0.0
    """Of the whole call."""
    working: float = 0.0
    """Of those, from the first part begun to the last one back: without workers' start and end."""


def run(
    ray: Any, source: PartedSource, work: PartWork, workers: Workers, watch: Watch | None = None
) -> Account:
    """The account of a run that does every part once, and those of an earlier run not again."""
    account = Account(source.utterances)
    is_done = work.finished()
    waiting = [part for part in source.parts if not is_done(part)]
    account.resumed = account.utterances - sum(part.utterances for part in waiting)
    started, first, seen = time.time(), float("inf"), account.resumed
    for summary in _stream(ray, waiting, work, workers) if waiting else ():
        if "problem" in summary:
            raise UndertoneError(summary["problem"])
        first = min(first, summary["began"])
        account.working = time.time() - first
        seen += summary["utterances"]
        _add(account, summary)
        if watch is not None:
            watch(seen, account.utterances)
    account.seconds = time.time() - started
    if seen != account.utterances:
        raise DataError(f"{seen} of {account.utterances} utterances came back; run again to go on")
    return account


def attempt(one: Staged, do: Callable[[Staged], Any]) -> tuple[Any, str | None]:
    """The result for one utterance, or why there is none."""
    if one.error is not None:
        return None, one.error
    try:
        return do(one), None
    except UndertoneError as error:
        return None, one.with_source_path(str(error))


def _add(account: Account, summary: dict[str, Any]) -> None:
    account.failed += [FailedUtterance(*one) for one in summary["failed"]]
    for name, value in summary["totals"].items():
        account.totals[name] = account.totals.get(name, 0) + value
    account.workers[summary["worker"]] = account.workers.get(summary["worker"], 0) + 1


def _stream(
    ray: Any, parts: Sequence[WorkPart], work: PartWork, workers: Workers
) -> Iterator[dict[str, Any]]:
    """A summary a part, in the order in which they end."""
    from ray.data import ActorPoolStrategy, from_items

    quiet()
    size = min(most(ray, workers), len(parts))
    pool = ActorPoolStrategy(min_size=1, max_size=size, initial_size=size, max_tasks_in_flight_per_actor=2)
    rows = from_items([{"part": part.text()} for part in parts], override_num_blocks=min(len(parts), BLOCKS))
    done = rows.map_batches(
        _Actor,
        fn_constructor_args=(work, workers.threads),
        batch_size=1,
        compute=pool,
        num_cpus=workers.cpus,
        num_gpus=workers.gpus,
    )
    for row in done.iter_rows():
        yield json.loads(row["summary"])


class _Actor:
    """A worker process: the work, started once."""

    def __init__(self, work: PartWork, threads: int) -> None:
        one_thread(threads)
        self._problem: str | None = None
        try:
            self._make = work.start()
        except UndertoneError as error:  # an actor that cannot start would be started again for ever
            self._problem = str(error)

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[str]]:
        return {"summary": [json.dumps(self._one(WorkPart.parse(str(text)))) for text in batch["part"]]}

    def _one(self, part: WorkPart) -> dict[str, Any]:
        if self._problem is not None:
            return {"problem": self._problem}
        began = time.time()
        try:
            with staged(part) as rows:
                done = self._make(part, rows)
        except UndertoneError as error:
            return {"problem": str(error)}
        return {
            "utterances": done.utterances,
            "failed": [[one.id, one.why] for one in done.failed],
            "totals": done.totals,
            "worker": _worker_name(),
            "began": began,
        }


def _worker_name() -> str:
    """This process, by node and number."""
    import ray

    return f"{ray.get_runtime_context().get_node_id()[:8]}:{os.getpid()}"
