"""The report of some runs: one self-contained page, ``report.html``, and ``report.md`` beside it.

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
                                                           without that modality
      "perspectives": {"fused": {…}, "speech": {…}, "text": {…}}
    }

``envelope(wave)`` makes the ``wave`` entry. ``stress.json`` holds the scores of sweeps, in order::

    {"sweeps": {"added noise": [{"at": "20 dB", "ua": 0.61, "wa": 0.63}, …],
                "missing": [{"at": "no speech", …}, …], "transcript": [{"at": "gold", …}, …]}}
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from undertone.errors import ConfigError, DataError, MissingExtra
from undertone.evaluation.findings import Findings, points, probability, signed
from undertone.evaluation.results import Result, evaluate
from undertone.evaluation.sections import sections
from undertone.files import refuse_place, write_whole

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["envelope", "render"]

TEMPLATES = Path(__file__).with_name("templates")


def render(runs: Sequence[Path], out: Path, *, reference: str | None = None, unit: str = "") -> list[Result]:
    """Measure the runs, write ``out`` (.html or .md) and the other beside it; returns the results.

    ``reference`` names the run that the others are tested against (else the first); ``unit`` is that of
    intervals and tests, where the runs' own is not wanted.
    """
    if not runs:
        raise DataError("nothing to report: no run was named")
    if out.suffix.lower() not in (".html", ".md"):
        raise ConfigError(f"{out}: a report is a page (.html) and the same as Markdown (.md)")
    refuse_place(out)
    templates = _templates()
    findings = Findings([evaluate(folder, unit) for folder in runs], reference)
    style = (TEMPLATES / "report.css").read_text(encoding="utf-8")
    card = findings.reference.run.card
    values = {"f": findings, "card": card, "sections": sections(findings), "style": style}
    write_whole(out.with_suffix(".html"), templates.get_template("report.html").render(values))
    write_whole(out.with_suffix(".md"), templates.get_template("report.md").render(values))
    return list(findings.results)


def _templates() -> Environment:
    """The templates; those of HTML escape whatever comes from data, those of Markdown by ``cell``."""
    try:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
    except ImportError:
        raise MissingExtra("a report", "report") from None
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"points": points, "signed": signed, "probability": probability, "cell": _cell}
    return environment


def _cell(value: Any) -> str:
    """Text that breaks neither a table of Markdown nor the page."""
    text = " ".join(str(value).split()).replace("\\", "\\\\").replace("|", "\\|")
    return text.replace("<", "&lt;").replace("*", "\\*").replace("`", "\\`")


def envelope(wave: NDArray[Any], points: int = 600) -> dict[str, list[float]]:
    """The ``wave`` of an example: least and greatest sample of each of ``points`` equal stretches."""
    parts = np.array_split(np.asarray(wave, dtype=float), max(1, min(points, len(wave))))
    return {
        "low": [round(float(part.min()), 4) for part in parts],
        "high": [round(float(part.max()), 4) for part in parts],
    }
