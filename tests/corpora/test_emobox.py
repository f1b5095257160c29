"""EmoBox's metadata, with every oddity of its files, and its folds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from undertone import manifest as manifests
from undertone import splits
from undertone.corpora.emobox import EmoBox, EmoSuperb
from undertone.errors import CorpusError
from undertone.experiment.prepare import prepare
from undertone.splits import PARTS, SPEAKERS, UNKNOWN

EMOTIONS = ("anger", "happy", "sadness")


def row(dataset: str, name: str, label: str, **more: Any) -> dict[str, Any]:
    return {
        "key": f"{dataset}-{name}", "dataset": dataset, "wav": f"downloads/{dataset}/wav/{name}.wav",
        "type": "raw", "sample_rate": 16000, "num_frame": 8000.0, "task": "category", "length": 0.5,
        "emo": label, "channel": 1,
    } | more  # fmt: skip


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(one) + "\n" for one in rows))


def tree(root: Path, rows: list[dict[str, Any]], parts: dict[str, list[list[dict[str, Any]]]]) -> Path:
    """A folder of EmoBox: all rows, and those of each part of each fold; and the recordings."""
    dataset = rows[0]["dataset"]
    folder = root / "data" / dataset
    write(folder / f"{dataset}.jsonl", rows)
    for part, folds in parts.items():
        for number, members in enumerate(folds, 1):
            write(folder / f"fold_{number}" / f"{dataset}_{part}_fold_{number}.jsonl", members)
    for one in rows:
        path = root / (one.get("wav") or one["audio"])
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            wave = np.random.default_rng(0).normal(0, 0.1, 40_000 if "start_time" in one else 8_000)
            soundfile.write(path, wave, 16_000)
    (folder / "label_map.json").write_text("{}")
    return folder


def emodb(root: Path) -> Path:
    """Six speakers, three folds of two each."""
    rows = [
        row("emodb", f"{speaker:02}a{n:02}W{'abc'[n]}", EMOTIONS[n])
        for speaker in range(3, 9)
        for n in range(3)
    ]
    tests = [rows[0:6], rows[6:12], rows[12:18]]
    trains = [[one for one in rows if one not in test] for test in tests]
    return tree(root, rows, {"test": tests, "train": trains})


def test_folds_are_those_of_the_files_and_speakers_are_in_one_part(tmp_path: Path) -> None:
    made = prepare("emobox", emodb(tmp_path), tmp_path / "m.jsonl")
    utterances = manifests.read(made.manifest).utterances
    assert len(utterances) == 18
    assert made.labels == {"anger": 6, "happy": 6, "sadness": 6}
    assert {u.speaker for u in utterances} == {f"{n:02}" for n in range(3, 9)}
    split = splits.make(utterances, "emobox")
    assert [fold.name for fold in split.folds] == ["fold-1", "fold-2", "fold-3"]
    assert split.stamps == ()
    speakers = {u.id: u.speaker for u in utterances}
    for number, fold in enumerate(split.folds):
        parts = {part: {speakers[i] for i in fold.part(part)} for part in PARTS}
        assert parts["test"] == {f"{3 + 2 * number:02}", f"{4 + 2 * number:02}"}
        assert not parts["train"] & parts["validation"]
        assert len(fold.train) + len(fold.validation) + len(fold.test) == 18


def test_the_speaker_of_iemocap_is_who_speaks_not_whose_dialogue_it_is(tmp_path: Path) -> None:
    names = ["Ses01F_impro01_F000", "Ses01F_impro01_M000", "Ses02M_script01_1_F003", "Ses02M_script01_1_M004"]
    rows = [row("iemocap", name, "anger") for name in names]
    folder = tree(tmp_path, rows, {"train": [rows[2:]], "test": [rows[:2]]})
    read = {u.id: u for u in EmoBox(folder).read()}
    assert [u.speaker for u in read.values()] == ["Ses01_F", "Ses01_M", "Ses02_F", "Ses02_M"]
    assert [u.session for u in read.values()] == ["1", "1", "2", "2"]
    assert read["iemocap-Ses01F_impro01_M000"].extra["split"] == {"fold-1": "test"}


def test_other_names_stretches_and_validation_parts(tmp_path: Path) -> None:
    odd = [
        {**{k: v for k, v in row("pavoque", f"p{n}", "").items() if k not in ("wav", "emo")},
         "audio": "downloads/pavoque/long.wav", "label": EMOTIONS[n % 3],
         "start_time": 0.2 * n, "end_time": 0.2 * n + 0.2}
        for n in range(9)
    ]  # fmt: skip
    folder = tree(tmp_path, odd, {"train": [odd[:4]], "valid": [odd[4:6]], "test": [odd[6:]]})
    made = prepare("emobox", folder, tmp_path / "m.jsonl")
    utterances = manifests.read(made.manifest).utterances
    assert [round(u.start or 0, 1) for u in utterances][:3] == [0.0, 0.2, 0.4]
    assert {u.text for u in utterances} == {u.speaker for u in utterances} == {None}
    split = splits.make(utterances, "emobox")
    assert {part: len(split.folds[0].part(part)) for part in PARTS} == {
        "train": 4,
        "validation": 2,
        "test": 3,
    }
    assert UNKNOWN in split.stamps


def test_validation_of_unknown_speakers_is_a_tenth_of_training(tmp_path: Path) -> None:
    rows = [row("mesd", f"c{n:03}", EMOTIONS[n % 3]) for n in range(90)]
    folder = tree(tmp_path, rows, {"train": [rows[:60]], "test": [rows[60:]]})
    split = splits.make(list(EmoBox(folder).read()), "emobox")
    assert 6 <= len(split.folds[0].validation) <= 20
    assert split.stamps == (UNKNOWN,)


def test_shared_speakers_are_stamped_and_contradictions_refused(tmp_path: Path) -> None:
    folder = emodb(tmp_path)
    fold = folder / "fold_1" / "emodb_train_fold_1.jsonl"
    lines = fold.read_text().splitlines()
    test = folder / "fold_1" / "emodb_test_fold_1.jsonl"
    tested = test.read_text().splitlines()
    test.write_text("\n".join(tested[:5]) + "\n")
    fold.write_text("\n".join([*lines, tested[5]]) + "\n")
    assert SPEAKERS in splits.make(list(EmoBox(folder).read()), "emobox").stamps
    fold.write_text("\n".join([*lines, tested[0]]) + "\n")
    with pytest.raises(CorpusError, match="in two parts of fold-1"):
        list(EmoBox(folder).read())
    with pytest.raises(CorpusError, match="not a folder of EmoBox"):
        EmoBox(tmp_path)


# ---- EMO-SUPERB ------------------------------------------------------------------------------------------

COLUMNS = ("FileName", "Angry", "Sad", "Happy", "Neutral", "Contempt", "EmoAct", "EmoVal", "EmoDom",
           "SpkrID", "Gender", "Split_Set")  # fmt: skip


def superb(root: Path, count: int = 5) -> Path:
    """Tables of five folds of IEMOCAP's sessions, one turn of either partner each, and the recordings."""
    for fold in range(1, count + 1):
        lines = [",".join(COLUMNS)]
        for session in range(1, 6):
            part = "Test" if session == fold else "Development" if session == fold % 5 + 1 else "Train"
            for partner in "FM":
                name = f"Ses0{session}F_impro01_{partner}000"
                shares = (
                    "0.475,0.475,0.02,0.02,0.01" if partner == "M" else "0.95,0.0125,0.0125,0.0125,0.0125"
                )
                lines.append(f"{name}.wav,{shares},4.5,2,3,Ses0{session}F,Female,{part}")
                path = root / "Session" / f"{name}.wav"
                path.parent.mkdir(parents=True, exist_ok=True)
                soundfile.write(path, np.zeros(1_600), 16_000)
        (root / f"labels_consensus_{fold}.csv").write_text("\n".join(lines) + "\n")
    return root


