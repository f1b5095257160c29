"""Times of rivals measured in turns, and results as JSON lines with the machine's load."""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Times:
    """Medians over the repetitions."""

    cpu: float
    """Seconds of this process's CPU time: steadier than the clock on a busy machine."""
    wall: float


def measure(rivals: Mapping[str, Callable[[], Any]], repeats: int, warm: bool = True) -> dict[str, Times]:
    """Each rival's median times; they take turns, so that a busy spell hits all alike."""
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in rivals}
    if warm:
        for run in rivals.values():
            run()
    for _ in range(repeats):
        for name, run in rivals.items():
            cpu, wall = time.process_time(), time.perf_counter()
            run()
            taken[name].append((time.process_time() - cpu, time.perf_counter() - wall))
    return {name: Times(*map(statistics.median, zip(*rows, strict=True))) for name, rows in taken.items()}


def report(name: str, ours: float, theirs: float, **more: Any) -> None:
    """Print one line of JSON; ``name`` ends in the opponent's."""
    line(name, ratio=theirs / ours, ours_s=ours, theirs_s=theirs, **more)


def line(name: str, **values: Any) -> None:
    """Print one line of JSON, floats to four digits, with the machine's load."""
    load = round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None
    short = {key: _short(value) for key, value in values.items()}
    print(json.dumps({"name": name, **short, "load": load}), flush=True)


def _short(value: Any) -> Any:
    return float(f"{value:.4g}") if isinstance(value, float) else value
