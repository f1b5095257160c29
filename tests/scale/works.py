"""A work without a model, importable by the tests and by the workers of a cluster."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from undertone.audio import load
from undertone.errors import TrainingError
from undertone.scale.parts import WorkPart
from undertone.scale.results import finished, write_result
from undertone.scale.stage import Staged
from undertone.scale.stream import FailedUtterance, Make, PartSummary, attempt
from undertone.training.jobs import Job, mark_done


@dataclass(frozen=True)
class Levels:
    """Each clip's mean level, and who measured it."""

    out: str
    seconds: float = 0.0
    """Slept a part, so that all workers get one."""
    dies: str | None = None
    """Path of a note: the worker whose part finds none writes it and kills itself."""
    identity: str = "levels"

    def finished(self) -> Callable[[WorkPart], bool]:
        return finished(self.out, self.identity)

    def start(self) -> Make:
        import pyarrow as pa

        def make(part: WorkPart, rows: Sequence[Staged]) -> PartSummary:
            time.sleep(self.seconds)
            if self.dies is not None and part.number == 2 and not Path(self.dies).exists():
                Path(self.dies).write_text("once")
                os.kill(os.getpid(), signal.SIGKILL)
            found = [attempt(one, _level) for one in rows]
            ids = [one.utterance.id for one in rows]
            table = pa.table({"id": ids, "level": [level for level, _ in found]})
            write_result(self.out, part, self.identity, table)
            failed = [FailedUtterance(name, why) for name, (_, why) in zip(ids, found, strict=True) if why]
            return PartSummary(len(rows), tuple(failed), {"sum": sum(level or 0.0 for level, _ in found)})

        return make


def _level(one: Staged) -> float:
    return float(np.abs(load(one.local.audio)).mean())


def all_but_the_first(job: Job) -> None:
    """Does nothing, and one job not even that."""
    if job.fold == "session-0":
        raise TrainingError("this one cannot")
    job.folder.mkdir(parents=True, exist_ok=True)
    mark_done(job)


def forbidden(job: Job) -> None:
    """Nobody should ask for this."""
    raise AssertionError(job.name)
