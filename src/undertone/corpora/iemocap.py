"""IEMOCAP (Busso et al. 2008): ten actors in five sessions of two, scripted and improvised.

    Session1/dialog/EmoEvaluation/Ses01F_impro01.txt      times, label, dimensions and raters of each turn
    Session1/dialog/transcriptions/Ses01F_impro01.txt     its words
    Session1/sentences/wav/Ses01F_impro01/….wav           its sound
    Session1/sentences/ForcedAlignment/Ses01F_impro01/…   its words, syllables and phones in time

The first letter after the session (``Ses01F_…``) is the actor with the motion-capture markers. The
speaker is in the last part of the utterance's id (``…_M003``).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from undertone.corpora.files import folder, read_lines, visible
from undertone.errors import CorpusError
from undertone.types import Utterance

__all__ = ["Iemocap"]

SESSIONS = {
    "Session1": (1819, 1085),
    "Session2": (1811, 1023),
    "Session3": (2136, 1151),
    "Session4": (2103, 1031),
    "Session5": (2170, 1241),
}
"""Turns of a complete copy, and those of the four classes that most results are about."""

FOUR = frozenset({"ang", "hap", "exc", "sad", "neu"})

CATEGORIES = {
    "anger": "ang",
    "happiness": "hap",
    "sadness": "sad",
    "neutral": "neu",
    "neutral state": "neu",
    "excited": "exc",
    "frustration": "fru",
    "fear": "fea",
    "surprise": "sur",
    "disgust": "dis",
    "other": "oth",
}
"""The raters' words, as the labels spell them."""

TIERS = ("wdseg", "syseg", "phseg")
"""Suffixes of the boundary files: words, syllables, phones."""

NUMBER = r"\s*([-+\d.]+)\s*"
TURN = re.compile(rf"\[{NUMBER}-{NUMBER}\]\s+(\S+)\s+(\S+)\s+\[{NUMBER},{NUMBER},{NUMBER}\]")
RATER = re.compile(r"C-E\d+:\s*([^\t(]*)")
"""One evaluator's categories; ``C-F…`` and ``C-M…`` are the actors' own, which are not in the label."""
RATING = re.compile(r"A-E\d+:\s*val\s+(\d+)\s*;\s*act\s+(\d+)\s*;\s*dom\s+(\d+)\s*;")
"""One evaluator's valence, activation and dominance; a line that lacks one is none."""
WORDS = re.compile(r"(\S+)\s+\[[^\]]*\]\s*:\s?(.*)")


@dataclass(frozen=True)
class _Turn:
    id: str
    label: str
    start: float
    end: float
    dimensions: tuple[float, float, float]
    votes: dict[str, float]
    ratings: dict[str, list[float]]


class Iemocap:
    """The release's folder (or the one above it); ``partial`` reads a copy that lacks sessions."""

    name = "iemocap"
    labels = "iemocap4"

    def __init__(self, root: Path, partial: bool = False) -> None:
        self.root = folder(root, self.name, "Session1 … Session5")
        inner = self.root / "IEMOCAP_full_release"
        if not (self.root / "Session1").is_dir() and inner.is_dir():
            self.root = inner
        self.partial = partial
        self.notes: list[str] = []

    def read(self) -> Iterator[Utterance]:
        """Every rated turn, by session, dialogue and time."""
        self.notes = []
        unread: Counter[str] = Counter()
        for session in self._sessions():
            turns = four = 0
            for utterance in self._session(self.root / session, unread):
                turns += 1
                four += utterance.label in FOUR
                yield utterance
            if (turns, four) != SESSIONS[session]:
                whole, whole_four = SESSIONS[session]
                self.notes.append(
                    f"{session}: {turns} turns, {four} of the usual four classes; "
                    f"a complete copy has {whole} and {whole_four}"
                )
        self.notes += [f"{count} {kind}" for kind, count in unread.items()]

    def boundaries(self, utterance: Utterance) -> tuple[Path, Path, Path]:
        """Files of the utterance's words, syllables and phones, which this copy may lack."""
        session = f"Session{int(utterance.id[3:5])}"
        aligned = self.root / session / "sentences" / "ForcedAlignment" / str(utterance.dialogue)
        words, syllables, phones = (aligned / f"{utterance.id}.{suffix}" for suffix in TIERS)
        return words, syllables, phones

    def _sessions(self) -> list[str]:
        present = [name for name in SESSIONS if (self.root / name).is_dir()]
        if not present:
            raise CorpusError(f"{self.root}: no Session1 … Session5 in it; is this IEMOCAP's release?")
        missing = [name for name in SESSIONS if name not in present]
        if missing and not self.partial:
            raise CorpusError(
                f"{self.root}: {', '.join(missing)} missing; --set partial=true prepares what there is"
            )
        self.notes += [f"{name} is missing" for name in missing]
        return present

    def _session(self, session: Path, unread: Counter[str]) -> Iterator[Utterance]:
        ratings = session / "dialog" / "EmoEvaluation"
        files = visible(ratings.glob("*.txt")) if ratings.is_dir() else []
        if not files:
            raise CorpusError(f"{ratings}: no evaluation files (Ses….txt) in it")
        for file in files:
            yield from self._dialogue(session, file, unread)

    def _dialogue(self, session: Path, file: Path, unread: Counter[str]) -> Iterator[Utterance]:
        dialogue = file.stem
        turns = sorted(_turns(file), key=lambda turn: (turn.start, turn.id))
        words = _transcript(session / "dialog" / "transcriptions" / file.name, unread)
        sound = session / "sentences" / "wav" / dialogue
        packed = {path.name for path in sound.glob("*.flac")}
        for number, turn in enumerate(turns):
            text = words.pop(turn.id, None)
            if text is None:
                unread["turns without transcript"] += 1
            suffix = "flac" if f"{turn.id}.flac" in packed else "wav"
            yield _utterance(turn, number, dialogue, text, sound / f"{turn.id}.{suffix}")
        if words:
            unread["transcribed turns that nobody rated"] += len(words)


