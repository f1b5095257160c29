"""The end of the report: each run"s protocol card, and how every number is computed."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from undertone.evaluation.findings import Findings, marked
from undertone.evaluation.page import details, esc, section
from undertone.evaluation.results import Result

__all__ = ["protocol"]


def protocol(found: Findings) -> str:
    """The reference's card, the others' to open, and the definitions."""
    shown = "".join(details(marked(found, r), _card(r)) for r in found.ordered[1:])
    lead = "What makes these numbers comparable. A letter beside a name: measured under another card."
    name = f"<figcaption>{esc(found.reference.name)}</figcaption>"
    first = f'<div class="card">{name}{_card(found.reference)}</div>'
    return section("protocol", "The protocol card", first + shown + DEFINITIONS, lead)


def _card(result: Result) -> str:
    rows = {k: v for k, v in asdict(result.run.card).items() if v not in ("", (), {}, [])}
    shown = "".join(f"<dt>{esc(k)}</dt><dd>{_value(v)}</dd>" for k, v in rows.items())
    return f'<dl class="cards">{shown}</dl>'


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return esc(" · ".join(f"{k} {v:,}" if isinstance(v, int) else f"{k}: {v}" for k, v in value.items()))
    if isinstance(value, list | tuple):
        return (
            "<br>".join(esc(v) for v in value)
            if any(isinstance(v, str) for v in value)
            else esc(", ".join(map(str, value)))
        )
    return esc({True: "yes", False: "no"}.get(value, value) if isinstance(value, bool) else value)


DEFINITIONS = details(
    "How each number is computed",
    "<p><b>WA</b>: right utterances / utterances. <b>UA</b>: mean over the classes of right / true "
    "utterances of the class. <b>F1</b> of a class: 2 · right / (true + predicted); macro-F1 is the plain "
    "mean, weighted-F1 weighs by true utterances. <b>ECE</b>: mean |confidence − accuracy| over 15 bins of "
    "equal mass; its floor is what a perfectly calibrated model with these confidences would show. "
    "<b>Brier</b>: squared distance of the posterior to the truth, 0 to 2. <b>NLL</b>: −log of the true "
    "class' probability. Values are pooled over folds and averaged over seeds.</p>",
)
