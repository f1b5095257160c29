"""The report's pictures as small SVG in the page's colours; nothing else is needed to show them.

Every function returns one ``<svg>``; all text that comes from data is escaped. Widths are near those on the
page (about 260 pixels a panel), so that letters stay readable on a telephone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from undertone.evaluation.findings import points
from undertone.evaluation.results import Spread
from undertone.evaluation.significance import Interval

__all__ = [
    "confusion",
    "curves",
    "folds",
    "forest",
    "hue",
    "reliability",
    "scale",
    "scatter",
    "span_of",
    "strength",
    "ticks",
    "waveform",
]

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


def hue(label: str, index: int) -> str:
    """The CSS colour of a class."""
    return f"var({HUES.get(label, f'--s{index % 8}')})"


def _svg(width: float, height: float, body: str, label: str) -> str:
    return f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(label)}">{body}</svg>'


def _line(x1: float, y1: float, x2: float, y2: float, kind: str = "axis") -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(x: float, y: float, text: str, anchor: str = "middle", kind: str = "") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Round numbers (steps of 1, 2, 5, 10 points …) between two fractions."""
    for step in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5):
        first, last = int(np.ceil(low / step - 1e-9)), int(high / step + 1e-9)
        if last - first < most:
            return [round(i * step, 2) for i in range(first, last + 1)]
    return [low, high]


FOREST = 300


def _forest_x(value: float, span: tuple[float, float]) -> float:
    return 10 + (FOREST - 20) * (min(max(value, span[0]), span[1]) - span[0]) / (span[1] - span[0])


def forest(
    interval: Interval, each: Sequence[float], span: tuple[float, float], chance: float, colour: str
) -> str:
    """One row of the table: the interval as a bar, the value as a dot, folds as small ticks."""
    body = "".join(_line(_forest_x(t, span), 0, _forest_x(t, span), 26) for t in ticks(*span))
    if span[0] <= chance <= span[1]:
        body += _line(_forest_x(chance, span), 0, _forest_x(chance, span), 26, "guide")
    at = _forest_x(interval.value, span)
    title = f"UA {points(interval.value)}, no interval"
    if interval.known:
        left, right = _forest_x(interval.low, span), _forest_x(interval.high, span)
        body += _stroke(left + 4, 13, max(left + 4.1, right - 4), 13, colour, 8, 0.28)
        ends = f"{points(interval.low)} to {points(interval.high)}"
        title = f"UA {points(interval.value)}, 95 % interval {ends}"
    body += "".join(_stroke(x, 8, x, 18, colour, 1.2, 0.65) for x in (_forest_x(v, span) for v in each))
    body += (
        f'<circle cx="{at:.1f}" cy="13" r="5.5" fill="{colour}" stroke="var(--panel)" stroke-width="1.6"/>'
    )
    return _svg(FOREST, 26, f"<title>{title}</title>{body}", title)


def scale(span: tuple[float, float], chance: float) -> str:
    """The scale above the rows of ``forest``."""
    body = "".join(_text(_forest_x(t, span), 12, f"{100 * t:.0f}") for t in ticks(*span))
    near = any(abs(_forest_x(t, span) - _forest_x(chance, span)) < 34 for t in ticks(*span))
    if span[0] <= chance <= span[1] and not near:
        x = _forest_x(chance, span)
        body += _text(0 if x < 24 else x, 12, "chance", "start" if x < 24 else "middle")
    return _svg(FOREST, 16, body, "scale in points of UA")


def confusion(counts: Sequence[Sequence[float]], labels: Sequence[str]) -> str:
    """Truth down, prediction across; a cell is as dark as its share of the row."""
    size, left, top = 44, 62, 22
    body = ""
    for r, row in enumerate(counts):
        body += _text(left - 7, top + size * r + size / 2 + 4, _cut(labels[r], 9), "end", "ink")
        body += _text(left + size * r + size / 2, top - 8, _cut(labels[r], 7))
        for c, value in enumerate(row):
            share = value / (sum(row) or 1)
            x, y = left + size * c, top + size * r
            tip = f"{labels[r]} called {labels[c]}: {value:g} of {sum(row):g}"
            body += (
                f'<rect x="{x + 1}" y="{y + 1}" width="{size - 2}" height="{size - 2}" rx="6" '
                f'fill="{hue(labels[c], c)}" opacity="{0.06 + 0.86 * share:.2f}">'
                f"<title>{escape(tip)}</title></rect>"
            )
            kind = "ink bold" if r == c else "ink"
            body += _text(x + size / 2, y + size / 2 + 4, f"{100 * share:.0f}", kind=kind)
    width = left + size * len(labels)
    return _svg(max(width, 240), top + size * len(labels) + 2, body, "confusion matrix, shares of each row")


