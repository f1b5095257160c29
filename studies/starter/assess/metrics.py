"""Every metric of the card, from the predictions: one JSON object, fractions throughout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from studies.starter.assess.cases import CROPS, FOUR, PAIRINGS
from studies.starter.assess.scores import Row
from studies.starter.assess.sounds import KINDS
from studies.starter.assess.tables import Table, calibration, gap, product, score, share, table

__all__ = ["Answers", "summary"]

Answers = Mapping[str, Mapping[str, Sequence[Row]]]
"""Condition → fold → rows."""
ACTED = ("ravdess", "emodb")


def summary(answers: Answers) -> dict[str, Any]:
    """All metrics that need the folds' models alone."""
    return {
        "speech": speech(answers),
        "breakdown": breakdown(_pooled(answers, "clean")),
        "text": {form: text(answers[form]) for form in ("raw", "plain")},
        "pairs": pairs(answers),
        "calibration": calibrations(answers),
        "abstention": abstention(answers),
    }


def _pooled(answers: Answers, condition: str) -> list[Row]:
    """The rows of all folds; no clip is in two."""
    return [row for rows in answers[condition].values() for row in rows]


# ---- speech ------------------------------------------------------------------------------------------


def speech(answers: Answers) -> dict[str, Any]:
    """By corpus: as recorded and made worse. RAVDESS' eight classes beside."""
    clean = _pooled(answers, "clean")
    values: dict[str, Any] = {}
    for corpus in ACTED:
        as_is = table(clean, "speech", groups=[corpus])
        mine: dict[str, Any] = {"clean": score(as_is)}
        for condition in ("gain", "noise", "telephone"):
            changed = table(_pooled(answers, condition), "speech", groups=[corpus])
            mine[condition] = score(changed) | {"drop": gap(as_is, changed)}
        mine["second"] = _seconds(answers, corpus)
        values[corpus] = mine
    values["ravdess8"] = score(table(clean, "eight"))
    return values


def _seconds(answers: Answers, corpus: str) -> dict[str, Any]:
    """One second of each clip, the draws taken for seeds."""
    draws = [table(_pooled(answers, f"crop-{n}"), "speech", groups=[corpus]) for n in range(CROPS)]
    return score(_stacked(draws)) | {"draws": [score(one)["value"] for one in draws]}


def _stacked(tables: Sequence[Table]) -> Table:
    """Several models' or draws' answers to the same cases as one table."""
    first = tables[0]
    assert all(list(t.units) == list(first.units) and (t.truth == first.truth).all() for t in tables)
    return Table(first.truth, np.stack([t.posteriors for t in tables]), first.units)


def breakdown(clean: Sequence[Row]) -> dict[str, dict[str, Any]]:
    """UA of the four classes by sex, language, length of the speech and signal-to-noise ratio."""
    acted = [row for row in clean if row.group in ACTED and row.truth]
    values: dict[str, dict[str, Any]] = {}
    for fact in ("sex", "language"):
        kinds = sorted({str(row.facts[fact]) for row in acted})
        values[fact] = {kind: _part(acted, fact, kind) for kind in kinds}
    for fact, unit in (("seconds", "s"), ("snr", "dB")):
        low, high = np.quantile([row.facts[fact] for row in acted], [1 / 3, 2 / 3])
        parts = {
            f"below {low:.3g} {unit}": [r for r in acted if r.facts[fact] < low],
            f"{low:.3g} to {high:.3g} {unit}": [r for r in acted if low <= r.facts[fact] < high],
            f"from {high:.3g} {unit}": [r for r in acted if r.facts[fact] >= high],
        }
        values[fact] = {name: score(table(rows, "speech")) for name, rows in parts.items() if rows}
    return values


def _part(rows: Sequence[Row], fact: str, kind: str) -> dict[str, Any]:
    return score(table(rows, "speech", when=lambda row: row.facts[fact] == kind))


# ---- words -------------------------------------------------------------------------------------------


