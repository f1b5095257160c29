"""The top of the report: the result in a sentence, the table with intervals and tests, published numbers."""

from __future__ import annotations

from collections.abc import Sequence

from undertone.evaluation import svg
from undertone.evaluation.findings import Findings, marked, probability, signed
from undertone.evaluation.page import details, esc, points, section, table
from undertone.evaluation.results import Result

__all__ = ["comparison", "finding", "head"]


MARK = (
    '<svg viewBox="0 0 34 20" aria-hidden="true"><g fill="none" stroke="var(--accent)" stroke-width="2.4" '
    'stroke-linecap="round"><path d="M2 10v0M7 6v8M12 2v16M17 7v6"/>'
    '<path d="M22 10h10M22 15h6" opacity=".55"/></g></svg>'
)


def head(found: Findings) -> str:
    """Title, the result in words, the protocol at a glance, and what to beware of."""
    own = found.reference.run.card
    chips = {
        "corpus": f"{own.corpus} ({own.labels})",
        "utterances": f"{len(found.reference.run.predictions.ids):,}",
        "protocol": f"{own.protocol}, {own.folds or len(found.reference.fold_names)} folds",
        "seeds": str(len(own.seeds)),
        "epoch chosen on": own.selection,
        "transcripts": own.transcripts,
        "context": own.context,
    }
    shown = "".join(f"<li>{esc(k)} <b>{esc(v)}</b></li>" for k, v in chips.items())
    warnings = "".join(f'<p class="warning">{esc(line)}</p>' for line in found.warnings)
    return (
        f'<header><p class="eyebrow">{MARK} undertone</p>'
        f"<h1>{esc(own.corpus)}: emotion in speech and its words</h1>"
        f'<p class="finding">{finding(found)}</p><ul class="chips">{shown}</ul>{warnings}</header>'
    )


def finding(found: Findings) -> str:
    """The result in a sentence or two, as HTML; it claims no more than the tests carry."""
    reference = found.reference
    interval = reference.intervals["ua"]
    says = (
        f"<b>{esc(reference.name)}</b> recognises {points(interval.value)} % of each emotion on average (UA; "
        f"95 % interval {points(interval.low)} to {points(interval.high)}; chance {points(found.chance, 0)})."
    )
    if interval.low <= found.chance:
        says += " That is <b>not above chance</b>."
    tested = [c for c in found.comparisons.values() if c.paired and not c.reasons]
    behind = [
        c.name for c in tested if c.paired and c.paired.difference.value < 0 and (c.corrected or 1) < 0.05
    ]
    ahead = [
        c.name for c in tested if c.paired and c.paired.difference.value > 0 and (c.corrected or 1) < 0.05
    ]
    if behind:
        says += f" It is ahead of {_listed(behind)}"
        says += f" and behind {_listed(ahead)}" if ahead else ""
        says += " by more than chance explains (p < 0.05 after correction)."
    elif ahead:
        says += f" {_listed(ahead)} {'is' if len(ahead) == 1 else 'are'} ahead of it."
    elif tested:
        says += " No difference from the others is larger than chance explains."
    return says


def _listed(names: Sequence[str]) -> str:
    shown = [f"<b>{esc(name)}</b>" for name in names]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def comparison(found: Findings) -> str:
    """The table: a row a system, its interval drawn, its difference from the reference tested."""
    results = found.results
    values = [i for r in results for i in (r.intervals["ua"].low, r.intervals["ua"].high)]
    span = svg.span_of(min(values), max(values))
    head = ["system", svg.scale(span, found.chance), "UA", "WA", "macro-F1", "ECE", "Δ UA", "p", "train"]
    kinds = ["name", "wide", "num", "num", "num opt", "num opt", "num opt", "num opt", "num opt"]
    best = max(results, key=lambda r: r.intervals["ua"].value)
    rows = []
    for r in results:
        interval = r.intervals["ua"]
        spread = f"<br><small>{points(interval.low)}–{points(interval.high)}</small>"
        shown = f'<span class="{"best" if r is best else ""}">{points(interval.value)}</span>{spread}'
        macro = r.seeds["macro_f1"].mean
        rows.append(
            [
                marked(found, r),
                svg.forest(interval, r.folds["ua"].values, span, found.chance, found.colour(r)),
                shown,
                _spread(r, "wa"),
                points(macro),
                points(r.calibration["ece"]),
                *_against(found, r),
                _seconds(r.run.seconds),
            ]
        )
    notes = _notes(found)
    lead = (
        "UA is the mean of the classes' recalls, WA plain accuracy over utterances; in points. "
        "The bar is the 95 % interval, the dot the value, the ticks are the folds; ± is over seeds."
    )
    marked_row = list(results).index(found.reference)
    body = table(head, rows, kinds=kinds, row=marked_row, name="main") + notes + _published(found)
    return section("numbers", "The numbers", body, lead)