def test_tables_of_emosuperb_give_votes_dimensions_and_their_folds(tmp_path: Path) -> None:
    made = prepare("emosuperb", superb(tmp_path), tmp_path / "m.jsonl")
    utterances = manifests.read(made.manifest).utterances
    assert len(utterances) == 10
    read = {u.id: u for u in utterances}
    sure, tie = read["Ses01F_impro01_F000"], read["Ses01F_impro01_M000"]
    assert set(sure.votes) == set(COLUMNS[1:6])  # contempt is no class of ours, and its votes count
    assert (sure.label, tie.label) == ("Angry", None)
    assert sure.votes["Angry"] == 0.95 and sum(sure.votes.values()) == pytest.approx(1.0)
    assert (sure.extra["arousal"], sure.extra["valence"], sure.extra["dominance"]) == (4.5, 2.0, 3.0)
    assert (sure.speaker, tie.speaker) == ("Ses01_F", "Ses01_M")  # not the dialogue's prefix
    split = splits.make(utterances, "emobox")
    assert [fold.name for fold in split.folds] == [f"fold-{n}" for n in range(1, 6)]
    speakers = {u.id: u.speaker for u in utterances}
    for fold in split.folds:
        parts = [{speakers[i] for i in fold.part(part)} for part in PARTS]
        assert [len(one) for one in parts] == [6, 2, 2]
        assert not (parts[0] & parts[1] or parts[0] & parts[2] or parts[1] & parts[2])


def test_one_table_of_emosuperb_is_a_fixed_split(tmp_path: Path) -> None:
    table = superb(tmp_path, 1) / "labels_consensus_1.csv"
    table = table.rename(tmp_path / "labels_consensus.csv")
    utterances = list((reader := EmoSuperb(table)).read())
    assert len(reader.notes) == 1 and "IEMOCAP 1 to 5" in reader.notes[0]
    (fold,) = splits.make(utterances, "fixed").folds
    assert (len(fold.train), len(fold.validation), len(fold.test)) == (6, 2, 2)
    good = table.read_text()
    table.write_text(good.replace("0.95", "much", 1))
    with pytest.raises(CorpusError, match=r"labels_consensus\.csv:2: could not convert"):
        list(EmoSuperb(table).read())
    table.write_text("FileName,Split_Set\nSes01F_impro01_F000.wav,Train\n")
    with pytest.raises(CorpusError, match="no column of votes among FileName, Split_Set"):
        list(EmoSuperb(table).read())
    table.write_text(good)
    (tmp_path / "Session" / "Ses01F_impro01_F000.wav").unlink()
    with pytest.raises(CorpusError, match="no recording Ses01F_impro01_F000 below"):
        list(EmoSuperb(table).read())
    with pytest.raises(CorpusError, match=r"no labels_consensus_1\.csv"):
        EmoSuperb(tmp_path / "Session")
