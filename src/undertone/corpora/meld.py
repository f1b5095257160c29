"""MELD (Poria et al. 2019): scenes of a TV series, split by its authors into train, dev and test.

    train_sent_emo.csv · dev_sent_emo.csv · test_sent_emo.csv    one row an utterance
    train_splits/dia0_utt0.mp4 …                                 its clip (or .wav / .flac, converted)
    dev_splits_complete/ · output_repeated_splits_test/

The same six people lead in all three parts: results on this split are speaker-dependent.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from undertone import audio
from undertone.corpora.files import SOUND, folder, read_csv, visible
from undertone.errors import AudioError, CorpusError
from undertone.types import Utterance

__all__ = ["Meld"]

SPLITS = ("train", "dev", "test")
SUFFIXES = (".mp4", *reversed(SOUND))
"""From the least to the most preferred where a clip exists in several formats."""

CLIP = re.compile(r"dia(\d+)_utt(\d+)")

DAMAGED = frozenset({"train_dia125_utt3"})
"""Clips that cannot be played as released; a copy may have a replacement, so they are checked."""

MISCUT = frozenset({"train_dia309_utt0", "test_dia38_utt4", "test_dia220_utt0"})
"""Clips that last for minutes or show another scene than their words (the release's issue 20)."""

COLUMNS = ("Utterance", "Speaker", "Emotion", "Dialogue_ID", "Utterance_ID")

Row = dict[str, str]


class Meld:
    """The release's folder; ``partial`` reads a copy that lacks some of the three splits."""

    name = "meld"
    labels = "meld7"

    def __init__(self, root: Path, partial: bool = False) -> None:
        self.root = folder(root, self.name, "train_sent_emo.csv, dev_sent_emo.csv, test_sent_emo.csv")
        self.partial = partial
        self.notes: list[str] = []

    def read(self) -> Iterator[Utterance]:
        """Every utterance that has a clip, by split, dialogue and turn."""
        self.notes = []
        tables = self._tables()
        for split, table in tables.items():
            yield from self._split(split, table, self._clips(split))

    def _tables(self) -> dict[str, Path]:
        tables = {s: visible(self.root.rglob(f"{s}_sent_emo.csv")) for s in SPLITS}
        missing = [f"{split}_sent_emo.csv" for split, paths in tables.items() if not paths]
        if len(missing) == len(SPLITS) or (missing and not self.partial):
            hint = "" if len(missing) == len(SPLITS) else "; --set partial=true prepares what there is"
            raise CorpusError(f"{self.root}: {', '.join(missing)} missing{hint}")
        self.notes += [f"{name} is missing" for name in missing]
        return {split: paths[0] for split, paths in tables.items() if paths}

    def _clips(self, split: str) -> dict[str, Path]:
        """The clips below folders named after a split; sound files before videos."""
        folders = [p for p in sorted(self.root.glob("**/*/")) if _split_of(p.name) == split]
        clips: dict[str, Path] = {}
        for suffix in SUFFIXES:
            for place in folders:
                clips |= {p.stem: p for p in visible(place.glob(f"*{suffix}")) if CLIP.fullmatch(p.stem)}
        if not clips:
            raise CorpusError(f"{self.root}: no clips (dia0_utt0.mp4 …) in a folder of the split '{split}'")
        return clips

    def _split(self, split: str, table: Path, clips: dict[str, Path]) -> Iterator[Utterance]:
        missing: list[str] = []
        for row in _rows(table):
            utterance = _utterance(split, row, table, clips.get(_stem(row)))
            if utterance is None:
                missing.append(_stem(row))
            elif utterance.id in DAMAGED and (reason := _unreadable(utterance.audio)):
                self.notes.append(f"{utterance.id} left out, known to be damaged: {reason}")
            else:
                if utterance.id in MISCUT:
                    self.notes.append(f"{utterance.id} is known to be cut wrongly; it is kept")
                yield utterance
        if missing:
            names = ", ".join(missing[:3]) + (" …" if len(missing) > 3 else "")
            self.notes.append(f"{split}: {len(missing)} utterances without a clip left out: {names}")


def _split_of(name: str) -> str | None:
    """``train_splits`` → train; the test clips lie in ``output_repeated_splits_test``."""
    words = re.split(r"[^a-z]+", name.lower())
    return next((split for split in SPLITS if split in words), None)


def _rows(table: Path) -> Iterator[Row]:
    reader = read_csv(table)
    if lacking := [name for name in COLUMNS if name not in (reader.fieldnames or [])]:
        raise CorpusError(f"{table}: no column {', '.join(lacking)}")
    yield from sorted(
        reader, key=lambda row: (_number(row, "Dialogue_ID", table), _number(row, "Utterance_ID", table))
    )


def _number(row: Row, column: str, table: Path) -> int:
    try:
        return int(row[column])
    except (TypeError, ValueError):
        raise CorpusError(f"{table}: {column} should be a number, not {row[column]!r}") from None


def _stem(row: Row) -> str:
    return f"dia{int(row['Dialogue_ID'])}_utt{int(row['Utterance_ID'])}"


def _utterance(split: str, row: Row, table: Path, clip: Path | None) -> Utterance | None:
    if clip is None:
        return None
    extra: dict[str, object] = {"split": split, "scripted": True}
    for column in ("Sentiment", "StartTime", "EndTime"):
        extra |= {column.lower(): row[column]} if row.get(column) else {}
    episode = [int(row[c]) for c in ("Season", "Episode") if (row.get(c) or "").isdigit()]
    return Utterance(
        id=f"{split}_{_stem(row)}",
        audio=str(clip),
        speaker=row["Speaker"].strip(),
        session="s{:02}e{:02}".format(*episode) if len(episode) == 2 else None,
        dialogue=f"{split}_dia{_number(row, 'Dialogue_ID', table)}",
        turn=_number(row, "Utterance_ID", table),
        text=_mended(row["Utterance"]).strip(),
        text_source="gold",
        label=row["Emotion"].strip().lower(),
        language="en",
        extra=extra,
    )


def _mended(text: str) -> str:
    """The text with quotes and dashes of Windows-1252 that had become control characters."""
    return "".join(bytes([ord(c)]).decode("cp1252", "ignore") if 0x80 <= ord(c) <= 0x9F else c for c in text)


def _unreadable(ref: str) -> str | None:
    try:
        audio.info(ref)
    except AudioError as error:
        return str(error)
    return None