def text(folds: Mapping[str, Sequence[Row]]) -> dict[str, Any]:
    """Macro-F1 and UA of words alone, the mean of the folds' models on the same sentences."""
    values = _stacked([table(rows, "text") for rows in folds.values()])
    return {"macro_f1": score(values, "macro_f1"), "ua": score(values)}


# ---- both --------------------------------------------------------------------------------------------


def pairs(answers: Answers) -> dict[str, Any]:
    """A clip with a sentence of its class: each side alone, the product rule of the two, and the fusion.

    Mean UA over the pairings with their range; ``by_corpus`` the same of each corpus' clips.
    """
    rows = _pooled(answers, "pairs")
    drawn = [[row for row in rows if row.facts["draw"] == n] for n in range(PAIRINGS)]
    return _pairs(drawn, ACTED) | {"by_corpus": {corpus: _pairs(drawn, [corpus]) for corpus in ACTED}}


def _pairs(drawn: Sequence[Sequence[Row]], groups: Sequence[str]) -> dict[str, Any]:
    sides: dict[str, list[Table]] = {name: [] for name in ("speech", "text", "product", "fused")}
    for rows in drawn:
        one, other, fused = (table(rows, side, groups=groups) for side in ("speech", "text", "fused"))
        for side, scored in zip(sides, (one, other, product(one, other), fused), strict=True):
            sides[side].append(scored)
    scores = {name: score(_stacked(values)) for name, values in sides.items()}
    for name, values in sides.items():
        scores[name]["pairings"] = [score(one)["value"] for one in values]
    best = max(("speech", "text"), key=lambda side: scores[side]["value"])
    return {
        **scores,
        "better_single": best,
        "gain": gap(_stacked(sides["fused"]), _stacked(sides[best])),
        "over_product": gap(_stacked(sides["fused"]), _stacked(sides["product"])),
    }


# ---- how sure ----------------------------------------------------------------------------------------


def calibrations(answers: Answers) -> dict[str, Any]:
    """Of all folds pooled: speech, words (one fold's model: the sentences are the same), and both."""
    clean, first = _pooled(answers, "clean"), next(iter(answers["raw"]))
    inputs = {
        "speech": (clean, "speech", ACTED),
        "speech, RAVDESS": (clean, "speech", ("ravdess",)),
        "speech, EmoDB": (clean, "speech", ("emodb",)),
        "words": (answers["raw"][first], "text", ()),
        "words, plain": (answers["plain"][first], "text", ()),
        "both": (_pooled(answers, "pairs"), "fused", ()),
    }
    return {
        name: calibration(table(rows, side, groups=groups), table(rows, side, groups=groups, raw=True))
        for name, (rows, side, groups) in inputs.items()
    }


def abstention(answers: Answers) -> dict[str, Any]:
    """How often the model gives no label: of what it is for, of read speech, and of what is no speech."""
    clean = _pooled(answers, "clean")
    groups = {corpus: [r for r in clean if r.group == corpus and r.truth] for corpus in (*ACTED, "timit")}
    groups["goemotions"] = list(next(iter(answers["raw"].values())))
    other = [r for r in clean if r.group == "ravdess" and not r.truth]
    sounds = _pooled(answers, "sounds")
    silent = {name: share(rows, lambda row: row.label is None) for name, rows in groups.items() if rows}
    values: dict[str, Any] = {"abstained": silent}
    values["answered"] = {
        corpus: score(table(groups[corpus], "speech", when=lambda row: row.label is not None))
        for corpus in ACTED
        if any(row.label for row in groups[corpus])
    }
    if other:
        values["abstained"]["ravdess, other emotions"] = share(other, lambda row: row.label is None)
    for kind in KINDS:
        rows = [row for row in sounds if row.group == kind]
        values["abstained"][kind] = share(rows, lambda row: row.label is None)
    read = groups["timit"]
    if read:
        values["timit"] = {
            "neutral": share(read, lambda row: _best(row) == "neutral"),
            "neutral_or_abstained": share(read, lambda row: row.label in (None, "neutral")),
        }
    return values


def _best(row: Row) -> str:
    """The label it would have given had it not been allowed to abstain."""
    values = row.posteriors["fused"]
    return FOUR[int(np.argmax(values))]
