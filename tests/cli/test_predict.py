"""``undertone predict`` on what people have: calls, tables, files of one name."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner, Result

from tests.trees.models import _no_starter, model_folder, new_model  # noqa: F401  fixtures
from undertone.cli.app import load
from undertone.errors import ConfigError, DataError, UsageError

RATE = 16_000


@pytest.fixture
def run(model_folder: Path) -> Callable[..., Result]:  # noqa: F811
    def predict(*words: object) -> Result:
        given = ["predict", *(str(word) for word in words), "--model", str(model_folder)]
        return CliRunner().invoke(load(), given)

    return predict


def tone(seconds: float, pitch: float) -> np.ndarray:
    return (0.2 * np.sin(2 * np.pi * pitch * np.arange(round(seconds * RATE)) / RATE)).astype(np.float32)


@pytest.fixture
def call(tmp_path: Path) -> Path:
    path = tmp_path / "call.wav"
    soundfile.write(path, np.stack([tone(3, 140), tone(3, 230)], 1), RATE)
    return path


def test_a_call_is_refused_with_the_choices_and_judged_by_each(
    call: Path, run: Callable[..., Result]
) -> None:
    refused = run(call)
    assert refused.exit_code == 1 and "--channels split" in refused.stderr
    for channels in ("split", "0,1"):
        ran = run(call, "--channels", channels)
        assert ran.exit_code == 0, ran.output
        assert set(json.loads(ran.stdout)["speakers"]) <= {"channel 0", "channel 1"}
    assert run(call, "--channels", "mix").exit_code == 0
    assert isinstance(run(call, "--channels", "left").exception, UsageError)
    assert "no channel 2" in run(call, "--channels", "0,2").stderr


def test_who_speaks_when_comes_from_a_file(call: Path, tmp_path: Path, run: Callable[..., Result]) -> None:
    rttm = tmp_path / "call.rttm"
    rttm.write_text(
        "SPEAKER call 1 0.0 1.4 <NA> <NA> ann <NA> <NA>\nSPEAKER call 1 1.5 1.5 <NA> <NA> ben <NA> <NA>\n"
    )
    ran = run(call, "--channels", "mix", "--speakers", rttm)
    assert [turn["speaker"] for turn in json.loads(ran.stdout)["turns"]] == ["ann", "ben"]
    missing = run(call, "--channels", "mix", "--speakers", tmp_path / "none.rttm")
    assert isinstance(missing.exception, DataError)
    other = tmp_path / "b.wav"
    soundfile.write(other, tone(1, 200), RATE)
    several = run(call, other, "--channels", "mix", "--speakers", rttm)
    assert isinstance(several.exception, ConfigError) and "folder" in str(several.exception)


def test_files_of_one_name_write_two_captions(tmp_path: Path, run: Callable[..., Result]) -> None:
    for folder in ("p", "q"):
        (tmp_path / folder).mkdir()
        soundfile.write(tmp_path / folder / "a.wav", tone(2, 150), RATE)
    ran = run(tmp_path / "p" / "a.wav", tmp_path / "q" / "a.wav", "-f", "srt", "-o", tmp_path / "out")
    assert ran.exit_code == 0, ran.output
    assert len(list((tmp_path / "out").rglob("*.srt"))) == 2


def test_a_table_brings_paths_and_labels_and_the_accuracy_is_printed(
    tmp_path: Path, run: Callable[..., Result]
) -> None:
    names = []
    for n in range(3):
        soundfile.write(tmp_path / f"{n}.wav", tone(1 + n / 2, 150 + 40 * n), RATE)
        names.append(f"{n}.wav")
    table = tmp_path / "clips.csv"
    table.write_text("file,emotion\n" + "".join(f"{name},?\n" for name in names))
    labels = [json.loads(line)["label"] for line in run(table, "--map", "file=audio").stdout.splitlines()]
    rows = zip(names, [labels[0], labels[1], "bored"], strict=True)
    table.write_text("file,emotion\n" + "".join(f"{name},{label}\n" for name, label in rows))
    ran = run(table, "--map", "file=audio", "--map", "emotion=label")
    assert ran.exit_code == 0, ran.output
    assert "right: 2 of 2 with labels (100.0%)" in ran.stderr
    assert "1 have labels that the model does not know" in ran.stderr
    assert "('bored')" in ran.stderr
    assert isinstance(run(table, "--map", "file").exception, UsageError)


def test_labels_by_other_names_are_counted_and_strange_ones_are_not_passed_over(
    tmp_path: Path, run: Callable[..., Result]
) -> None:
    """A German table, as a spreadsheet writes it: semicolons, a mark at its start, capitals."""
    soundfile.write(tmp_path / "a ü.wav", tone(1, 150), RATE)
    table = tmp_path / "Tabelle.csv"
    words = (table, "--map", "Datei=audio", "--map", "Gefühl=label")
    for label, line in (
        (" WÜTEND ", "of 1 with labels"),
        ("Nachdenklich", "1 with labels ('Nachdenklich'), none is one of the model's (angry, happy, sad"),
    ):
        table.write_text(f"Datei;Gefühl\na ü.wav;{label}\n", encoding="utf-8-sig")
        ran = run(*words)
        assert ran.exit_code == 0 and line in ran.stderr, ran.stderr
        assert ("'WÜTEND' as angry" in ran.stderr) == ("WÜTEND" in label)


def test_a_stereo_file_of_one_voice_is_mixed(tmp_path: Path, run: Callable[..., Result]) -> None:
    path = tmp_path / "alike.flac"
    soundfile.write(path, np.stack([tone(2, 150), 0.7 * tone(2, 150)], 1), RATE)
    assert run(path).exit_code == 0
