"""The report's pictures, from measured runs to HTML. Each returns nothing where it has nothing to show."""

from __future__ import annotations

from typing import Any

import numpy as np

from undertone.evaluation import svg
from undertone.evaluation.findings import Findings, marked, signed
from undertone.evaluation.listening import close_look
from undertone.evaluation.page import card, details, esc, hue, points, section, table
from undertone.evaluation.results import Result
from undertone.evaluation.variants import settings

__all__ = ["ablation", "calibration", "confusions", "embedding_map", "example", "folds", "learning"]


def confusions(found: Findings) -> str:
    """A confusion matrix a system."""
    body = "".join(
        card(
            f"{esc(r.name)}<small>UA {points(r.intervals['ua'].value)}</small>",
            svg.confusion(r.confusion, r.run.predictions.labels),
        )
        for r in found.results
    )
    lead = (
        "Truth down, prediction across; each cell is the share of its row, so the diagonal holds the recalls."
    )
    return section("confusion", "What is taken for what", f'<div class="grid">{body}</div>', lead)


def folds(found: Findings) -> str:
    """Who is tested matters: the folds of each system on one line."""
    same = [r for r in found.results if r.fold_names == found.reference.fold_names]
    rows = [(r.name, r.folds["ua"], found.colour(r)) for r in same]
    wide = svg.folds(rows, found.reference.fold_names)
    narrow = svg.folds(rows, found.reference.fold_names, 340)
    listed = [
        [
            esc(r.name),
            *(
                f"{points(r.folds[m].mean)} <small>± {points(r.folds[m].std)}</small>"
                for m in ("wa", "ua", "macro_f1")
            ),
        ]
        for r in same
    ]
    body = f'<div class="card"><div class="opt">{wide}</div><div class="only">{narrow}</div></div>'
    body += details(
        "Mean ± standard deviation over folds",
        table(["system", "WA", "UA", "macro-F1"], listed, kinds=["name", "num", "num", "num"]),
    )
    lead = (
        "UA of each fold, seeds averaged: a dot is a fold, the bar their mean. Other speakers, other numbers."
    )
    return section("folds", "How much the folds differ", body, lead)


def learning(found: Findings) -> str:
    """Validation UA by epoch."""
    tracks = {r.name: [job.history for job in r.run.jobs] for r in found.results}
    values = [
        row["validation_ua"] for jobs in tracks.values() for h in jobs for row in h if "validation_ua" in row
    ]
    if not values:
        return ""
    span = svg.span_of(min(values), max(values))
    panels = [
        card(f"{esc(r.name)}<small>{len(r.run.jobs)} trainings</small>", shown)
        for r in found.results
        if (shown := svg.curves(tracks[r.name], found.colour(r), span))
    ]
    lead = "UA on the validation side by epoch: every training thin, their mean thick."
    return section("learning", "How they learn", f'<div class="grid">{"".join(panels)}</div>', lead)


def calibration(found: Findings) -> str:
    """Reliability diagrams."""
    panels = [
        card(
            f"{esc(r.name)}<small>ECE {points(r.calibration['ece'])}</small>",
            svg.reliability(r.reliability, found.colour(r)),
            f"a perfectly calibrated model would show {points(r.calibration['ece_floor'])} · "
            f"Brier {_decimal(r.calibration['brier'])} · NLL {_decimal(r.calibration['nll'])}",
        )
        for r in found.results
        if r.reliability
    ]
    lead = (
        "Accuracy (up) against confidence (across) in bins of equal mass; "
        "on the dotted line a model is as sure as it should be."
    )
    return section(
        "calibration", "How far to trust the confidence", f'<div class="grid">{"".join(panels)}</div>', lead
    )


def _decimal(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def ablation(found: Findings) -> str:
    """What each side alone says inside a system, and settings of one system beside each other."""
    several = [r for r in found.results if {"speech", "text"} <= set(r.perspectives)]
    rows = [
        [
            marked(found, r),
            *(points(r.perspectives.get(side)) for side in ("fused", "speech", "text")),
        ]
        for r in several
    ]
    body = ""
    if rows:
        body += "<h3>One network, three opinions</h3>"
        body += table(
            ["system", "together", "speech", "words"],
            rows,
            kinds=["name", "num", "num", "num"],
        )
    for system, variants in settings(found.results).items():
        base = variants[0][0].intervals["ua"].value
        shown = [
            [
                marked(found, r),
                f'<span class="dim">{esc(", ".join(changed) or "as listed first")}</span>',
                points(r.intervals["ua"].value),
                "" if i == 0 else signed(r.intervals["ua"].value - base),
            ]
            for i, (r, changed) in enumerate(variants)
        ]
        body += f"<h3>{esc(system)}, one setting after another</h3>"
        body += table(["run", "what differs", "UA", "Δ"], shown, kinds=["name", "", "num", "num"])
    return section("ablation", "What each part is worth", body, "UA in points.")


MOST = 400


def embedding_map(found: Findings) -> str:
    """Two principal components of each system's fused vectors."""
    panels = [panel for r in found.results if (panel := _embedding(r))]
    if not panels:
        return ""
    legend = "".join(
        f'<span><i style="background:{hue(c, i)}"></i>{esc(c)}</span>' for i, c in enumerate(found.labels)
    )
    lead = "The vectors that the last layer decides by, of one test fold, in their two widest directions."
    return section(
        "map",
        "What it sees",
        f'<div class="legend">{legend}</div><div class="grid">{"".join(panels)}</div>',
        lead,
    )


def _embedding(result: Result) -> str:
    """Of the first fold with embeddings only: folds have spaces of their own."""
    said = result.run.predictions
    truth = dict(zip(said.ids, said.truth.tolist(), strict=True))
    for job in result.run.jobs:
        path = job.folder / "embeddings.npz"
        if not path.exists():
            continue
        with np.load(path, allow_pickle=False) as held:
            ids, vectors = held["ids"].tolist(), held["fused"].astype(float)
        kept = [i for i, name in enumerate(ids) if name in truth][:: max(1, len(ids) // MOST)]
        if len(kept) < 3:
            return ""
        centred = vectors[kept] - vectors[kept].mean(axis=0)
        left, strength, _ = np.linalg.svd(centred, full_matrices=False)
        places = left[:, :2] * strength[:2]
        if places.shape[1] < 2 or not np.isfinite(places).all():
            return ""
        share = float((strength[:2] ** 2).sum() / max(1e-12, (strength**2).sum()))
        names = [said.labels[truth[ids[i]]] for i in kept]
        shown = svg.scatter(places, names, said.labels)
        return card(
            f"{esc(result.name)}<small>{esc(job.fold)}</small>", shown, f"{share:.0%} of the variance"
        )
    return ""


def example(found: Findings) -> str:
    """One utterance as the reference hears it; as the others do, to open."""
    order = [found.reference, *(r for r in found.results if r is not found.reference)]
    looks: list[tuple[str, Any]] = []
    for r in order:
        given = r.run.example
        looks += [(r.name, one) for one in (given if isinstance(given, list) else [given] if given else [])]
    if not looks:
        return ""
    (name, first), *others = looks
    body = f"<p>As <b>{esc(name)}</b> hears it:</p>" + close_look(first, found.labels)
    rest = "".join(f"<h3>{esc(other)}</h3>{close_look(one, found.labels)}" for other, one in others)
    body += details("As the others hear it", rest) if rest else ""
    return section("example", "One utterance, closely", body)
