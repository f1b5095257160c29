"""The sections of a report as plain values and pictures, to be laid out by ``templates/``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from undertone.evaluation import svg
from undertone.evaluation.breakdown import breakdown, variants
from undertone.evaluation.findings import Findings, points, probability, signed
from undertone.evaluation.rated import Rated, compare_rated
from undertone.evaluation.results import Comparison, Result
from undertone.evaluation.significance import Interval, Paired

__all__ = ["sections"]

Values = dict[str, Any]

MOST = 400
"""Points in the map of one system."""


def sections(findings: Findings) -> dict[str, Any]:
    """Name → values of every section, in reading order; empty where it has nothing to show."""
    return {
        "numbers": _numbers(findings),
        "groups": _groups(findings),
        "stress": _stress(findings),
        "confusion": _confusion(findings),
        "folds": _folds(findings),
        "learning": _learning(findings),
        "calibration": _calibration(findings),
        "raters": [r for r in findings.results if r.raters],
        "rated": _rated(findings),
        "ablation": _ablation(findings),
        "map": _map(findings),
        "example": _examples(findings),
        "protocol": _protocol(findings),
    }


def _numbers(findings: Findings) -> Values:
    """The main table: a row a system, with its interval and its difference from the reference."""
    results = findings.results
    shown = [r.intervals["ua"] for r in results]
    ends = [end for i in shown for end in ((i.low, i.high) if i.known else (i.value,))]
    span = svg.span_of(min(ends), max(ends))
    best = max(results, key=lambda r: r.intervals["ua"].value)
    rows = [
        {
            "name": r.name,
            "result": r,
            "ua": r.intervals["ua"],
            "best": r is best,
            "forest": svg.forest(
                r.intervals["ua"], r.folds["ua"].values, span, findings.chance, findings.colour(r)
            ),
            "comparison": findings.comparisons.get(r.name),
            "kind": _kind(findings.comparisons.get(r.name)),
            "seconds": _seconds(r.run.seconds),
        }
        for r in results
    ]
    behind, ahead = (
        [c.name for c in findings.tested if not c.reasons and _kind(c) == kind] for kind in ("loss", "gain")
    )
    return {
        "rows": rows,
        "scale": svg.scale(span, findings.chance),
        "behind": behind,
        "ahead": ahead,
        "comparable": any(not c.reasons for c in findings.tested),
    }


def _kind(comparison: Comparison | None) -> str:
    """The CSS class of a difference: ``gain`` or ``loss`` where it is significant, else ``dim``."""
    if comparison is None or comparison.paired is None or (comparison.corrected or 1) >= 0.05:
        return "dim"
    gained = comparison.paired.difference.value
    return "gain" if gained > 0 else "loss" if gained < 0 else "dim"


def _seconds(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


Cells = Mapping[str, Sequence[tuple[str, str, float]]]
"""Title → (name of a row, small text beside it, UA), in order."""


def _groups(findings: Findings) -> list[Values]:
    """UA over each group of utterances."""
    cells = [
        {title: [(s.name, f"{s.n:,}", s.ua) for s in subsets] for title, subsets in breakdown(r.run).items()}
        for r in findings.results
    ]
    return _heat(cells, findings.chance)


def _stress(findings: Findings) -> list[Values]:
    """UA of each sweep in the runs' ``stress.json``."""
    cells = [
        {
            str(title): [(str(row["at"]), "", float(row["ua"])) for row in rows]
            for title, rows in r.run.stress.get("sweeps", {}).items()
        }
        for r in findings.results
    ]
    return _heat(cells, findings.chance)


def _heat(columns: Sequence[Cells], chance: float) -> list[Values]:
    """Rows under titles, with a cell for each column."""
    groups = []
    for title in dict.fromkeys(title for cells in columns for title in cells):
        known = [{name: (small, ua) for name, small, ua in cells.get(title, ())} for cells in columns]
        rows = []
        for name in dict.fromkeys(name for cells in known for name in cells):
            small = next(cells[name][0] for cells in known if name in cells)
            values = [cells[name][1] if name in cells else None for cells in known]
            shown = [{"value": value, "shade": _shade(value, chance)} for value in values]
            rows.append({"name": name, "small": small, "cells": shown})
        groups.append({"title": title, "rows": rows})
    return groups


def _shade(value: float | None, chance: float) -> str:
    """How dark a cell is, in per cent: from chance to 1."""
    share = 0.0 if value is None else max(0.0, min(1.0, (value - chance) / (1 - chance)))
    return f"{4 + 52 * share:.0f}"


def _panel(title: str, small: str, picture: str, note: str = "") -> dict[str, str]:
    return {"title": title, "small": small, "picture": picture, "note": note}


