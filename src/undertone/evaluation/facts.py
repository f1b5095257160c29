"""The known facts about each tested utterance besides its label: scores are broken down by them.

``runs/<name>/facts.jsonl`` holds one line an utterance, so that a run can be reported without its
corpus::

    {"id", "speaker", "session", "dialogue", "scripted", "seen_text", "duration", "snr", "kind",
     "text_source", "votes", "ratings"}

A field that the corpus does not know is null. ``seen_text``: whether the same words occur in the training
part of the fold that tests the utterance; ``kind`` is the corpus' own (of a synthesised utterance: what
carries its emotion).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from undertone.auditing import same_words
from undertone.errors import ProtocolError
from undertone.files import write_lines
from undertone.labels.rated import each_rater, rated
from undertone.splits import Split
from undertone.types import Utterance

__all__ = ["FILE", "UTTERANCE", "facts", "grouping", "read", "talking", "unit_stamps", "units", "write"]

FILE = "facts.jsonl"
UTTERANCE = "utterance (speakers unknown)"
"""The unit where the corpus names no speakers; intervals are then too narrow, and the report warns."""
PAIRED = "speakers are the units though they talk with each other, so intervals and p are too small"

Facts = dict[str, dict[str, Any]]
"""By utterance id."""


def facts(utterances: Sequence[Utterance], split: Split) -> Facts:
    """The facts of every utterance that a fold tests."""
    by_id = {u.id: u for u in utterances}
    words = {u.id: same_words(u.text) for u in utterances if u.text}
    tested: Facts = {}
    for fold in split.folds:
        trained = {words[i] for i in fold.train if i in words}
        for i in fold.test:
            tested[i] = _facts(by_id[i]) | {"seen_text": words[i] in trained if i in words else None}
    return tested


def _facts(utterance: Utterance) -> dict[str, Any]:
    return {
        "speaker": utterance.speaker,
        "session": utterance.session,
        "dialogue": utterance.dialogue,
        "scripted": utterance.extra.get("scripted"),
        "duration": utterance.duration or utterance.extra.get("duration"),
        "snr": utterance.extra.get("snr"),
        "kind": utterance.extra.get("kind"),
        "text_source": utterance.text_source,
        **({"votes": dict(utterance.votes)} if utterance.votes else {}),
        **({"ratings": ratings} if (ratings := rated(utterance.extra)) else {}),
        **({"raters": raters} if (raters := each_rater(utterance.extra)) else {}),
    }


def write(folder: Path, known: Facts) -> None:
    """Write the facts into a run's folder."""
    write_lines(folder / FILE, ({"id": i} | row for i, row in sorted(known.items())))


def read(folder: Path) -> Facts:
    """The facts of a run's folder; empty where it has none."""
    path = folder / FILE
    if not path.exists():
        return {}
    rows = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line)
    return {row.pop("id"): row for row in rows}


def units(
    known: Mapping[str, Mapping[str, Any]], ids: Iterable[str], wanted: str = ""
) -> tuple[str, list[str]]:
    """(name of the unit, the unit of each utterance): what bounds independence.

    The session where its speakers talk with each other, else the speaker; ``wanted``, ``session`` or
    ``speaker``, is taken instead. Where neither is known each utterance is a unit, named ``UTTERANCE``.
    """
    tested = list(ids)
    complete = [
        name for name in ("session", "speaker") if tested and all(known.get(i, {}).get(name) for i in tested)
    ]
    if wanted and wanted not in (*complete, UTTERANCE):
        raise ProtocolError(f"the {wanted} as unit of intervals needs the {wanted} of every utterance")
    default = [n for n in complete if n != "session" or talking(known, tested)]
    unit = wanted or (default or [UTTERANCE])[0]
    return unit, grouping(known, tested, unit)


def talking(known: Mapping[str, Mapping[str, Any]], ids: Iterable[str]) -> bool:
    """Whether speakers talk with each other: a dialogue of a session has several."""
    dialogues: dict[str, set[str]] = {}
    for row in (known.get(i, {}) for i in ids):
        if row.get("dialogue") and row.get("session") and row.get("speaker"):
            dialogues.setdefault(row["dialogue"], set()).add(row["speaker"])
    return any(len(speakers) > 1 for speakers in dialogues.values())


def unit_stamps(known: Mapping[str, Mapping[str, Any]], ids: Iterable[str], unit: str) -> tuple[str, ...]:
    """What a reader must know of intervals and tests over this unit."""
    if unit == UTTERANCE:
        return ("no speakers known, so its intervals are too narrow",)
    return (PAIRED,) if unit == "speaker" and talking(known, ids) else ()


def grouping(known: Mapping[str, Mapping[str, Any]], ids: Iterable[str], unit: str) -> list[str]:
    """The ``session`` or ``speaker`` of each utterance, in order; its own id for ``UTTERANCE``."""
    return [i if unit == UTTERANCE else str(known[i][unit]) for i in ids]
