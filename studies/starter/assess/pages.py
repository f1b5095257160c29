"""The pages with the metrics; all are written from the one JSON, and a test compares them with it.

DOCS/model-card.md            the card
DOCS/results/starter.json     the metrics
DOCS/results/starter.md       what was to be reached and what was, and how to measure it again
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from studies.starter.assess.card import card
from studies.starter.assess.prose import MEASURED, SEE
from studies.starter.assess.words import bar_lines, filled
from undertone.files import write_whole

__all__ = ["CARD", "METRICS", "RESULTS", "results", "write_pages"]

CARD, METRICS, RESULTS = Path("model-card.md"), Path("results/starter.json"), Path("results/starter.md")


def write_pages(values: Mapping[str, Any], docs: Path) -> None:
    """The card, the metrics and the results page below a folder."""
    pages = {
        CARD: card(values),
        METRICS: json.dumps(values, ensure_ascii=False, indent=1) + "\n",
        RESULTS: results(values),
    }
    for name, text in pages.items():
        write_whole(docs / name, text)


def results(values: Mapping[str, Any]) -> str:
    """The results page: bars first, then how they were measured."""
    met = sum(bar["met"] for bar in values["bars"])
    training = values["model"].get("training", {})
    commands = [
        training.get("command", "python -m studies.starter train"),
        "python -m studies.starter evaluate --pages docs",
    ]
    how = filled(f"{met} of {len(values['bars'])} figures reach their bars.", SEE)
    lines = "\n".join(commands)
    return (
        "# The starter: what the model in the box reaches\n\n"
        "<!-- written by `python -m studies.starter evaluate`: do not edit -->\n\n"
        f"{how}\n\n```sh\n{lines}\n```\n\n{bar_lines(values['bars'])}\n\n"
        f"{MEASURED}\n\n"
        f"Machine: {values['machine']}. Code: {values['code']}.\n"
    )