def _confusion(findings: Findings) -> list[Values]:
    return [
        _panel(
            r.name,
            f"UA {points(r.intervals['ua'].value)}",
            svg.confusion(r.confusion, r.run.predictions.labels),
        )
        for r in findings.results
    ]


def _folds(findings: Findings) -> Values:
    """The folds of the systems that were tested on the reference's folds."""
    names = findings.reference.fold_names
    same = [r for r in findings.results if r.fold_names == names]
    rows = [(r.name, r.folds["ua"], findings.colour(r)) for r in same]
    return {"wide": svg.folds(rows, names), "narrow": svg.folds(rows, names, 340), "results": same}


def _learning(findings: Findings) -> list[Values]:
    """Validation UA by epoch."""
    histories = {r.name: [job.history for job in r.run.jobs] for r in findings.results}
    rows = [row for jobs in histories.values() for history in jobs for row in history]
    values = [row["validation_ua"] for row in rows if "validation_ua" in row]
    if not values:
        return []
    span = svg.span_of(min(values), max(values))
    panels = [
        _panel(
            r.name,
            f"{len(r.run.jobs)} trainings",
            svg.curves(histories[r.name], findings.colour(r), span),
        )
        for r in findings.results
    ]
    return [panel for panel in panels if panel["picture"]]


def _calibration(findings: Findings) -> list[Values]:
    """Reliability diagrams."""

    def note(result: Result) -> str:
        values = result.calibration
        brier, nll = ("–" if v is None else f"{v:.3f}" for v in (values["brier"], values["nll"]))
        floor = points(values["ece_floor"])
        fitted = f"fitted on {result.run.card.calibration}"
        return f"{fitted} · a perfectly calibrated model would show {floor} · Brier {brier} · NLL {nll}"

    return [
        _panel(
            r.name,
            f"ECE {points(r.calibration['ece'])}",
            svg.reliability(r.reliability, findings.colour(r)),
            note(r),
        )
        for r in findings.results
        if r.reliability
    ]


def _rated(findings: Findings) -> Values:
    """Votes, several emotions and dimensions of the runs that predict them, with pictures."""
    results = [(r, r.rated) for r in findings.results if r.rated]
    if not results:
        return {}
    names = list(dict.fromkeys(name for _, rated in results for name in rated.ccc))
    reference = findings.reference.rated
    rows = []
    for r, rated in results:
        other = reference if r is not findings.reference else None
        gaps = compare_rated(rated, other) if other is not None else {}
        cells = {"kl": (rated.kl, gaps.get("kl")), "several": (rated.several, gaps.get("several"))}
        cells |= {name: (rated.ccc.get(name), gaps.get(f"ccc {name}")) for name in names}
        rows.append({"name": r.name, "brier": rated.brier, "cells": {k: _cell(*v) for k, v in cells.items()}})
    panels = [
        _panel(
            r.name,
            f"{name}: CCC {rated.ccc[name].value:.2f}",
            svg.against(rated.points[name], findings.colour(r), f"rated and predicted {name}"),
            "by fold " + ", ".join(f"{value:.2f}" for value in rated.folds[name]) + _raters(rated, name),
        )
        for r, rated in results
        for name in rated.ccc
    ]
    panels += [
        _panel(
            r.name, "votes down, prediction across", svg.confusion(rated.agreement, r.run.predictions.labels)
        )
        for r, rated in results
        if rated.agreement
    ]
    return {"rows": rows, "dimensions": names, "panels": panels}


def _raters(rated: Rated, name: str) -> str:
    """How near the mean of all raters but one the prediction comes, and how near that one rater."""
    if name not in rated.raters:
        return ""
    model, rater = rated.raters[name]
    return f"; with all raters but one {model:.2f}, that rater {rater:.2f}"


def _cell(value: Interval | None, gap: Paired | None) -> Values:
    """A number with its interval, and its difference from the reference."""
    if value is None:
        return {"value": "–", "interval": "", "gap": ""}
    interval = f"{value.low:.2f} to {value.high:.2f}" if value.known else ""
    known = gap is not None and gap.difference.known
    text = f"{gap.difference.value:+.3f}, p {probability(gap.p)}" if gap is not None and known else ""
    return {"value": f"{value.value:.3f}", "interval": interval, "gap": text}


