"""What is known of each tested utterance besides its label: the groups that scores are broken down by.

``runs/<name>/facts.jsonl`` holds one line an utterance, so that a run can be reported without its
corpus::

    {"id", "speaker", "session", "dialogue", "scripted", "seen_text", "duration", "snr", "kind",
     "text_source"}

A field that the corpus does not know is null. ``seen_text`` says whether the same words stand in the
training side of the fold that tests the utterance; ``kind`` is the corpus' own (of a synthesised
utterance: what carries its emotion).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from undertone.audit import same_words
from undertone.splits import Split
from undertone.types import Utterance

__all__ = ["FILE", "UTTERANCE", "facts", "grouping", "read", "units", "write"]

FILE = "facts.jsonl"
UTTERANCE = "utterance (speakers unknown)"
"""The unit where the corpus names no speakers: intervals are then too narrow, and say so."""

Facts = dict[str, dict[str, Any]]
"""By utterance id."""


def facts(utterances: Sequence[Utterance], split: Split) -> Facts:
    """The facts of every utterance that a fold tests."""
    by_id = {u.id: u for u in utterances}
    words = {u.id: same_words(u.text) for u in utterances if u.text}
    found: Facts = {}
    for fold in split.folds:
        known = {words[i] for i in fold.train if i in words}
        for i in fold.test:
            found[i] = _facts(by_id[i]) | {"seen_text": words[i] in known if i in words else None}
    return found


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
    }


def write(folder: Path, found: Facts) -> None:
    """Lay the facts into a run's folder, whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f".{FILE}.{os.getpid()}"
    lines = (json.dumps({"id": i} | row, ensure_ascii=False) + "\n" for i, row in sorted(found.items()))
    temporary.write_text("".join(lines), encoding="utf-8")
    temporary.replace(folder / FILE)


def read(folder: Path) -> Facts:
    """The facts of a run's folder; empty where it has none."""
    path = folder / FILE
    if not path.exists():
        return {}
    rows = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line)
    return {row.pop("id"): row for row in rows}


def units(found: Mapping[str, Mapping[str, Any]], ids: Iterable[str]) -> tuple[str, list[str]]:
    """(name of the unit, the unit of each utterance): what bounds independence.

    The session where its speakers talk with each other, else the speaker. Where neither is known
    each utterance stands for itself, under a name that says so.
    """
    wanted = list(ids)
    known = [found.get(i, {}) for i in wanted]
    talk: dict[str, set[str]] = {}
    for row in known:
        if row.get("dialogue") and row.get("session") and row.get("speaker"):
            talk.setdefault(row["dialogue"], set()).add(row["speaker"])
    dyads = any(len(speakers) > 1 for speakers in talk.values())
    for name in ("session", "speaker") if dyads else ("speaker",):
        if known and all(row.get(name) for row in known):
            return name, grouping(found, wanted, name)
    return UTTERANCE, wanted


def grouping(found: Mapping[str, Mapping[str, Any]], ids: Iterable[str], unit: str) -> list[str]:
    """The ``session`` or ``speaker`` of each utterance, in order; for ``UTTERANCE`` itself."""
    return [i if unit == UTTERANCE else str(found[i][unit]) for i in ids]
