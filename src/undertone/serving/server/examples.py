"""Clips to try on the page: some of the recordings that the demo made for its models."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from undertone import manifest as manifests
from undertone.errors import UndertoneError

__all__ = ["ExampleClip", "find_examples"]

MANIFESTS = ("examples.jsonl", "corpus.jsonl")
"""A folder of models may have one of these beside or above them; ``undertone demo`` leaves the second."""
EACH = 1
"""Examples of each label, and of each text at most one."""
KINDS = {".wav": "audio/wav", ".flac": "audio/flac", ".ogg": "audio/ogg", ".mp3": "audio/mpeg"}


@dataclass(frozen=True)
class ExampleClip:
    """One clip to try."""

    name: str
    path: Path
    text: str | None = None
    label: str | None = None
    attribution: str | None = None
    """Whose it is, and under which licence."""

    @property
    def kind(self) -> str:
        return KINDS[self.path.suffix.lower()]

    def plain(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "text": self.text,
            "label": self.label,
            "attribution": self.attribution,
        }


def find_examples(model_folder: Path) -> dict[str, ExampleClip]:
    """By name, from the nearest manifest at or above the model's folder; empty where there is none."""
    for folder in (model_folder, *list(model_folder.absolute().parents)[:3]):
        for name in MANIFESTS:
            if (folder / name).is_file():
                return {example.name: example for example in _chosen(folder / name)}
    return {}


def _chosen(manifest: Path) -> list[ExampleClip]:
    try:
        utterances = manifests.read(manifest).resolved()
    except UndertoneError:  # no examples is no reason not to serve
        return []
    labels: Counter[str | None] = Counter()
    texts: set[str | None] = set()
    chosen: list[ExampleClip] = []
    for utterance in utterances:
        path = Path(utterance.audio)
        fits = path.suffix.lower() in KINDS and not utterance.start and path.is_file()
        if fits and labels[utterance.label] < EACH and utterance.text not in texts:
            labels[utterance.label] += 1
            texts.add(utterance.text)
            name, whose = f"{len(chosen) + 1}{path.suffix}", utterance.extra.get("attribution")
            chosen.append(ExampleClip(name, path, utterance.text, utterance.label, whose))
    return chosen
