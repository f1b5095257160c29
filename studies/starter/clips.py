"""The recordings that the starter learns from, and who is kept aside in which fold."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from undertone.corpora.emodb import Emodb
from undertone.corpora.ravdess import Ravdess
from undertone.errors import CorpusError
from undertone.types import Utterance

__all__ = ["ACTED", "CORPORA", "FOLDS", "Spoken", "background", "digest", "folds", "read"]

FOLDS = 5
CORPORA = ("ravdess", "emodb", "nemo", "timit")
ACTED = CORPORA[:3]
NEMO = {"anger": "angry", "happiness": "happy", "sadness": "sad", "fear": "fearful"}
"""Its names of emotions that RAVDESS names otherwise."""


@dataclass(frozen=True)
class Spoken:
    """One recording with what it was labelled."""

    id: str
    corpus: str
    """One of ``CORPORA``."""
    path: Path
    speaker: str
    """Unique over the corpora: ``ravdess/07``."""
    sex: str
    label: str
    """One of RAVDESS' eight emotions, by its names there; read speech (TIMIT) is neutral."""


def read(root: Path) -> list[Spoken]:
    """Every clip of RAVDESS, EmoDB, nEMO and the TIMIT sample below a folder, in a stable order."""
    if not root.is_dir():
        raise CorpusError(
            f"{root}: no such folder; the one with ravdess, emodb, nemo, timit_sample is wanted"
        )
    clips = [_spoken("ravdess", u) for u in Ravdess(root / "ravdess").read()]
    labels = {"anger": "angry", "happiness": "happy", "sadness": "sad", "neutral": "neutral"}
    acted = [
        u for u in Emodb(root / "emodb").read() if (u.label or "") in labels or u.label in labels.values()
    ]
    clips += [_spoken("emodb", u, labels.get(str(u.label), str(u.label))) for u in acted]
    clips += _table("nemo", root / "nemo", lambda row: NEMO.get(row["label"], row["label"]))
    return clips + _table("timit", root / "timit_sample", lambda _: "neutral")


def _spoken(corpus: str, utterance: Utterance, label: str | None = None) -> Spoken:
    speaker = f"{corpus}/{utterance.speaker}"
    sex = str(utterance.extra["sex"])
    return Spoken(utterance.id, corpus, Path(utterance.audio), speaker, sex, label or str(utterance.label))


def _table(corpus: str, root: Path, label: Callable[[dict[str, str]], str]) -> list[Spoken]:
    """The clips of a folder with a ``manifest.csv``."""
    path = root / "manifest.csv"
    if not path.is_file():
        raise CorpusError(f"{path}: no such file")
    with path.open(encoding="utf-8", newline="") as file:
        return [
            Spoken(
                row["path"].rpartition(".")[0],
                corpus,
                root / row["path"],
                f"{corpus}/{row['speaker']}",
                row["sex"][0],
                label(row),
            )
            for row in csv.DictReader(file)
        ]


def background(clips: Sequence[Spoken], tests: bool = False) -> list[Spoken]:
    """The read recordings whose voices go behind those that are learned from; or behind those of the tests:
    every other speaker."""
    read = [clip for clip in clips if clip.corpus == "timit"]
    speakers = sorted({clip.speaker for clip in read})[int(tests) :: 2]
    return [clip for clip in read if clip.speaker in speakers]


def folds(clips: Sequence[Spoken], seed: int = 0) -> list[frozenset[str]]:
    """The speakers kept aside in each of the five folds: of each corpus and sex their share."""
    parts: list[set[str]] = [set() for _ in range(FOLDS)]
    for corpus in CORPORA:
        speakers = sorted({(clip.sex, clip.speaker) for clip in clips if clip.corpus == corpus})
        draw = np.random.default_rng([seed, CORPORA.index(corpus)]).random(len(speakers))
        dealt = sorted((sex, place, speaker) for (sex, speaker), place in zip(speakers, draw, strict=True))
        for place, (_, _, speaker) in enumerate(dealt):
            parts[place % FOLDS].add(speaker)
    return [frozenset(part) for part in parts]


def digest(clips: Sequence[Spoken]) -> dict[str, str]:
    """By corpus a hash of all its recordings' bytes."""
    marks = {corpus: hashlib.sha256() for corpus in CORPORA}
    for clip in sorted(clips, key=lambda clip: (clip.corpus, clip.id)):
        marks[clip.corpus].update(hashlib.sha256(clip.path.read_bytes()).digest())
    return {corpus: mark.hexdigest() for corpus, mark in marks.items()}
