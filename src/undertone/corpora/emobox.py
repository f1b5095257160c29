"""EmoBox's published metadata (Ma et al. 2024) of a corpus that the user has: its JSON lines and its folds.

    data/emodb/emodb.jsonl                               every utterance: key, wav, emo, length …
    data/emodb/fold_1/emodb_train_fold_1.jsonl           … _valid_ (some corpora), _test_

Some files name the recording ``audio`` and the class ``label``; one corpus gives stretches of long recordings
by ``start_time`` and ``end_time``. There is no transcript and no speaker: where the key states who speaks,
that is taken (of IEMOCAP the last ``_F`` or ``_M`` part with the session, never the dialogue's prefix).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from undertone.corpora.files import read_objects
from undertone.corpora.table import Row, Table
from undertone.errors import CorpusError

__all__ = ["EmoBox"]

NAMES = {
    "id": ("key",),
    "audio": ("wav", "audio"),
    "label": ("emo", "label"),
    "start": ("start_time", "start"),
    "end": ("end_time", "end"),
    "speaker": ("speaker",),
}
"""Our fields, and what they are called there."""
PARTS = {"train": "train", "valid": "validation", "test": "test"}
FOLD = re.compile(r"_(train|valid|test)_fold_(\w+)$")
DYADS, DIGITS = re.compile(r"(Ses0(\d))\w*_([FM])\w*$"), re.compile(r"-(\d\d)[ab]\d\d\w+$")


class EmoBox(Table):
    """A folder ``data/NAME`` of EmoBox; ``audio_root``: where ``downloads`` is (default: two folders up)."""

    name = "emobox"

    def _check(self, root: Path) -> None:
        if not root.is_dir() or not (any(root.glob("*.jsonl")) or any(root.glob("fold_*/*.jsonl"))):
            raise CorpusError(f"{root}: not a folder of EmoBox: it holds no NAME.jsonl and no fold_1/*.jsonl")

    def _rows(self) -> Iterator[tuple[str, Row]]:
        if self.folder == self.path and (self.path.parents[1] / "downloads").is_dir():
            self.folder = self.path.parents[1]
        rows: dict[str, tuple[str, Row]] = {}
        folds: dict[str, dict[str, str]] = {}
        for path in [*sorted(self.path.glob("*.jsonl")), *sorted(self.path.glob("fold_*/*.jsonl"))]:
            match = FOLD.search(path.stem)
            for number, row in read_objects(path):
                place = f"{path}:{number}"
                name = str(row.get("key") or "")
                if not name:
                    raise CorpusError(f"{place}: no key")
                rows.setdefault(name, (place, _named(row)))
                if match is None:
                    continue
                own = folds.setdefault(name, {})
                fold, part = f"fold-{match[2]}", PARTS[match[1]]
                if own.setdefault(fold, part) != part:
                    raise CorpusError(f"{place}: '{name}' is in two parts of {fold}")
        for name, (place, row) in rows.items():
            yield place, row | ({"split": folds[name]} if name in folds else {})


def _named(row: dict[str, Any]) -> Row:
    """The row with our names; what else it states (sizes, rates, the task) follows from the recording."""
    values: Row = {}
    for field, names in NAMES.items():
        given = [row[name] for name in names if row.get(name) not in (None, "")]
        values |= {field: given[0]} if given else {}
    values |= {"dataset": row["dataset"]} if row.get("dataset") else {}
    if "speaker" not in values:
        values |= _speaker(str(row.get("dataset", "")), str(row["key"]))
    return values


def _speaker(dataset: str, key: str) -> Row:
    if dataset == "iemocap" and (match := DYADS.search(key)):
        return {"speaker": f"{match[1]}_{match[3]}", "session": match[2]}
    if dataset == "emodb" and (match := DIGITS.search(key)):
        return {"speaker": match[1]}
    return {}
