"""CREMA-D (Cao et al. 2014): 91 actors speak twelve English sentences in six emotions.

The name of a file is its actor, sentence, intended emotion and level: ``1001_DFA_ANG_XX.wav``. What
listeners voted often differs from what was intended: results must state which label they use.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

from undertone.corpora.files import acted_utterance, check_codes, clips, folder, read_csv
from undertone.errors import ConfigError, CorpusError
from undertone.types import Utterance

__all__ = ["Cremad"]

Source = Literal["intended", "voted"]

NAME = re.compile(r"\d{4}_[A-Z]{3}_[A-Z]{3}_[A-Z]{2}")
EMOTIONS = {"A": "ANG", "D": "DIS", "F": "FEA", "H": "HAP", "N": "NEU", "S": "SAD"}
LEVELS = {"LO": "low", "MD": "medium", "HI": "high", "XX": "unspecified"}
SENTENCES = {
    "IEO": "It's eleven o'clock.",
    "TIE": "That is exactly what happened.",
    "IOM": "I'm on my way to the meeting.",
    "IWW": "I wonder what this is about.",
    "TAI": "The airplane is almost full.",
    "MTI": "Maybe tomorrow it will be cold.",
    "IWL": "I would like a new alarm clock.",
    "ITH": "I think I have a doctor's appointment.",
    "DFA": "Don't forget a jacket.",
    "ITS": "I think I've seen this before.",
    "TSI": "The surface is slick.",
    "WSI": "We'll stop in a couple of minutes.",
}
SOUND_ALONE = "1"
"""How the numbers of rows begin in ``tabulatedVotes.csv`` for those who did not see the face."""
SILENT = frozenset({"1076_MTI_NEU_XX", "1076_MTI_SAD_XX"})
"""Clips that have no sound in the release."""


class Cremad:
    """The repository's folder; ``source``: labels as intended, or as listeners voted on the sound."""

    name = "cremad"
    labels = "cremad6"

    def __init__(self, root: Path, source: Source = "intended") -> None:
        if source not in get_args(Source):
            raise ConfigError(f"cremad: source is 'intended' or 'voted', not '{source}'")
        self.root = folder(root, self.name, "AudioWAV and VideoDemographics.csv")
        self.source = source
        self.notes: list[str] = []

    def read(self) -> Iterator[Utterance]:
        """Every clip, by name."""
        self.notes = [f"labels are those {self.source}"]
        chosen = self._clips()
        actors = {row["actorid"]: row for row in self._table("VideoDemographics.csv")}
        votes, counts = self._votes(), self._counts()
        self._compare(chosen, actors)
        for path in chosen.values():
            yield replace(self._utterance(path, actors, votes), votes=counts.get(path.stem, {}))

    def _clips(self) -> dict[str, Path]:
        """One recording a name: the release has mp3 as well."""
        chosen = clips(self.root, NAME, self.notes)
        if not chosen:
            raise CorpusError(f"{self.root}: no CREMA-D clips (names as 1001_DFA_ANG_XX.wav) in it")
        if left := sorted(SILENT & chosen.keys()):
            self.notes.append(f"left out, without sound in the release: {', '.join(left)}")
        return {stem: path for stem, path in chosen.items() if stem not in SILENT}

    def _compare(self, chosen: Mapping[str, Path], actors: Mapping[str, object]) -> None:
        listed = {row["filename"] for row in self._table("SentenceFilenames.csv")}
        if missing := sorted(listed - chosen.keys() - SILENT):
            self.notes.append(
                f"{len(missing)} clips of SentenceFilenames.csv missing, the first: {missing[0]}"
            )
        if unknown := sorted({stem[:4] for stem in chosen} - actors.keys()):
            self.notes.append(f"{len(unknown)} actors without demographics, the first: {unknown[0]}")

    def _votes(self) -> dict[str, str]:
        """Listeners' votes on the sound alone: one letter, or several where they tied."""
        if self.source == "intended":
            return {}
        rows = self._table("summaryTable.csv")
        if not rows:
            raise CorpusError(f"{self.root}: labels as voted need processedResults/summaryTable.csv in it")
        return {row["filename"]: row["voicevote"].strip() for row in rows}

    def _counts(self) -> dict[str, dict[str, float]]:
        """By clip: how many listeners to the sound alone named each emotion."""
        counts = {}
        for row in self._table("tabulatedVotes.csv"):
            number = row.get("") or row.get("x") or ""
            if len(number) == 6 and number.startswith(SOUND_ALONE):
                named = {code: float(row.get(letter.lower()) or 0) for letter, code in EMOTIONS.items()}
                counts[row["filename"]] = {code: n for code, n in named.items() if n}
        return counts

    def _table(self, name: str) -> list[dict[str, str]]:
        """Rows of a csv anywhere below the root, column names in lower case; no rows where it is missing."""
        paths = sorted(self.root.rglob(name))
        if not paths:
            return []
        rows = read_csv(paths[0])
        return [{(key or "").strip().lower(): value or "" for key, value in row.items()} for row in rows]

    def _utterance(
        self, path: Path, actors: Mapping[str, Mapping[str, str]], votes: Mapping[str, str]
    ) -> Utterance:
        actor, sentence, emotion, level = path.stem.split("_")
        check_codes(path, "CREMA-D", (sentence, SENTENCES), (level, LEVELS))
        person = actors.get(actor, {})
        extra: dict[str, object] = {"sentence": sentence, "level": LEVELS[level], "scripted": True}
        extra |= {key: person[key] for key in ("sex", "race", "ethnicity") if person.get(key)}
        extra |= {"age": int(person["age"])} if person.get("age", "").isdigit() else {}
        label: str | None = emotion
        if self.source == "voted":
            extra["intended"] = emotion
            label = EMOTIONS.get(votes.get(path.stem, ""))  # a tie, or no vote, is no label
        return acted_utterance(path, actor, SENTENCES[sentence], label, extra)