def _spread(result: Result, name: str) -> str:
    spread = result.seeds[name]
    return points(spread.mean) + (
        f"<br><small>± {points(spread.std)}</small>" if len(spread.values) > 1 else ""
    )


def _seconds(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _against(found: Findings, result: Result) -> list[str]:
    if result is found.reference:
        return ['<span class="dim">reference</span>', ""]
    comparison = found.comparisons[result.name]
    if comparison.paired is None:
        return ["–", "–"]
    difference = comparison.paired.difference
    kind = ("gain" if difference.value > 0 else "loss") if (comparison.corrected or 1) < 0.05 else "dim"
    shown = f'<span class="{kind}">{signed(difference.value)}</span>'
    shown += f"<br><small>{signed(difference.low)} to {signed(difference.high)}</small>"
    return [shown, probability(comparison.corrected)]


def _notes(found: Findings) -> str:
    """What the intervals and tests rest on, and what the marks mean."""
    reference = found.reference
    interval = reference.intervals["ua"]
    lines = [
        f"Intervals: the unit is the {esc(reference.unit)} ({interval.units} of them), "
        + (
            "Student's t on the cluster-bootstrap error, on the log-odds scale."
            if interval.method == "t"
            else "percentiles of a cluster bootstrap."
        )
    ]
    if people := reference.speaker_interval:
        lines[0] += (
            f" With the {people.units} speakers as units {esc(reference.name)} would have "
            f"{points(people.low)} to {points(people.high)}: too narrow, as they answer each other."
        )
    tested = [c for c in found.comparisons.values() if c.paired]
    if tested and tested[0].paired:
        unit = "speaker" if reference.unit == "session" else reference.unit
        line = (
            f"Δ UA and p: against {esc(reference.name)}, exact sign-flip with the {esc(unit)} as unit, "
            f"Holm over {len(tested)} comparisons; seeds are averaged within an utterance first. The "
            f"smallest p that {tested[0].paired.difference.units} units can show is "
            f"{tested[0].paired.smallest:.2g} before correction."
        )
        if tested[0].session_p is not None:
            line += f" With sessions as unit ({interval.units}) it is {2.0 ** (1 - interval.units):.2g}."
        lines.append(line)
    lines += [f"<sup>{esc(mark)}</sup> does not compare: {esc('; '.join(why))}" for mark, why in found.legend]
    return "".join(f'<p class="note">{line}</p>' for line in lines) + _every_test(found)


def _every_test(found: Findings) -> str:
    """All tests in full, to open."""
    rows = []
    for c in found.comparisons.values():
        if c.paired is None or c.mcnemar is None:
            rows.append([esc(c.name), f'<span class="dim">{esc("; ".join(c.reasons))}</span>', *[""] * 5])
            continue
        d, m = c.paired.difference, c.mcnemar
        rows.append(
            [
                esc(c.name),
                f"{signed(d.value)} ({signed(d.low)} to {signed(d.high)})",
                probability(c.paired.p),
                probability(c.corrected),
                probability(c.session_p),
                f"{m['only_ours']} / {m['only_reference']}",
                probability(m["p"]),
            ]
        )
    if not rows:
        return ""
    against = f"against {esc(found.reference.name)}"
    head = [against, "Δ UA", "p", "p (Holm)", "p over sessions", "only one right", "McNemar"]
    note = "McNemar takes utterances for independent, which they are not: it only describes (first seed)."
    shown = table(head, rows, kinds=["name", *["num"] * 6])
    return details("Every test in full", f'{shown}<p class="note">{note}</p>')


def _published(found: Findings) -> str:
    if not found.published:
        return ""
    ours = [
        [
            marked(found, r),
            points(r.seeds["wa"].mean),
            points(r.seeds["ua"].mean),
            "this report",
            "",
        ]
        for r in found.results
    ]
    theirs = [
        [esc(p.name) + "<sup>†</sup>", _printed(p.wa), _printed(p.ua), esc(p.protocol), esc(p.source)]
        for p in found.published
    ]
    head = ["system", "WA", "UA", "protocol", "source"]
    body = table(head, ours + theirs, kinds=["name", "num", "num", "", "opt"])
    note = '<p class="note"><sup>†</sup> as published, under the protocol named; not measured here.</p>'
    return f"<h3>Beside published numbers</h3>{body}{note}"


def _printed(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"
