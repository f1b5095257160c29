"""Sentences in four classes: of Reddit (GoEmotions, Demszky et al. 2020), whose readers saw 28 emotions in
them, and turns of dialogues (DailyDialog, Li et al. 2017; EmoryNLP, Zahiri and Choi 2018)."""

from __future__ import annotations

import csv
import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from undertone.errors import CorpusError

__all__ = ["MAPPING", "Sentence", "counts", "digest", "four", "names", "plain", "read", "turns"]

MAPPING: dict[str, tuple[str, ...]] = {
    "angry": ("anger", "annoyance"),
    "happy": ("joy", "amusement", "excitement", "love"),
    "sad": ("sadness", "grief", "disappointment", "remorse"),
    "neutral": ("neutral",),
}
"""The emotions of each class; a sentence with another, or with those of two classes, has no class."""
OF = {emotion: label for label, emotions in MAPPING.items() for emotion in emotions}
SPOKEN = {
    "dailydialog": {"anger": "angry", "happiness": "happy", "sadness": "sad", "neutral": "neutral"},
    "emorynlp": {"mad": "angry", "joyful": "happy", "sad": "sad", "neutral": "neutral"},
}
"""Of the dialogues' corpora the emotions that are a class; all others are none."""


@dataclass(frozen=True)
class Sentence:
    """One sentence as it was written."""

    id: str
    text: str
    emotions: tuple[int, ...]
    """Indices in ``names``."""
    label: str | None
    """Its class, None where the emotions are of two classes or of none."""


def names(root: Path) -> list[str]:
    """The 28 emotions, in the order of their indices."""
    return _lines(root / "goemotions" / "labels.txt")


def read(root: Path, split: str) -> list[Sentence]:
    """Every sentence of ``train`` or ``dev``, labelled or not."""
    known = names(root)
    path = root / "goemotions" / f"{split}.tsv"
    rows = []
    for number, line in enumerate(_lines(path), 1):
        parts = line.split("\t")
        if len(parts) != 3:
            raise CorpusError(f"{path}:{number}: text, labels and id are wanted, with tabs between them")
        emotions = tuple(int(index) for index in parts[1].split(","))
        rows.append(Sentence(parts[2], parts[0], emotions, _label([known[i] for i in emotions])))
    return rows


def turns(root: Path, corpus: str, *splits: str) -> list[Sentence]:
    """The turns of some splits of a corpus of dialogues, labelled or not, in the order of the dialogues."""
    path = root / "dialogues" / "utterances.csv"
    found = []
    for row in csv.DictReader(_lines(path)):
        if row["corpus"] == corpus and row["split"] in splits:
            name = f"{row['dialogue']}-{row['turn']}"
            found.append(Sentence(name, row["text"], (), SPOKEN[corpus].get(row["emotion"])))
    return found


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise CorpusError(
            f"{path}: no such file; UNDERTONE_DATA must name the folder with goemotions"
        ) from None


def _label(emotions: Iterable[str]) -> str | None:
    classes = {OF.get(emotion) for emotion in emotions}
    return classes.pop() if len(classes) == 1 else None


def four(sentences: Sequence[Sentence]) -> list[Sentence]:
    """Those that have a class."""
    return [sentence for sentence in sentences if sentence.label is not None]


def counts(sentences: Sequence[Sentence]) -> dict[str, int]:
    """Sentences of each class, and how many were dropped."""
    tally = Counter(sentence.label for sentence in sentences)
    return {**{label: tally[label] for label in MAPPING}, "dropped": tally[None]}


def plain(text: str) -> str:
    """As a recogniser would have it: lower case, letters, digits and apostrophes, single spaces.

    >>> plain("WHY [NAME]?! It’s 5 o'clock 😂")
    "why name it's 5 o'clock"
    """
    return " ".join(re.sub(r"[^a-z0-9' ]", " ", text.lower().replace("’", "'")).split())


def digest(root: Path) -> dict[str, str]:
    """A hash of each file."""
    files = {split: root / "goemotions" / f"{split}.tsv" for split in ("train", "dev")}
    files["dialogues"] = root / "dialogues" / "utterances.csv"
    return {
        name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items() if path.is_file()
    }
