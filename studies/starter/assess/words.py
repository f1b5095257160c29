"""Figures as people read them: points with their interval, and tables of them."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["bar_lines", "bar_rows", "filled", "grid", "points", "spread"]

WIDTH = 110


def points(value: float, digits: int = 1) -> str:
    """A fraction as points.

    >>> points(0.7634)
    '76.3'
    """
    return f"{100 * value:.{digits}f}"


def spread(figure: Mapping[str, Any]) -> str:
    """A score with its 95 % interval.

    >>> spread({"value": 0.7634, "low": 0.71, "high": 0.812})
    '76.3 (71.0–81.2)'
    """
    return f"{points(figure['value'])} ({points(figure['low'])}–{points(figure['high'])})"


def filled(*sentences: str) -> str:
    """A paragraph of the sentences, broken into lines."""
    return textwrap.fill(" ".join(sentences), WIDTH, break_long_words=False, break_on_hyphens=False)


def grid(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def bar_rows(bars: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """What was to be reached and what was: name, measured, wanted, ``yes`` or ``no``."""
    rows = []
    for bar in bars:
        plain = bar["what"].startswith(("Brier", "NLL"))
        value, bound = (f"{bar[key]:.3f}" if plain else points(bar[key]) for key in ("value", "bound"))
        sign = "≥" if bar["at_least"] else "≤"
        rows.append([bar["what"], value, f"{sign} {bound}", "yes" if bar["met"] else "no"])
    return rows


def bar_lines(bars: Sequence[Mapping[str, Any]]) -> str:
    """The same as a Markdown table, what was not reached in bold."""
    rows = [[*row[:3], "yes" if row[3] == "yes" else "**no**"] for row in bar_rows(bars)]
    return grid(["figure", "measured", "wanted", "met"], rows)
