"""A tree in IEMOCAP's layout with the counts of a complete copy, or any others.

Everything the release is known for is in it: ``._`` files, transcript lines without an utterance,
``XX`` turns that nobody rated, raters who named two emotions, the actors' own ratings, rating
files in subfolders, Latin-1 quotes, an utterance without alignment, words with variant marks.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

from trees.sound import silence

Counts = Mapping[str, int]

FULL: dict[int, dict[str, int]] = {
    1: {"ang": 229, "hap": 135, "exc": 143, "sad": 194, "neu": 384, "fru": 280, "fea": 20, "xxx": 434},
    2: {"ang": 137, "hap": 117, "exc": 210, "sad": 197, "neu": 362, "fru": 325, "sur": 107, "xxx": 356},
    3: {"ang": 240, "hap": 135, "exc": 151, "sad": 305, "neu": 320, "fru": 382, "fea": 20, "xxx": 583},
    4: {"ang": 327, "hap": 65, "exc": 238, "sad": 143, "neu": 258, "fru": 481, "oth": 3, "xxx": 588},
    5: {"ang": 170, "hap": 143, "exc": 299, "sad": 245, "neu": 384, "fru": 381, "dis": 2, "xxx": 546},
}
"""Turns of each label in each session: the five compared classes and frustration as in the release."""

SMALL: dict[int, dict[str, int]] = {
    s: {"ang": 2, "hap": 1, "exc": 2, "sad": 2, "neu": 3, "fru": 1, "xxx": 1} for s in FULL
}

SCENES = (
    *(f"impro{n:02}" for n in range(1, 8)),
    *("script01_1", "script01_2", "script01_3", "script02_1", "script02_2", "script03_1", "script03_2"),
)

UNALIGNED = "Ses03M_impro03_M001"

LEXICON = {
    "oh": (("OW",),),
    "no": (("N", "OW"),),
    "yes": (("Y", "EH", "S"),),
    "please": (("P", "L", "IY", "Z"),),
    "never": (("N", "EH"), ("V", "ER")),
    "really": (("R", "IH"), ("L", "IY")),
    "morning": (("M", "AO", "R"), ("N", "IH", "NG")),
    "another": (("AX",), ("N", "AH"), ("DH", "ER")),
    "a": (("AX",),),
    "I": (("AY",),),
}
"""Words as syllables of phones."""

CATEGORIES = {
    "ang": "Anger",
    "hap": "Happiness",
    "sad": "Sadness",
    "neu": "Neutral",
    "exc": "Excited",
    "fru": "Frustration",
    "fea": "Fear",
    "sur": "Surprise",
    "dis": "Disgust",
    "oth": "Other",
}


@dataclass(frozen=True)
class Turn:
    id: str
    label: str
    words: tuple[str, ...]
    start: float
    seconds: float


def write(
    root: Path,
    counts: Mapping[int, Counts] = SMALL,
    *,
    alignments: bool = True,
    words: int = 4,
    seed: int = 0,
) -> Path:
    """The tree below ``root``; ``words`` is the mean length of a turn. Gives ``root``."""
    rng = random.Random(seed)
    for session, labels in counts.items():
        for dialogue, turns in _dialogues(session, labels, words, rng).items():
            _write_dialogue(root / f"Session{session}", dialogue, turns, alignments, rng)
    return root


def _dialogues(session: int, counts: Counts, words: int, rng: random.Random) -> dict[str, list[Turn]]:
    labels = [label for label, n in counts.items() for _ in range(n)]
    rng.shuffle(labels)
    names = [f"Ses{session:02}{actor}_{scene}" for scene in SCENES for actor in "FM"]
    shares: dict[str, list[str]] = {}
    fewest = min(6, max(1, len(labels) // 2))  # small trees fill few dialogues, each with some turns
    for name, label in zip(
        cycle(names[: max(1, min(len(names), len(labels) // fewest))]), labels, strict=False
    ):
        shares.setdefault(name, []).append(label)
    return {name: list(_turns(name, share, words, rng)) for name, share in shares.items()}


def _turns(dialogue: str, labels: list[str], words: int, rng: random.Random) -> Iterator[Turn]:
    clock, turns_of = 6.0, {"F": 0, "M": 0}
    for i, label in enumerate(labels):
        actor = "FM"[i % 2]
        spoken = tuple(rng.choice(list(LEXICON)) for _ in range(rng.randint(1, 2 * words - 1)))
        seconds = 0.3 + sum(len(s) for w in spoken for s in LEXICON[w]) * 0.1 + 0.1 * len(spoken)
        yield Turn(f"{dialogue}_{actor}{turns_of[actor]:03}", label, spoken, clock, round(seconds, 4))
        turns_of[actor] += 1
        clock += seconds + 0.2


def _write_dialogue(
    session: Path, dialogue: str, turns: list[Turn], alignments: bool, rng: random.Random
) -> None:
    sound = session / "sentences" / "wav" / dialogue
    aligned = session / "sentences" / "ForcedAlignment" / dialogue
    for folder in (sound, aligned if alignments else sound):
        folder.mkdir(parents=True, exist_ok=True)
    for turn in turns:
        silence(sound / f"{turn.id}.wav", turn.seconds)
        if alignments and turn.id != UNALIGNED:
            _write_alignment(aligned / turn.id, turn, rng)
    (sound / f"._{turns[0].id}.wav").write_bytes(b"\0\5\x16\7")
    _write_evaluation(session / "dialog" / "EmoEvaluation", dialogue, turns, rng)
    _write_transcription(session / "dialog" / "transcriptions", dialogue, turns)


def _write_evaluation(folder: Path, dialogue: str, turns: list[Turn], rng: random.Random) -> None:
    (folder / "Categorical").mkdir(parents=True, exist_ok=True)
    (folder / "Categorical" / f"{dialogue}_e2_cat.txt").write_text(f"{turns[0].id} :Neutral state; ()\n")
    (folder / f"._{dialogue}.txt").write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X        ")
    lines = ["% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]", ""]
    for turn in rng.sample(turns, len(turns)):  # not always in the order of time
        word = CATEGORIES.get(turn.label, "Neutral")
        span = f"[{turn.start:.4f} - {turn.start + turn.seconds:.4f}]"
        lines += [
            f"{span}\t{turn.id}\t{turn.label}\t[2.5000, 3.0000, 2.6667]",
            f"C-E2:\t{word};\t()",
            f"C-E3:\t{word}; Neutral;\t(curious)",
            f"C-E4:\t{word};\t()",
            "C-F1:\tSurprise;\t(the actor's own)",
            "A-E3:\tval 3; act 3; dom  3;\t()",
            "A-E4:\tval 2; act 3; dom  2;\t()",
            "A-F1:\tval 3; act 2; dom  ;\t()",
            "",
        ]
    (folder / f"{dialogue}.txt").write_text("\n".join(lines), encoding="latin-1")


def _write_transcription(folder: Path, dialogue: str, turns: list[Turn]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"._{dialogue}.txt").write_bytes(b"\0\5\x16\7")
    lines = [f"{t.id} [{t.start:08.4f}-{t.start + t.seconds:08.4f}]: {_sentence(t.words)}" for t in turns]
    lines.insert(1, "M: Great, that\x92s good.")
    lines.insert(1, f"{dialogue}_FXX0 [006.0000-006.2000]: Mm-hmm.")
    (folder / f"{dialogue}.txt").write_text("\n".join(lines) + "\n", encoding="latin-1")


def _sentence(words: tuple[str, ...]) -> str:
    return " ".join(words).capitalize() + "."


def _write_alignment(stem: Path, turn: Turn, rng: random.Random) -> None:
    frame = rng.randint(8, 15)
    tiers: dict[str, list[tuple[int, int, str]]] = {"wdseg": [], "syseg": [], "phseg": []}
    for rows, name in zip(tiers.values(), ("<s>", "SIL", "SIL"), strict=True):
        rows.append((0, frame - 1, name))
    for i, word in enumerate(turn.words):
        first = frame
        for syllable in LEXICON[word]:
            begin = frame
            for phone in syllable:
                length = rng.randint(5, 9)
                tiers["phseg"].append((frame, frame + length - 1, f"{phone} SIL K b"))
                frame += length
            tiers["syseg"].append((begin, frame - 1, "_".join(syllable)))
        mark = "(2)" if word == "a" else ""
        tiers["wdseg"].append((first, frame - 1, word.upper() + mark))
        if i % 3 == 2:
            for rows, name in zip(tiers.values(), ("<sil>", "SIL", "SIL"), strict=True):
                rows.append((frame, frame + 2, name))
            frame += 3
    last = round(turn.seconds * 100) - 1
    for rows, name in zip(tiers.values(), ("++BREATHING++", "SIL", "+BREATHING+"), strict=True):
        rows.append((frame, max(frame, last), name))
    for (suffix, rows), name in zip(tiers.items(), ("Word", "Syl", "Phone"), strict=True):
        _write_rows(stem.with_name(f"{stem.name}.{suffix}"), rows, name)


def _write_rows(path: Path, rows: list[tuple[int, int, str]], name: str) -> None:
    lines = [f"\tSFrm\t EFrm\t SegAScr\t{name}"]
    lines += [f"\t{first:5d}\t{last:5d}\t{-1000 * (last - first):9d}\t{what}" for first, last, what in rows]
    path.write_text("\n".join([*lines, f" Total score:  {-1000 * rows[-1][1]}", ""]))
