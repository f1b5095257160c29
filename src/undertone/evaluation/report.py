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

``envelope(wave)`` makes the ``wave`` entry. ``stress.json`` holds what sweeps found, in order::

    {"sweeps": {"added noise": [{"at": "20 dB", "ua": 0.61, "wa": 0.63}, …],
                "missing": [{"at": "no speech", …}, …], "transcript": [{"at": "gold", …}, …]}}
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from undertone.errors import DataError
from undertone.evaluation import heat, overview, pictures
from undertone.evaluation.findings import Findings
from undertone.evaluation.markdown import markdown
from undertone.evaluation.page import esc, links, page
from undertone.evaluation.protocol import protocol
from undertone.evaluation.results import Result, evaluate

__all__ = ["envelope", "render"]


def render(runs: Sequence[Path], out: Path, *, reference: str | None = None) -> list[Result]:
    """Measure the runs, write ``out`` (HTML) and the same as Markdown beside it; returns the results.

    ``reference`` names the run that the others are tested against (else the first).
    """
    if not runs:
        raise DataError("nothing to report: no run was named")
    found = Findings([evaluate(folder) for folder in runs], reference)
    own = found.reference.run.card
    foot = f"undertone {esc(own.code)} · {esc(own.machine)} · made from predictions, offline"
    first, *others = _sections(found)
    _write(out, page(f"{own.corpus} · undertone", [first, links(others), *others], foot))
    _write(out.with_suffix(".md"), markdown(found))
    return list(found.results)


def _sections(found: Findings) -> list[str]:
    """The page, in reading order."""
    return [
        overview.head(found),
        overview.comparison(found),
        heat.parts(found),
        heat.stress(found),
        pictures.confusions(found),
        pictures.folds(found),
        pictures.learning(found),
        pictures.calibration(found),
        pictures.ablation(found),
        pictures.embedding_map(found),
        pictures.example(found),
        protocol(found),
    ]


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def envelope(wave: NDArray[Any], points: int = 600) -> dict[str, list[float]]:
    """The ``wave`` of an example: least and greatest sample of each of ``points`` equal stretches."""
    parts = np.array_split(np.asarray(wave, dtype=float), max(1, min(points, len(wave))))
    return {
        "low": [round(float(part.min()), 4) for part in parts],
        "high": [round(float(part.max()), 4) for part in parts],
    }