def _ablation(findings: Findings) -> Values:
    """UA of each modality alone inside a system, and of one system under several settings."""
    several = [r for r in findings.results if {"speech", "text"} <= set(r.perspectives)]
    systems = {}
    for system, runs in variants(findings.results).items():
        base = runs[0][0].intervals["ua"].value
        systems[system] = [
            {
                "name": r.name,
                "changed": ", ".join(changed) or "as listed first",
                "ua": r.intervals["ua"].value,
                "difference": "" if i == 0 else signed(r.intervals["ua"].value - base),
            }
            for i, (r, changed) in enumerate(runs)
        ]
    return {"several": several, "systems": systems} if several or systems else {}


def _map(findings: Findings) -> Values:
    """Two principal components of each system's fused vectors."""
    panels = [panel for r in findings.results if (panel := _embedding(r))]
    classes = [{"name": c, "colour": svg.hue(c, i)} for i, c in enumerate(findings.labels)]
    return {"panels": panels, "classes": classes} if panels else {}


def _embedding(result: Result) -> Values | None:
    """Of the first fold with embeddings only: each fold has a space of its own."""
    predictions = result.run.predictions
    truth = dict(zip(predictions.ids, predictions.truth.tolist(), strict=True))
    path = next((p for job in result.run.jobs if (p := job.folder / "embeddings.npz").exists()), None)
    if path is None:
        return None
    with np.load(path, allow_pickle=False) as arrays:
        ids, vectors = arrays["ids"].tolist(), arrays["fused"].astype(float)
    kept = [i for i, name in enumerate(ids) if name in truth][:: max(1, len(ids) // MOST)]
    if len(kept) < 3:
        return None
    centred = vectors[kept] - vectors[kept].mean(axis=0)
    left, strength, _ = np.linalg.svd(centred, full_matrices=False)
    places = left[:, :2] * strength[:2]
    if places.shape[1] < 2 or not np.isfinite(places).all():
        return None
    share = float((strength[:2] ** 2).sum() / max(1e-12, (strength**2).sum()))
    names = [predictions.labels[truth[ids[i]]] for i in kept]
    picture = svg.scatter(places, names, predictions.labels)
    return _panel(result.name, path.parents[1].name, picture, f"{share:.0%} of the variance")


def _examples(findings: Findings) -> list[Values]:
    """The utterances of the runs' ``example.json``, the reference's first."""
    return [
        {"name": r.name} | _example(example, findings.labels)
        for r in findings.ordered
        for example in r.run.examples
    ]


def _example(example: Mapping[str, Any], labels: Sequence[str]) -> Values:
    truth, label = str(example.get("truth")), str(example.get("label"))
    words = [w for w in example.get("words") or () if w.get("contribution") is not None]
    place = list(labels).index(label) if label in labels else 0
    return {
        "id": example.get("id", ""),
        "truth": truth,
        "label": label,
        "colour": svg.hue(label, place),
        "text": example.get("text") or "",
        "words": [_word(w, words) for w in words],
        "waveform": svg.waveform(example, words),
        "posteriors": _posteriors(example, labels),
        "modalities": _modalities(example.get("modalities") or {}),
    }


def _word(word: Mapping[str, Any], words: Sequence[Mapping[str, Any]]) -> Values:
    value = float(word["contribution"])
    colour = "--accent" if value >= 0 else "--bad"
    share = f"{62 * svg.strength(value, words):.0f}"
    return {"text": word["text"], "tip": f"{value:+.2f}", "colour": colour, "share": share}


def _posteriors(example: Mapping[str, Any], labels: Sequence[str]) -> list[Values]:
    titles = {"fused": "Together", "speech": "Speech alone", "text": "Words alone"}
    posteriors = example.get("perspectives") or {}
    return [
        {
            "title": title,
            "bars": [
                _bar(c, p := float(posteriors[name].get(c, 0)), svg.hue(c, i), points(p))
                for i, c in enumerate(labels)
            ],
        }
        for name, title in titles.items()
        if posteriors.get(name)
    ]


def _modalities(contributions: Mapping[str, Any]) -> list[Values]:
    values = {name: float(v) for name, v in contributions.items()}
    most = max([abs(v) for v in values.values()] + [1e-6])
    return [
        _bar(name, abs(v) / most, f"var({'--accent' if v >= 0 else '--bad'})", f"{v:+.2f}")
        for name, v in values.items()
    ]


def _bar(label: str, share: float, colour: str, text: str) -> dict[str, str]:
    return {"label": label, "width": f"{max(0.0, min(1.0, share)):.1%}", "colour": colour, "text": text}


def _protocol(findings: Findings) -> list[Values]:
    """Every run's card, the reference's first: what is stated in it, as lists of lines."""
    return [
        {
            "name": r.name,
            "entries": {k: v for k, v in asdict(r.run.card).items() if v not in ("", (), {}, [])},
        }
        for r in findings.ordered
    ]