def folds(rows: Sequence[tuple[str, Spread, str]], names: Sequence[str], width: float = 720) -> str:
    """Each system's folds as dots on one line, their mean as a bar."""
    left, step = 104, 30
    values = [v for _, spread, _ in rows for v in spread.values]
    span = span_of(min(values), max(values))
    height = step * len(rows) + 26

    def at(value: float) -> float:
        return left + (width - left - 16) * (value - span[0]) / (span[1] - span[0])

    marks = ticks(*span, 8 if width > 500 else 5)
    body = "".join(_line(at(t), 4, at(t), height - 20) for t in marks)
    body += "".join(_text(at(t), height - 5, f"{100 * t:.0f}") for t in marks)
    for index, (name, spread, colour) in enumerate(rows):
        y = 16 + step * index
        body += _text(left - 12, y + 4, _cut(name, 14), "end", "ink bold")
        body += _stroke(at(min(spread.values)), y, at(max(spread.values)), y, colour, 3, 0.25)
        body += _stroke(at(spread.mean), y - 9, at(spread.mean), y + 9, colour, 2.5)
        for fold, value in zip(names, spread.values, strict=True):
            body += _dot(at(value), y, 5, colour, 0.8, f"{name}, {fold}: {points(value)}")
    return _svg(width, height, body, "UA of each fold")


def curves(histories: Sequence[Sequence[Mapping[str, float]]], colour: str, span: tuple[float, float]) -> str:
    """Validation UA by epoch: every training thin, their mean thick while all still run."""
    width, height, left, base = 260, 150, 26, 132
    tracks = [[float(row["validation_ua"]) for row in rows if "validation_ua" in row] for rows in histories]
    tracks = [track for track in tracks if track]
    if not tracks:
        return ""
    longest = max(map(len, tracks))

    def place(epoch: int, value: float) -> tuple[float, float]:
        x = left + (width - left - 8) * (epoch / max(1, longest - 1))
        return x, base - (base - 8) * (value - span[0]) / (span[1] - span[0])

    body = ""
    for tick in ticks(*span, 5):
        y = place(0, tick)[1]
        body += _line(left, y, width - 6, y) + _text(left - 5, y + 4, f"{100 * tick:.0f}", "end")
    for track in tracks:
        body += _curve([place(e, v) for e, v in enumerate(track)], colour, 1, 0.35)
        body += _dot(*place(len(track) - 1, track[-1]), 1.8, colour, 0.6)
    mean = np.mean([track[: min(map(len, tracks))] for track in tracks], axis=0)
    body += _curve([place(e, float(v)) for e, v in enumerate(mean)], colour, 2.6)
    body += _text(left, height - 4, "1", "start") + _text(width - 8, height - 4, f"epoch {longest}", "end")
    return _svg(width, height, body, "validation UA by epoch")


def reliability(bins: Sequence[Mapping[str, float]], colour: str) -> str:
    """Accuracy against confidence, bins of equal mass; on the diagonal the two are equal."""
    size, left, base = 212, 30, 184

    def place(confidence: float, accuracy: float) -> tuple[float, float]:
        return left + (size - 8) * confidence, base - (base - 8) * accuracy

    body = ""
    for tick in (0, 0.25, 0.5, 0.75, 1):
        x, y = place(tick, tick)
        body += _line(left, y, left + size - 8, y)
        body += _text(left - 6, y + 4, f"{100 * tick:.0f}", "end") + _text(x, base + 15, f"{100 * tick:.0f}")
    body += _line(*place(0, 0), *place(1, 1), "guide")
    places = [place(b["confidence"], b["accuracy"]) for b in bins]
    for b, (x, y) in zip(bins, places, strict=True):
        body += _stroke(x, y, x, place(0, b["confidence"])[1], colour, 6, 0.2)
    body += _curve(places, colour, 2)
    for b, (x, y) in zip(bins, places, strict=True):
        tip = f"confidence {points(b['confidence'])}, right {points(b['accuracy'])} ({b['count']:g})"
        body += _dot(x, y, 3.6, colour, 1, tip)
    return _svg(260, base + 20, body, "accuracy against confidence")


def scatter(places: NDArray[np.float64], truth: Sequence[str], labels: Sequence[str]) -> str:
    """Points in the plane, coloured by their true class."""
    width, height = 260, 208
    low, high = np.quantile(places, 0.01, axis=0), np.quantile(places, 0.99, axis=0)
    unit = np.clip((places - low) / np.where(high > low, high - low, 1), -0.03, 1.03)
    body = "".join(
        _dot(10 + (width - 20) * x, 10 + (height - 20) * y, 3, hue(name, labels.index(name)), 0.62)
        for (x, y), name in zip(unit.tolist(), truth, strict=True)
    )
    return _svg(width, height, body, "two principal components of the fused vectors")


def against(points: Sequence[tuple[float, float]], colour: str, label: str) -> str:
    """Predicted (up) against rated (across), both on one scale, and where they would be equal."""
    size = 208
    low, high = min(min(p) for p in points), max(max(p) for p in points)
    places = [(10 + (size - 20) * (v - low) / ((high - low) or 1) for v in p) for p in points]
    body = _line(10, size - 10, size - 10, 10, "guide")
    body += "".join(_dot(x, size - y, 2.6, colour, 0.5) for x, y in places)
    return _svg(260, size, body, label)


