"""The report as Markdown: the same numbers for a README, a paper's appendix, a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from undertone.evaluation.breakdown import breakdown
from undertone.evaluation.findings import Findings, probability, signed
from undertone.evaluation.page import points

__all__ = ["markdown"]


def markdown(found: Findings) -> str:
    """The whole report; figures are left to the page."""
    own = found.reference.run.card
    parts = [
        f"# {_cell(own.corpus)}: emotion in speech and its words",
        f"{_cell(own.labels)} · {own.protocol}, {own.folds or len(found.reference.fold_names)} folds · "
        f"{len(own.seeds)} seed(s) · epoch chosen on {own.selection} · "
        f"transcripts: {_cell(own.transcripts)} · context: {own.context} · "
        f"{len(found.reference.run.predictions.ids):,} utterances",
        *(f"> **{_cell(line)}**" for line in found.warnings),
        "## The numbers",
        _numbers(found),
        _basis(found),
        _published(found),
        "## Where they do well (UA)",
        _parts(found),
        "## Recall by class",
        _recalls(found),
        "## The protocol card",
        _card(found),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _cell(value: Any) -> str:
    """Text that breaks neither a table nor the page."""
    text = " ".join(str(value).split()).replace("\\", "\\\\").replace("|", "\\|")
    return text.replace("<", "&lt;").replace("*", "\\*").replace("`", "\\`")


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *rows))


def _name(found: Findings, name: str) -> str:
    mark = found.marks[name]
    return _cell(name) + (f" ({mark})" if mark else "")


def _numbers(found: Findings) -> str:
    rows = []
    for r in found.results:
        ua, c = r.intervals["ua"], found.comparisons.get(r.name)
        gap = "reference" if c is None else "–"
        if c and c.paired:
            d = c.paired.difference
            gap = f"{signed(d.value)} ({signed(d.low)} to {signed(d.high)})"
        rows.append(
            [
                _name(found, r.name),
                f"{points(ua.value)} ({points(ua.low)}–{points(ua.high)})",
                f"{points(r.folds['ua'].mean)} ± {points(r.folds['ua'].std)}",
                *(points(r.seeds[m].mean) for m in ("wa", "macro_f1", "weighted_f1")),
                points(r.calibration["ece"]),
                gap,
                probability(c.corrected if c else None),
            ]
        )
    head = ["system", "UA (95 %)", "UA by fold", "WA", "macro-F1", "weighted-F1", "ECE", "Δ UA", "p (Holm)"]
    return _table(head, rows)


def _basis(found: Findings) -> str:
    interval = found.reference.intervals["ua"]
    lines = [f"Intervals over {interval.units} units ({found.reference.unit}), method: {interval.method}."]
    tested = [c.paired for c in found.comparisons.values() if c.paired]
    if tested:
        lines.append(
            f"p: exact sign-flip over {tested[0].difference.units} units against "
            f"{_cell(found.reference.name)}, Holm over {len(tested)}; "
            f"the smallest p possible is {tested[0].smallest:.2g} before correction."
        )
    lines += [f"({mark}) does not compare: {_cell('; '.join(why))}." for mark, why in found.legend]
    return "\n".join(lines)


def _published(found: Findings) -> str:
    if not found.published:
        return ""
    rows = [
        [p.name, *("–" if v is None else f"{v:.1f}" for v in (p.wa, p.ua)), p.protocol]
        for p in found.published
    ]
    return "Published, under the protocol named, not measured here:\n\n" + _table(
        ["system", "WA", "UA", "protocol"], rows
    )


def _parts(found: Findings) -> str:
    parts = {r.name: breakdown(r.run) for r in found.results}
    rows = []
    for title in dict.fromkeys(t for by in parts.values() for t in by):
        for name in dict.fromkeys(p.name for by in parts.values() for p in by.get(title, ())):
            here = [next((p for p in by.get(title, ()) if p.name == name), None) for by in parts.values()]
            n = next(p.n for p in here if p)
            rows.append(
                [f"{_cell(title)}: {_cell(name)} ({n:,})", *(points(p.ua if p else None) for p in here)]
            )
    return _table(["", *(_name(found, r.name) for r in found.results)], rows) if rows else "One part only."


def _recalls(found: Findings) -> str:
    rows = [
        [_name(found, r.name), *(points(r.per_class.get(c, {}).get("recall")) for c in found.labels)]
        for r in found.results
    ]
    return _table(["system", *map(_cell, found.labels)], rows)


def _card(found: Findings) -> str:
    from dataclasses import asdict

    values = asdict(found.reference.run.card)
    rows = [[_cell(k), _cell(v)] for k, v in values.items() if v not in ("", (), {}, [])]
    return _table(["", _cell(found.reference.name)], rows).replace("---:", "---")
