"""Tables of shaded cells: every system on every part of the utterances, and under every stress."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from undertone.evaluation.breakdown import breakdown
from undertone.evaluation.findings import Findings, marked
from undertone.evaluation.page import esc, points, section

__all__ = ["parts", "stress"]

Cells = Mapping[str, Sequence[tuple[str, str, float]]]
"""Group → (row's name, what stands small beside it, UA), in order."""


def parts(found: Findings) -> str:
    """UA on every part of the utterances."""
    tables = {
        r.name: {
            title: [(part.name, f"{part.n:,}", part.ua) for part in by]
            for title, by in breakdown(r.run).items()
        }
        for r in found.results
    }
    lead = "UA over the utterances of each part; the number beside a part is how many there are."
    return section("parts", "Where they do well", _table(found, tables), lead)


def stress(found: Findings) -> str:
    """UA when something is made worse on purpose: from each run's ``stress.json``."""
    tables: dict[str, Cells] = {}
    for r in found.results:
        sweeps = r.run.stress.get("sweeps", {})
        tables[r.name] = {
            str(title): [(str(row["at"]), "", float(row["ua"])) for row in rows]
            for title, rows in sweeps.items()
        }
    lead = "UA of the same models when the test side is made worse: what holds, and what it leans on."
    return section("stress", "Under stress", _table(found, tables), lead)


def _table(found: Findings, tables: Mapping[str, Cells]) -> str:
    rows: list[str] = []
    for title in dict.fromkeys(t for cells in tables.values() for t in cells):
        rows.append(f'<tr class="head"><td colspan="{len(tables) + 1}">{esc(title)}</td></tr>')
        known = [{name: (small, ua) for name, small, ua in cells.get(title, ())} for cells in tables.values()]
        for name in dict.fromkeys(name for cells in known for name in cells):
            small = next(cells[name][0] for cells in known if name in cells)
            shades = "".join(
                _cell(cells[name][1] if name in cells else None, found.chance) for cells in known
            )
            rows.append(f'<tr><td class="part">{esc(name)}<small>{esc(small)}</small></td>{shades}</tr>')
    if not rows:
        return ""
    top = "".join(f'<th class="heat">{marked(found, r)}</th>' for r in found.results)
    head, body = f"<thead><tr><th></th>{top}</tr></thead>", f"<tbody>{''.join(rows)}</tbody>"
    return f'<div class="scroll even"><table>{head}{body}</table></div>'


def _cell(value: float | None, chance: float) -> str:
    if value is None:
        return '<td class="heat">–</td>'
    share = max(0.0, min(1.0, (value - chance) / (1 - chance)))
    shade = f"color-mix(in srgb, var(--accent) {4 + 52 * share:.0f}%, transparent)"
    return f'<td class="heat"><span style="background:{shade}">{points(value, 0)}</span></td>'