def _utterance(turn: _Turn, number: int, dialogue: str, text: str | None, audio: Path) -> Utterance:
    session, gender = turn.id[:5], turn.id.rsplit("_", 1)[-1][:1]
    valence, activation, dominance = turn.dimensions
    return Utterance(
        id=turn.id,
        audio=str(audio),
        speaker=f"{session}_{gender}",
        session=session,
        dialogue=dialogue,
        turn=number,
        text=text,
        text_source=None if text is None else "gold",
        label=turn.label,
        votes=turn.votes,
        language="en",
        extra={
            "scripted": "_script" in dialogue,
            "valence": valence,
            "activation": activation,
            "dominance": dominance,
            **({"raters": turn.ratings} if turn.ratings else {}),
            "dialogue_start": turn.start,
            "dialogue_end": turn.end,
        },
    )


def _turns(file: Path) -> Iterator[_Turn]:
    """The turns of an evaluation file: a line of times and label, then a line a rater."""
    rated: list[tuple[re.Match[str], Counter[str], dict[str, list[float]]]] = []
    for number, line in enumerate(read_lines(file), 1):
        if line.startswith("["):
            match = TURN.match(line)
            if match is None or not re.fullmatch(r"Ses\d\d\w*_[FM]\w+", match[3]):
                raise CorpusError(f"{file}, line {number}: not '[start - end] utterance label [v, a, d]'")
            rated.append((match, Counter(), {}))
        elif rated and (rater := RATER.match(line)):
            _vote(rated[-1][1], rater[1])
        elif rated and (rater := RATING.match(line)):
            for name, value in zip(("valence", "activation", "dominance"), rater.groups(), strict=True):
                rated[-1][2].setdefault(name, []).append(float(value))
    for match, votes, ratings in rated:
        start, end, name, label, *dimensions = match.groups()
        valence, activation, dominance = map(float, dimensions)
        dimensions_of = (valence, activation, dominance)
        yield _Turn(name, label, float(start), float(end), dimensions_of, dict(votes), ratings)


def _vote(votes: Counter[str], words: str) -> None:
    """Add one rater's vote; several named emotions share it."""
    named = [CATEGORIES.get(word.strip().lower(), "oth") for word in words.split(";") if word.strip()]
    for label in named:
        votes[label] += 1 / len(named)  # type: ignore[assignment]


def _transcript(file: Path, unread: Counter[str]) -> dict[str, str]:
    if not file.is_file():
        unread["dialogues without transcription"] += 1
        return {}
    words = {}
    for line in read_lines(file):
        match = WORDS.match(line)
        if match and match[1].startswith("Ses"):
            words[match[1]] = match[2].strip()
        elif line.strip():
            unread["transcription lines without an utterance"] += 1
    return words
