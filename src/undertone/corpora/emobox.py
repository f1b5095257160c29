"""Benchmarks' published metadata of a corpus that the user has: EmoBox's and EMO-SUPERB's.

EmoBox (Ma et al. 2024), JSON lines and folds:

    data/emodb/emodb.jsonl                               every utterance: key, wav, emo, length …
    data/emodb/fold_1/emodb_train_fold_1.jsonl           … _valid_ (some corpora), _test_

Some files name the recording ``audio`` and the class ``label``; one corpus gives stretches of long recordings
by ``start_time`` and ``end_time``. There is no transcript and no speaker: where the key states who speaks,
that is taken (of IEMOCAP the last ``_F`` or ``_M`` part with the session, never the dialogue's prefix).

EMO-SUPERB (Wu et al. 2024), a table a fold, ``labels_consensus_1.csv`` … (or one, ``labels_consensus.csv``):

    FileName, Angry, Sad, …, EmoAct, EmoVal, EmoDom, SpkrID, Gender, Split_Set (Train, Development, Test)

The emotions' columns are fractions of votes, smoothed (a sure one 0.95, each of eight others 0.00625): they
are taken as they stand, and the largest is the label; where two tie there is none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from undertone.corpora.files import SOUND, read_csv, read_objects, visible
from undertone.corpora.msppodcast import DIMENSIONS
from undertone.corpora.table import Row, Table
from undertone.errors import CorpusError
from undertone.labels.synonyms import meaning

__all__ = ["EmoBox", "EmoSuperb"]

NAMES = {
    "id": ("key",),
    "audio": ("wav", "audio"),
    "label": ("emo", "label"),
    "start": ("start_time", "start"),
    "end": ("end_time", "end"),
    "speaker": ("speaker",),
}
"""Our fields, and what they are called there."""
PARTS = {"train": "train", "valid": "validation", "development": "validation", "test": "test"}
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


class EmoSuperb(Table):
    """One ``labels_consensus*.csv`` of EMO-SUPERB or a folder of them; ``audio_root``: where recordings lie,
    at any depth (default: beside the tables)."""

    name = "emosuperb"

    def _check(self, root: Path) -> None:
        if not self._tables(root):
            raise CorpusError(f"{root}: no labels_consensus_1.csv of EMO-SUPERB, nor labels_consensus.csv")

    def _tables(self, root: Path) -> list[Path]:
        return [root] if root.is_file() else visible(root.glob("labels_consensus*.csv"))

    def _rows(self) -> Iterator[tuple[str, Row]]:
        recordings = {p.stem: p for p in visible(self.folder.rglob("*")) if p.suffix.lower() in SOUND}
        rows: dict[str, tuple[str, Row]] = {}
        folds: dict[str, dict[str, str]] = {}
        for path in self._tables(self.path):
            reader = read_csv(path)
            for row in reader:
                place = f"{path}:{reader.line_num}"
                name, part = Path(row.get("FileName") or "").stem, (row.get("Split_Set") or "").lower()
                if not name or part not in PARTS:
                    raise CorpusError(f"{place}: no FileName, or a Split_Set that is no part")
                if name not in recordings:
                    raise CorpusError(f"{place}: no recording {name} below {self.folder} (--set audio_root=)")
                try:
                    rows.setdefault(name, (place, _voted(name, recordings[name], row)))
                except ValueError as error:
                    raise CorpusError(f"{place}: {error}") from None
                folds.setdefault(name, {})[f"fold-{path.stem.rpartition('_')[2]}"] = PARTS[part]
        if any(dimension in row for _, row in rows.values() for dimension in DIMENSIONS.values()):
            self.notes.append(
                "the scale of arousal, valence and dominance is not in the tables: a recipe that learns them "
                "states it (--set scales.arousal=[1,5]; IEMOCAP 1 to 5, MSP-Podcast 1 to 7)"
            )
        for name, (place, row) in rows.items():
            own = folds[name]
            yield place, row | {"split": own if set(own) != {"fold-consensus"} else own["fold-consensus"]}


def _voted(name: str, path: Path, row: dict[str, Any]) -> Row:
    """The row with our names: votes, the label that most give, dimensions, speaker."""
    votes = {
        column: float(value)
        for column, value in row.items()
        if (column.lower() == "contempt" or meaning(column)) and value
    }
    if not votes:
        raise ValueError(f"no column of votes among {', '.join(row)}")
    most = [column for column, share in votes.items() if share == max(votes.values())]
    values: Row = {"id": name, "audio": str(path), "votes": votes}
    values |= {"label": most[0]} if len(most) == 1 else {}
    values |= {mine: float(row[theirs]) for theirs, mine in DIMENSIONS.items() if row.get(theirs)}
    values |= {"sex": row["Gender"]} if row.get("Gender") else {}
    speaker = {"speaker": row["SpkrID"]} if row.get("SpkrID") else {}
    return values | (_speaker("iemocap", name) or speaker)


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
