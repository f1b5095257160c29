"""RAVDESS (Livingstone & Russo 2018): 24 actors speak two sentences in eight emotions.

The name of a file is ``modality-channel-emotion-intensity-statement-repetition-actor``. Only speech
(channel 01) as sound (modality 03) is read; songs and videos are counted and left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from undertone.corpora.files import acted_utterance, check_codes, clips, folder
from undertone.errors import CorpusError
from undertone.types import Utterance

__all__ = ["Ravdess"]

NAME = re.compile(r"\d\d(-\d\d){6}")
SPEECH = ("03", "01")
"""Modality sound alone, channel speech."""

EMOTIONS = {
    "01": "neutral",
    "02": "calm",
    "03": "happy",
    "04": "sad",
    "05": "angry",
    "06": "fearful",
    "07": "disgusted",
    "08": "surprised",
}
INTENSITIES = {"01": "normal", "02": "strong"}
STATEMENTS = {"01": "Kids are talking by the door", "02": "Dogs are sitting by the door"}


class Ravdess:
    """The clips of ``Actor_01/ … Actor_24/``, or of any folder that holds them."""

    name = "ravdess"
    labels = "ravdess8"

    def __init__(self, root: Path) -> None:
        self.root = folder(root, self.name, "Actor_01, Actor_02 …")
        self.notes: list[str] = []

    def read(self) -> Iterator[Utterance]:
        """Every spoken clip, by actor and name."""
        self.notes = []
        codes = {path: stem.split("-") for stem, path in clips(self.root, NAME, self.notes).items()}
        spoken = {path: own for path, own in codes.items() if tuple(own[:2]) == SPEECH}
        if not spoken:
            raise CorpusError(f"{self.root}: no RAVDESS speech (names as 03-01-05-01-02-01-12.wav) in it")
        if left := len(codes) - len(spoken):
            self.notes.append(f"{left} songs or sound tracks of videos left out")
        for path in sorted(spoken, key=lambda path: (spoken[path][-1], path.stem)):
            yield _utterance(path, *spoken[path][2:])


def _utterance(
    path: Path, emotion: str, intensity: str, statement: str, repetition: str, actor: str
) -> Utterance:
    known = ((emotion, EMOTIONS), (intensity, INTENSITIES), (statement, STATEMENTS))
    check_codes(path, "RAVDESS", *known)
    extra = {
        "intensity": INTENSITIES[intensity],
        "statement": int(statement),
        "repetition": int(repetition),
        "sex": "m" if int(actor) % 2 else "f",
        "scripted": True,
    }
    return acted_utterance(path, actor, STATEMENTS[statement], EMOTIONS[emotion], extra)
