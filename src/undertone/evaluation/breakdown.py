"""The same score over groups of utterances (speaker, duration, noise …), and runs of one system compared."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from undertone.evaluation import significance
from undertone.evaluation.results import Result
from undertone.evaluation.runs import Run

__all__ = ["GROUPINGS", "Subset", "breakdown", "variants"]


@dataclass(frozen=True, slots=True)
class Subset:
    """The scores over one group of utterances."""

    name: str
    n: int
    wa: float
    ua: float
    """Over the classes that occur in this group."""


def _either(yes: str, no: str) -> Callable[[Any], str | None]:
    return lambda value: None if value is None else yes if value else no


def _steps(edges: Sequence[float], unit: str) -> Callable[[Any], str | None]:
    """Value → the name of its range, as ``2-4 s``."""

    def name(value: Any) -> str | None:
        if value is None:
            return None
        step = int(np.searchsorted(edges, float(value), side="right"))
        if step == 0:
            return f"under {edges[0]:g} {unit}"
        return (
            f"{edges[-1]:g} {unit} and more"
            if step == len(edges)
            else f"{edges[step - 1]:g}-{edges[step]:g} {unit}"
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
"""Title → (the fact, its value → the name of a group, the order of the groups; empty: by name)."""

UNIMPORTANT = ("name", "notes", "manifest")
"""Keys of a recipe that do not change a system."""


def breakdown(run: Run) -> dict[str, list[Subset]]:
    """Title → groups, seeds averaged; only where the run's utterances fall into two groups or more."""
    groups = {title: _subsets(run, *how) for title, how in GROUPINGS.items()}
    return {title: subsets for title, subsets in groups.items() if len(subsets) > 1}


def _subsets(run: Run, fact: str, name: Callable[[Any], str | None], order: tuple[str, ...]) -> list[Subset]:
    predictions = run.predictions
    groups = [name(run.facts.get(i, {}).get(fact)) for i in predictions.ids]
    known = np.array([group is not None for group in groups])
    if not known.any():
        return []
    names = [group for group in groups if group is not None]
    truth, predicted = predictions.truth[known], predictions.predicted()[:, known]
    tallies = significance.tally(truth, predicted, names, len(predictions.labels))
    wa, ua = significance.statistic("wa"), significance.statistic("ua")
    subsets = [
        Subset(group, round(t.sum()), float(wa(t)), float(ua(t)))
        for group, t in zip(sorted(set(names)), tallies, strict=True)
    ]
    return sorted(subsets, key=lambda s: order.index(s.name) if s.name in order else len(order))


def variants(results: Sequence[Result]) -> dict[str, list[tuple[Result, list[str]]]]:
    """System → its runs, each with the settings that differ from the first; where there are several."""
    groups: dict[str, list[Result]] = defaultdict(list)
    for result in results:
        system = result.run.config.get("system")
        groups[str(system) if isinstance(system, str) else result.name].append(result)
    return {
        system: [(r, _changes(_flat(runs[0].run.config), _flat(r.run.config))) for r in runs]
        for system, runs in groups.items()
        if len(runs) > 1
    }


def _flat(values: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{path}{key}.")
        elif path or key not in UNIMPORTANT:
            flat[f"{path}{key}"] = value
    return flat


def _changes(base: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    keys = [k for k in dict.fromkeys([*other, *base]) if base.get(k) != other.get(k)]
    return [f"{key} = {other.get(key, 'default')}" for key in keys]
