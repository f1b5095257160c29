"""The starter's corpora in small: same layouts and names, noise for speech, stock phrases for words."""

from __future__ import annotations

import json
from pathlib import Path

from trees.sound import noise

EMOTIONS = ("01", "02", "03", "04", "05", "06", "07", "08")
ACTORS = ("01", "02", "03", "04")
SPEAKERS = ("03", "08", "09", "10")
READERS = ("dr1-fabc0", "dr1-mdef0")
WORDS = {
    "anger": "how dare you this makes me furious",
    "joy": "what a wonderful happy day",
    "sadness": "i miss her and cry all night",
    "neutral": "the meeting starts at nine",
}
NAMES = ("anger", "joy", "sadness", "neutral", "surprise")


def write_data(root: Path) -> Path:
    """As ``UNDERTONE_DATA`` names it: RAVDESS of 4 actors, EmoDB of 4 speakers, nEMO of 2,
    TIMIT of 2, GoEmotions, dialogues."""
    for number, actor in enumerate(ACTORS):
        for emotion in EMOTIONS:
            noise(root / f"ravdess/Actor_{actor}/03-01-{emotion}-01-01-01-{actor}.flac", 1.3, seed=number)
    for number, speaker in enumerate(SPEAKERS):
        for letter in "WFTN":
            noise(root / f"emodb/wav/{speaker}a01{letter}a.flac", 1.2, seed=number)
    rows = ["path,speaker,sex,dialect,transcript,duration_s,sample_rate"]
    for number, reader in enumerate(READERS):
        noise(root / f"timit_sample/{reader}/sa1.flac", 1.1, seed=number)
        rows.append(f"{reader}/sa1.flac,{reader[4:]},{reader[4]},1,She had your dark suit.,1.1,16000")
    (root / "timit_sample" / "manifest.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    rows = ["path,label,speaker,sex,transcript"]
    for number, speaker in enumerate(("IC0", "MK1")):
        for label in ("anger", "fear", "happiness", "neutral", "sadness", "surprised"):
            noise(root / f"nemo/{speaker}/{speaker}_{label}_1.flac", 1.2, seed=10 + number)
            rows.append(f"{speaker}/{speaker}_{label}_1.flac,{label},{speaker},female,tak")
    (root / "nemo" / "manifest.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    _dialogues(root / "dialogues")
    _sentences(root / "goemotions")
    return root


def _dialogues(root: Path) -> None:
    root.mkdir()
    rows = ["corpus,split,dialogue,turn,speaker,emotion,text"]
    names = {"anger": "anger", "joy": "happiness", "sadness": "sadness", "neutral": "neutral"}
    theirs = {"anger": "mad", "joy": "joyful", "sadness": "sad", "neutral": "neutral"}
    for split in ("train", "valid", "test"):
        for turn, (name, text) in enumerate(WORDS.items()):
            rows.append(f"dailydialog,{split},{split}-1,{turn},A,{names[name]},well {text}")
            rows.append(
                f"emorynlp,{'dev' if split == 'valid' else split},e-{split},{turn},B,{theirs[name]},{text}"
            )
        rows.append(f"dailydialog,{split},{split}-1,9,B,fear,is there anyone")
    (root / "utterances.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")


def _sentences(root: Path) -> None:
    root.mkdir()
    (root / "labels.txt").write_text("\n".join(NAMES) + "\n", encoding="utf-8")
    for split, count in (("train", 20), ("dev", 8)):
        lines = [
            f"{text}, {number}!\t{NAMES.index(name)}\t{split}{name}{number}"
            for number in range(count)
            for name, text in WORDS.items()
        ]
        lines += ["how can it be\t4\tdropped", "so happy and so cross\t0,1\ttwo"]
        (root / f"{split}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_folds(run: Path) -> Path:
    """Two folds of half of the speakers each, without models; the card and weights are stand-ins."""
    halves = (slice(0, 2), slice(2, 4))
    for number, half in enumerate(halves):
        listed = {
            "ravdess": [
                f"03-01-{emotion}-01-01-01-{actor}" for actor in ACTORS[half] for emotion in EMOTIONS
            ],
            "emodb": [f"{speaker}a01{letter}a" for speaker in SPEAKERS[half] for letter in "WFTN"],
            "timit": [f"{READERS[number]}/sa1"],
            "goemotions": "dev",
        }
        model = run / f"fold-{number}" / "model"
        model.mkdir(parents=True)
        (model.parent / "fold.json").write_text(json.dumps(listed), encoding="utf-8")
        (model / "card.json").write_text('{"labels": []}', encoding="utf-8")
        (model / "model.safetensors").write_bytes(b"%d" % number)
    return run
