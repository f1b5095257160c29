"""The frame of the report: one HTML file with its style inside, light and dark, wide and narrow.

Nothing is fetched: no script, no font, no image. Whatever comes from data goes through ``esc``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

__all__ = ["bars", "card", "details", "esc", "hue", "links", "page", "points", "section", "table"]

HUES = {
    "angry": "--angry",
    "happy": "--happy",
    "excited": "--happy",
    "joy": "--happy",
    "sad": "--sad",
    "neutral": "--neutral",
    "calm": "--neutral",
    "fearful": "--fear",
    "fear": "--fear",
    "frustrated": "--fear",
    "disgust": "--disgust",
    "surprised": "--surprise",
    "surprise": "--surprise",
}
"""The emotions that have a colour of their own; others take the palette's in turn."""


def esc(value: Any) -> str:
    """Text that is safe anywhere in HTML, attributes included."""
    return escape(str(value), quote=True)


def points(value: float | None, digits: int = 1) -> str:
    """A fraction as points: 0.8123 → ``81.2``; an en dash where there is none."""
    return "–" if value is None or value != value else f"{100 * value:.{digits}f}"


def hue(label: str, index: int) -> str:
    """The CSS colour of a class."""
    return f"var({HUES.get(label, f'--s{index % 8}')})"


def section(name: str, title: str, body: str, lead: str = "") -> str:
    """One part of the page, reachable as ``#name``; ``title``, ``lead`` and ``body`` are HTML."""
    opening = f'<p class="lead">{lead}</p>' if lead else ""
    return f'<section id="{esc(name)}"><h2>{title}</h2>{opening}{body}</section>' if body else ""


def card(title: str, body: str, note: str = "") -> str:
    """A small panel of a grid: a figure with its title and a line beneath."""
    below = f'<p class="note">{note}</p>' if note else ""
    return f'<figure class="card"><figcaption>{title}</figcaption>{body}{below}</figure>'


def details(title: str, body: str) -> str:
    """Something to open."""
    return f"<details><summary>{title}</summary>{body}</details>"


def table(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    kinds: Sequence[str] = (),
    row: int | None = None,
    name: str = "",
) -> str:
    """A table of HTML cells; ``kinds`` gives each column's class: ``num``, ``opt`` (left out when narrow).

    ``row`` is the one to stand out, ``name`` a class for the whole.
    """
    kind = [*kinds, *[""] * (len(head) - len(kinds))]
    top = "".join(f'<th class="{k}">{h}</th>' for k, h in zip(kind, head, strict=True))
    body = "".join(
        f'<tr class="{"ref" if index == row else ""}">'
        + "".join(f'<td class="{k}">{c}</td>' for k, c in zip(kind, cells, strict=True))
        + "</tr>"
        for index, cells in enumerate(rows)
    )
    return (
        f'<div class="scroll {name}"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def bars(values: Sequence[tuple[str, float, str]], top: float = 1.0) -> str:
    """Labelled bars of (label as HTML, value, colour), ``top`` being full width."""
    rows = "".join(
        f'<div class="bar"><span>{label}</span><i><b style="width:{max(0.0, min(1.0, value / top)):.1%};'
        f'background:{colour}"></b></i><em>{points(value)}</em></div>'
        for label, value, colour in values
    )
    return f'<div class="bars">{rows}</div>'


def links(sections: Sequence[str]) -> str:
    """A way to each of the sections that have something to show."""
    names = [found[1] for part in sections if (found := re.match(r'<section id="([^"]*)"', part))]
    return "<nav>" + "".join(f'<a href="#{name}">{name}</a>' for name in names) + "</nav>"


def page(title: str, sections: Sequence[str], foot: str) -> str:
    """The whole file."""
    style = Path(__file__).with_name("report.css").read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{esc(title)}</title><style>{style}</style></head>\n"
        f"<body><main>{''.join(s + chr(10) for s in sections)}</main>"
        f"<footer>{foot}</footer></body></html>\n"
    )
