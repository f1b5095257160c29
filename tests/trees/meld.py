"""A tree in MELD's layout, with the oddities of its release.

Quotes of Windows-1252 that became control characters (one of them parts lines for careless
readers), clips without a row, a row without a clip, a clip that cannot be played, clips that were
cut wrongly, ``final_videos_test…`` and ``._…`` beside the test clips, folders named by whim.
"""

from __future__ import annotations

import csv
import subprocess
from pathlib import Path

from trees.sound import noise

PLACES = {
    "train": ("train/train_sent_emo.csv", "train/train_splits"),
    "dev": ("dev_sent_emo.csv", "dev/dev_splits_complete"),
    "test": ("test_sent_emo.csv", "test/output_repeated_splits_test"),
}
COLUMNS = (
    "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode,StartTime,EndTime"
).split(",")

Line = tuple[int, int, str, str, str]

LINES: dict[str, list[Line]] = {
    "train": [
        (0, 1, "Joey", "surprise", "You\x92re kidding\x85 right?"),
        (0, 0, "Chandler", "neutral", "also I was the point person,\non my company"),
        (125, 3, "Monica", "neutral", "Is it?"),
        (309, 0, "Phoebe", "joy", "Hey!"),
    ],
    "dev": [(0, 0, "Ross", "anger", 'I said "no", twice.'), (110, 7, "Rachel", "neutral", "Oh.")],
    "test": [
        (38, 4, "Joey", "neutral", "What?"),
        (220, 0, "Ross", "sadness", "I know."),
        (220, 1, "Rachel", "fear", "No!"),
        (220, 2, "The Man", "disgust", "Yuck."),
    ],
}
MISSING = ("dev", 110, 7)
DAMAGED = ("train", 125, 3)


def write(root: Path, suffix: str = ".wav", damaged: bool = True) -> Path:
    """The tree below ``root``, its clips in the format of ``suffix``. Gives ``root``."""
    for split, (table, clips) in PLACES.items():
        _write_table(root / table, LINES[split])
        for dialogue, turn, *_ in LINES[split]:
            clip = root / clips / f"dia{dialogue}_utt{turn}{suffix}"
            if (split, dialogue, turn) == DAMAGED and damaged:
                clip.write_bytes(b"\0\0\0\x20ftypisom" + bytes(500))
            elif (split, dialogue, turn) != MISSING:
                _write_clip(clip, seed=100 * dialogue + turn)
    for extra in (
        "dev/dev_splits_complete/dia66_utt9",
        "test/output_repeated_splits_test/final_videos_testdia0_utt0",
    ):
        _write_clip((root / extra).with_suffix(suffix), seed=1)
    (root / "test/output_repeated_splits_test" / f"._dia38_utt4{suffix}").write_bytes(b"\0\5\x16\7")
    return root


def _write_table(path: Path, lines: list[Line]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for number, (dialogue, turn, speaker, emotion, text) in enumerate(lines, 1):
            times = ("00:14:38,127", "00:14:40,378")
            writer.writerow([number, text, speaker, emotion, "neutral", dialogue, turn, 8, 21, *times])


def _write_clip(path: Path, seed: int) -> None:
    if path.suffix in (".wav", ".flac"):
        noise(path, 0.4, seed=seed)
        return
    wav = path.with_suffix(".wav")
    noise(wav, 0.4, seed=seed)
    subprocess.run(["ffmpeg", "-v", "error", "-y", "-i", str(wav), "-c:a", "aac", str(path)], check=True)
    wav.unlink()
