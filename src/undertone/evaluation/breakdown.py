"""The same score over parts of the utterances: who, how long, how noisy, which words were known before."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from undertone.evaluation import significance
from undertone.evaluation.runs import Run

__all__ = ["GROUPINGS", "Part", "breakdown"]


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the utterances."""

    name: str
    n: int
    wa: float
    ua: float
    """Over the classes that occur in this part."""


def _either(yes: str, no: str) -> Callable[[Any], str | None]:
    return lambda value: None if value is None else yes if value else no


def _steps(edges: Sequence[float], unit: str) -> Callable[[Any], str | None]:
    """Names like ``2-4 s``; they sort as they count."""

    def name(value: Any) -> str | None:
        if value is None:
            return None
        place = int(np.searchsorted(edges, float(value), side="right"))
        if place == 0:
            return f"under {edges[0]:g} {unit}"
        return (
            f"{edges[-1]:g} {unit} and more"
            if place == len(edges)
            else f"{edges[place - 1]:g}-{edges[place]:g} {unit}"
        )

    return name


def _itself(value: Any) -> str | None:
    return None if value is None else str(value)


GROUPINGS: dict[str, tuple[str, Callable[[Any], str | None], tuple[str, ...]]] = {
    "kind": ("kind", _itself, ()),
    "speech": ("scripted", _either("scripted", "improvised"), ("scripted", "improvised")),
    "words": (
        "seen_text",
        _either("also in training", "unseen in training"),
        ("unseen in training", "also in training"),
    ),
    "transcript": ("text_source", _itself, ()),
    "duration": (
        "duration",
        _steps((2, 4, 8), "s"),
        ("under 2 s", "2-4 s", "4-8 s", "8 s and more"),
    ),
    "noise": (
        "snr",
        _steps((5, 15, 25), "dB"),
        ("under 5 dB", "5-15 dB", "15-25 dB", "25 dB and more"),
    ),
    "speaker": ("speaker", _itself, ()),
}
"""Title → (the fact, the part it puts an utterance in, the order of the parts; empty: by name)."""


def breakdown(run: Run) -> dict[str, list[Part]]:
    """Title → parts, seeds averaged; only where the run's utterances fall into two parts or more."""
    found = {title: _parts(run, *how) for title, how in GROUPINGS.items()}
    return {title: parts for title, parts in found.items() if len(parts) > 1}


def _parts(run: Run, fact: str, name: Callable[[Any], str | None], order: tuple[str, ...]) -> list[Part]:
    said = run.predictions
    names = [name(_get(run.facts, i, fact)) for i in said.ids]
    known = np.array([n is not None for n in names])
    if not known.any():
        return []
    here = [n for n in names if n is not None]
    tallies = significance.tally(said.truth[known], said.predicted()[:, known], here, len(said.labels))
    parts = [
        Part(
            group,
            round(t.sum()),
            float(significance.statistic("wa")(t)),
            float(significance.statistic("ua")(t)),
        )
        for group, t in zip(sorted(set(here)), tallies, strict=True)
    ]
    return sorted(parts, key=lambda part: order.index(part.name) if part.name in order else len(order))


def _get(facts: Mapping[str, Mapping[str, Any]], i: str, fact: str) -> Any:
    return facts.get(i, {}).get(fact)
