"""Clips to try on the page, as the demo leaves them beside its models.

``examples/examples.json`` is a list of ``{"audio", "text", "label"}``, ``audio`` a file in the same folder.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Example", "find_examples"]

MOST = 24


@dataclass(frozen=True)
class Example:
    """One clip to try."""

    name: str
    path: Path
    text: str | None = None
    label: str | None = None

    def plain(self) -> dict[str, Any]:
        return {"name": self.name, "text": self.text, "label": self.label}


def find_examples(model_folder: Path) -> dict[str, Example]:
    """By name, from the nearest ``examples`` folder at or above the model's; empty where there is none."""
    for folder in (model_folder, *list(model_folder.absolute().parents)[:3]):
        listing = folder / "examples" / "examples.json"
        if listing.is_file():
            return {example.name: example for example in _read(listing)}
    return {}


def _read(listing: Path) -> list[Example]:
    found = []
    for row in json.loads(listing.read_text(encoding="utf-8"))[:MOST]:
        path = listing.parent / Path(row["audio"]).name
        if path.is_file():
            found.append(Example(path.name, path, row.get("text"), row.get("label")))
    return found