WIDE, WAVE = 1100.0, 96.0
"""Width of the waveform's picture, height of the wave itself."""
TIERS = ("word", "syllable", "phone")
LETTER = 6.6
"""Pixels that a letter needs: a segment too narrow for its text shows none."""


def waveform(example: Mapping[str, Any], words: Sequence[Mapping[str, Any]]) -> str:
    """The wave with its tiers of segments; ``words`` have contributions, which shade the word tier."""
    duration = float(example.get("duration") or 0)
    if duration <= 0:
        return ""
    shown, height = _wave(example.get("wave") or {}), WAVE
    tiers = example.get("tiers") or {}
    for tier in TIERS:
        if tiers.get(tier):
            shown += _tier(tier, tiers[tier], words if tier == "word" else (), duration, height)
            height += 34
    body = ""
    for second in range(int(duration) + 1):
        x = WIDE * second / duration
        body += f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{height + 14:.0f}"/>'
        body += f'<text x="{x + 5:.1f}" y="{height + 14:.0f}">{second} s</text>'
    return _svg(WIDE, height + 18, body + shown, "waveform with its words, syllables and phones")


def _wave(wave: Mapping[str, Sequence[float]]) -> str:
    low, high = list(wave.get("low") or ()), list(wave.get("high") or ())
    if not low or len(low) != len(high):
        return ""
    peak = max(max(map(abs, low)), max(map(abs, high)), 1e-6)
    middle, reach, step = WAVE / 2, (WAVE / 2 - 4) / peak, WIDE / len(low)
    upper = [f"{i * step:.1f} {middle - reach * v:.1f}" for i, v in enumerate(high)]
    lower = [f"{i * step:.1f} {middle - reach * v:.1f}" for i, v in enumerate(low)]
    return f'<path d="M{"L".join(upper + lower[::-1])}Z" fill="var(--soft)" opacity=".75"/>'


def _tier(
    name: str,
    segments: Sequence[Mapping[str, Any]],
    words: Sequence[Mapping[str, Any]],
    duration: float,
    top: float,
) -> str:
    placed = {(round(float(w["start"]), 3), w["text"]): w for w in words if w.get("start") is not None}
    body = ""
    for segment in segments:
        start, end, text = float(segment["start"]), float(segment["end"]), str(segment["text"])
        x, width = WIDE * start / duration, max(1.0, WIDE * (end - start) / duration)
        fill, opacity, tip = "var(--faint)", 1.0, f"{name} {text}: {start:.2f}-{end:.2f} s"
        word = placed.get((round(start, 3), segment["text"]))
        if word is not None:
            value = float(word["contribution"])
            fill = "var(--accent)" if value >= 0 else "var(--bad)"
            opacity, tip = 0.07 + 0.6 * strength(value, words), f"{tip}, contribution {value:+.2f}"
        body += (
            f'<rect x="{x:.1f}" y="{top + 4:.0f}" width="{width:.1f}" height="28" rx="5" fill="{fill}" '
            f'opacity="{opacity:.2f}" stroke="var(--panel)"><title>{escape(tip)}</title></rect>'
        )
        if width >= LETTER * len(text):
            kind = "ink bold" if name == "word" else ""
            body += (
                f'<text class="{kind}" x="{x + width / 2:.1f}" y="{top + 22:.0f}" '
                f'text-anchor="middle" pointer-events="none">{escape(text)}</text>'
            )
    return body


def strength(contribution: float, words: Iterable[Mapping[str, Any]]) -> float:
    """A contribution's size as a share of the greatest among the words."""
    most = max((abs(float(w["contribution"])) for w in words), default=0.0)
    return abs(contribution) / most if most > 0 else 0.0


def _dot(x: float, y: float, r: float, colour: str, opacity: float = 1, tip: str = "") -> str:
    inner = f"<title>{escape(tip)}</title>" if tip else ""
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{r}" fill="{colour}" opacity="{opacity}">{inner}</circle>'


def _stroke(x1: float, y1: float, x2: float, y2: float, colour: str, width: float, opacity: float = 1) -> str:
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" '
        f'stroke-width="{width}" stroke-linecap="round" opacity="{opacity}"/>'
    )


def _curve(places: Sequence[tuple[float, float]], colour: str, width: float, opacity: float = 1) -> str:
    path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
    return (
        f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="{width}" opacity="{opacity}" '
        'stroke-linejoin="round" stroke-linecap="round"/>'
    )


def span_of(low: float, high: float) -> tuple[float, float]:
    """The two fractions with a margin, in steps of 5 points, within 0 to 1."""
    return max(0.0, float(np.floor(low * 20 - 0.2)) / 20), min(1.0, float(np.ceil(high * 20 + 0.2)) / 20)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
