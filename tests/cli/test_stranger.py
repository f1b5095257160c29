"""What a stranger types: tables where manifests are wanted, other people's separators, half a command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from trees.commands import Run, failed
from trees.sound import noise
from undertone import manifest as manifests
from undertone.errors import ConfigError
from undertone.experiment.study.clips import Choices
from undertone.experiment.study.run import study
from undertone.judging.inputs import find
from undertone.types import Utterance


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a table, a folder of clips, and a manifest with labels of one's own."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "leer ü").mkdir()
    noise(tmp_path / "eins.wav")
    (tmp_path / "tabelle.csv").write_text("Datei;Gefühl\neins.wav;Wütend\n", encoding="cp1252")
    labels = ("Wütend", "Fröhlich", "Traurig")
    rows = [
        Utterance(f"u {i}", f"{i}.wav", speaker=f"s{i % 4}", label=labels[i % 3], start=0.0, end=0.1)
        for i in range(24)
    ]
    manifests.write(tmp_path / "m.jsonl", rows, manifests.Meta("mine", None, ()))
    return tmp_path


@pytest.mark.parametrize(
    ("words", "named", "status"),
    [
        (("audit", "tabelle.csv"), "`undertone prepare table tabelle.csv --out tabelle.jsonl`", 1),
        (("show", "tabelle.csv"), "a table, and no manifest yet", 1),
        (("prepare", "table", "leer ü", "--out", "x.jsonl"), "`undertone study` takes folders of clips", 1),
        (("prepare", "table", "tabelle.csv", "--out", "x.jsonl"), "names its column (Datei, Gefühl)", 1),
        (("list",), "list what? There are corpora, encoders", 2),
        (("audit", "m.jsonl", "--protocol", "kfold-speaker"), "there are 4: fewer folds, by --folds", 1),
        (("fuse", "--speech", "starter", "--classes", "angry,hapy"), "did you mean 'happy'?", 2),
        (("study", "leer ü", "--out", "o"), "holds no recordings (.wav, .flac", 1),
        (("study", "tabelle.csv", "--out", "o", "--asr", "no-such"), "no-such: ", 1),
    ],
)
def test_each_is_one_line_that_names_the_way(
    run: Run, home: Path, words: tuple[str, ...], named: str, status: int
) -> None:
    failed(run(*words), named, status=status)
    assert not (home / "o").exists()


def test_a_study_without_a_folder_to_write_to_takes_one_of_its_clips_name(
    run: Run, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[Path] = []

    def stop(clips: Path, out: Path, **_: object) -> None:
        taken.append(out)
        raise ConfigError("stopped here")

    monkeypatch.setattr("undertone.experiment.study.run.study", stop)
    failed(run("study", "leer ü/"), "stopped here")
    failed(run("study", "tabelle.csv", "--out", "o"), "stopped here")
    assert taken == [Path("leer ü-study"), Path("o")]


def test_predictions_with_semicolons_and_names_in_another_language_are_scored(run: Run, home: Path) -> None:
    names = {"Wütend": "angry", "Fröhlich": "happy", "Traurig": "sad"}
    truth = manifests.read("m.jsonl").utterances
    rows = [f"{u.id};{names[str(u.label)] if i else 'sad'}" for i, u in enumerate(truth)]
    (home / "p.csv").write_text("id;label\n" + "\n".join(rows) + "\n")
    ran = run("score", "p.csv", "m.jsonl", "--json")
    assert ran.status == 0, ran.err
    assert json.loads(ran.out)[0]["wa"] == pytest.approx(23 / 24)
    assert run("report", "runs", "--out", "r.html").status == 0, "a scored run was not found below its folder"


def test_a_label_that_could_mean_two_classes_is_refused(run: Run, home: Path) -> None:
    truth = manifests.read("m.jsonl")
    other = {"Wütend": "rage", "Fröhlich": "fury", "Traurig": "sad"}
    rows = [Utterance(u.id, u.audio, speaker=u.speaker, label=other[str(u.label)]) for u in truth.utterances]
    manifests.write(home / "m.jsonl", rows, truth.meta)
    (home / "p.jsonl").write_text("".join(json.dumps({"id": u.id, "label": "angry"}) + "\n" for u in rows))
    failed(run("score", "p.jsonl", "m.jsonl"), "no class 'angry'")


def test_json_lines_of_a_table_are_judged_as_a_table(home: Path) -> None:
    (home / "t.jsonl").write_text('{"audio": "eins.wav", "text": " I know "}\n')
    (one,) = find(["t.jsonl"])
    assert one.id == "eins" and one.words is not None and one.words.text == "I know"
    assert len(find(["m.jsonl"])) == 24


def test_a_mistyped_column_of_a_study_is_no_regular_expression(home: Path) -> None:
    with pytest.raises(ConfigError, match="--label-from: no column 'Gefuehl': did you mean 'Gefühl'"):
        study(home / "tabelle.csv", home / "o", choices=Choices(label_from="Gefuehl"))
