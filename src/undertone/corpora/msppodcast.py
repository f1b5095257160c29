"""MSP-Podcast (Lotfian and Busso 2019): stretches of podcasts, rated by five people or more.

``labels_consensus.csv`` has the majority's emotion as a letter, arousal, valence and dominance from 1 to 7,
the speaker and the partition; ``labels_detailed.csv`` has every rating. ``X`` is no agreement, ``O`` another
emotion: both are read without a class, with their votes. Speakers that are unknown have no name.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

from undertone.corpora.files import folder, read_csv, read_text
from undertone.errors import CorpusError
from undertone.types import Utterance

__all__ = ["MspPodcast"]

EMOTIONS = {
    "A": "Angry", "S": "Sad", "H": "Happy", "U": "Surprise", "F": "Fear", "D": "Disgust", "C": "Contempt",
    "N": "Neutral", "O": "Other", "X": "No agreement",
}  # fmt: skip
Tested = Literal["test1", "test2", "test3"]
PARTS = {"Train": "train", "Development": "validation"}
DIMENSIONS = {"EmoAct": "arousal", "EmoVal": "valence", "EmoDom": "dominance"}


class MspPodcast:
    """The folder of a release; ``test``: the partition that is tested, the other tests are left out.

    Clips without a recording are left out, and counted.
    """

    name = "msppodcast"
    labels = "msppodcast8"

    def __init__(self, root: Path, test: Tested = "test1") -> None:
        self.root = folder(root, self.name, "Audios and Labels")
        self.test = test
        self.notes: list[str] = []

    def read(self) -> Iterator[Utterance]:
        """Every clip of the consensus' table, in its order."""
        self.notes = []
        (votes, ratings), recordings = self._votes(), self._files("Audios", ".wav")
        texts, missing, other = self._files("Transcripts", ".txt"), 0, 0
        for row in self._table("labels_consensus.csv"):
            name = Path(row["FileName"]).stem
            if row.get("Split_Set", "").lower() in set(get_args(Tested)) - {self.test}:
                other += 1
                continue
            if name not in recordings:
                missing += 1
                continue
            made = self._utterance(name, row, recordings[name], texts.get(name), votes.get(name, {}))
            raters = {"raters": ratings[name]} if name in ratings else {}
            yield replace(made, extra={**made.extra, **raters})
        if missing:
            self.notes.append(f"{missing} clips of labels_consensus.csv have no recording and are left out")
        if other:
            self.notes.append(f"{other} clips of other tests than {self.test} are left out")

    def _utterance(
        self, name: str, row: Mapping[str, str], path: Path, words: Path | None, votes: Mapping[str, float]
    ) -> Utterance:
        letter = row["EmoClass"].strip()
        if letter not in EMOTIONS:
            raise CorpusError(f"{name}: '{letter}' is no emotion of MSP-Podcast")
        part = row.get("Split_Set", "")
        if part not in PARTS and part.lower() != self.test:
            raise CorpusError(f"{name}: '{part}' is no partition of MSP-Podcast")
        speaker = row.get("SpkrID", "").strip()
        values = {mine: float(row[theirs]) for theirs, mine in DIMENSIONS.items() if row.get(theirs)}
        text = " ".join(read_text(words).split()) if words else None
        return Utterance(
            name,
            str(path),
            speaker=None if speaker.lower() in ("", "unknown") else speaker,
            text=text or None,
            text_source="gold" if text else None,
            label=letter,
            votes=votes,
            language="en",
            extra={"split": PARTS.get(part, "test"), "sex": row.get("Gender", ""), **values},
        )

    def _votes(self) -> tuple[dict[str, dict[str, float]], dict[str, dict[str, list[float]]]]:
        """By clip: how many raters named each emotion (what they wrote beside ``Other`` counts as other), and
        the arousal, valence and dominance of each."""
        letters = {word.lower(): letter for letter, word in EMOTIONS.items()}
        counts: dict[str, Counter[str]] = defaultdict(Counter)
        ratings: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        for row in self._table("labels_detailed.csv", needed=False):
            primary = row["EmoClass_Major"].partition("-")[0].strip().lower()
            counts[name := Path(row["FileName"]).stem][letters.get(primary, "O")] += 1
            for theirs, mine in DIMENSIONS.items():
                if row.get(theirs):
                    ratings[name][mine].append(float(row[theirs]))
        votes = {name: {k: float(n) for k, n in own.items()} for name, own in counts.items()}
        return votes, {name: dict(own) for name, own in ratings.items()}

    def _table(self, name: str, needed: bool = True) -> list[dict[str, str]]:
        paths = sorted(self.root.rglob(name))
        if not paths:
            if needed:
                raise CorpusError(f"{self.root}: no {name} in it")
            self.notes.append(f"no {name}, so there are no votes")
            return []
        rows = [
            {(key or "").strip(): value or "" for key, value in row.items()} for row in read_csv(paths[0])
        ]
        if rows and "FileName" not in rows[0]:
            raise CorpusError(f"{paths[0]}: no column FileName")
        return rows

    def _files(self, place: str, suffix: str) -> dict[str, Path]:
        """By stem: the files of a folder of the release."""
        return {
            p.stem: p for p in sorted(self.root.glob(f"{place}/**/*{suffix}")) if not p.name.startswith(".")
        }
