"""Runs of the same system under different settings: what differs, read from their recipes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from undertone.evaluation.results import Result

__all__ = ["settings"]

UNIMPORTANT = ("name", "notes", "manifest")


def settings(results: Sequence[Result]) -> dict[str, list[tuple[Result, list[str]]]]:
    """System → its runs with what each changes against the first; only systems with several runs."""
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
