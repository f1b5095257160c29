"""The Berlin Database of Emotional Speech (Burkhardt et al. 2005): ten actors, ten German sentences.

The name of a file is its speaker, sentence, emotion and version: ``03a01Fa.wav``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from undertone.corpora.files import acted_utterance, check_codes, clips, folder
from undertone.errors import CorpusError
from undertone.types import Utterance

__all__ = ["Emodb"]

NAME = re.compile(r"\d\d[ab]\d\d[A-Z][a-z]?")

EMOTIONS = {
    "W": "anger",
    "L": "boredom",
    "E": "disgust",
    "A": "fear",
    "F": "happiness",
    "T": "sadness",
    "N": "neutral",
}
"""By the first letter of the German word: Wut, Langeweile, Ekel, Angst, Freude, Trauer, neutral."""

SENTENCES = {
    "a01": "Der Lappen liegt auf dem Eisschrank.",
    "a02": "Das will sie am Mittwoch abgeben.",
    "a04": "Heute abend könnte ich es ihm sagen.",
    "a05": "Das schwarze Stück Papier befindet sich da oben neben dem Holzstück.",
    "a07": "In sieben Stunden wird es soweit sein.",
    "b01": "Was sind denn das für Tüten, die da unter dem Tisch stehen?",
    "b02": "Sie haben es gerade hochgetragen und jetzt gehen sie wieder runter.",
    "b03": "An den Wochenenden bin ich jetzt immer nach Hause gefahren und habe Agnes besucht.",
    "b09": "Ich will das eben wegbringen und dann mit Karl was trinken gehen.",
    "b10": "Die wird auf dem Platz sein, wo wir sie immer hinlegen.",
}

ACTORS = {
    "03": ("m", 31),
    "08": ("f", 34),
    "09": ("f", 21),
    "10": ("m", 32),
    "11": ("m", 26),
    "12": ("m", 30),
    "13": ("f", 32),
    "14": ("f", 35),
    "15": ("m", 25),
    "16": ("f", 31),
}
"""Sex and age as the release gives them."""


class Emodb:
    """The clips of ``wav/``, or of any folder that holds them."""

    name = "emodb"
    labels = "emodb7"

    def __init__(self, root: Path) -> None:
        self.root = folder(root, self.name, "03a01Fa.wav and others")
        self.notes: list[str] = []

    def read(self) -> Iterator[Utterance]:
        """Every clip, by name."""
        self.notes = []
        chosen = clips(self.root, NAME, self.notes)
        if not chosen:
            raise CorpusError(f"{self.root}: no EmoDB clips (names as 03a01Fa.wav) in it")
        for stem, path in chosen.items():
            yield _utterance(path, stem[:2], stem[2:5], stem[5], stem[6:])


def _utterance(path: Path, speaker: str, sentence: str, emotion: str, version: str) -> Utterance:
    check_codes(path, "EmoDB", (speaker, ACTORS), (sentence, SENTENCES), (emotion, EMOTIONS))
    sex, age = ACTORS[speaker]
    extra = {"sentence": sentence, "version": version, "sex": sex, "age": age, "scripted": True}
    return acted_utterance(path, speaker, SENTENCES[sentence], EMOTIONS[emotion], extra, language="de")
