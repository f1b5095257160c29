"""Runs in, one self-contained page out: ``report.html`` beside ``report.md``, readable offline.

Besides what ``evaluation.runs`` describes, a run's folder may hold ``example.json``, one tested
utterance (or a list of them) to look at closely::

    {
      "id": "…", "fold": "session-1", "seed": 0, "truth": "happy", "label": "happy", "text": "…",
      "duration": 2.31,                                    seconds
      "wave": {"low": [-0.1, …], "high": [0.2, …]},        envelope: least and greatest sample of each of
                                                           about 600 equal stretches, in -1..1
      "tiers": {"word": [{"text", "start", "end"}, …], "syllable": […], "phone": […]},
      "words": [{"text", "contribution", "start", "end"}, …],   as in a prediction
      "modalities": {"speech": 0.31, "text": 0.42},        what the label's log-probability loses
                                                           when that side is taken away
      "perspectives": {"fused": {…}, "speech": {…}, "text": {…}}
    }

``envelope(wave)`` makes the ``wave`` entry.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from undertone.evaluation.results import Result, evaluate

__all__ = ["envelope", "render"]


def render(runs: Sequence[Path], out: Path, *, reference: str | None = None) -> list[Result]:
    """Measure the runs, write ``out`` (HTML) and the same as Markdown beside it; returns the results.

    ``reference`` names the run that the others are tested against (default: ``unison``, else the first).
    """
    results = [evaluate(folder) for folder in runs]
    out.write_text("", encoding="utf-8")
    return results


def envelope(wave: NDArray[Any], points: int = 600) -> dict[str, list[float]]:
    """The ``wave`` of an example: least and greatest sample of each of ``points`` equal stretches."""
    parts = np.array_split(np.asarray(wave, dtype=float), max(1, min(points, len(wave))))
    return {
        "low": [round(float(part.min()), 4) for part in parts],
        "high": [round(float(part.max()), 4) for part in parts],
    }
