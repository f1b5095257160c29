"""``undertone fuse`` and what it says of public models, as a user meets it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer

from tests.features import classifiers
from undertone.cli.app import load
from undertone.errors import LabelError, ModelError, UsageError
from undertone.judging.predictor import load as load_model
from undertone.manifest import Meta, write
from undertone.types import Utterance


def undertone(*words: str) -> None:
    typer.main.get_command(load()).main(list(words), standalone_mode=False)


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    root = tmp_path_factory.mktemp("sides")
    text = classifiers.make("bert", root / "text", classes=("Freude", "Trauer", "Wut"))
    return str(classifiers.make("whisper", root / "speech")), str(text)


def test_the_maps_are_shown_first_and_the_folder_is_a_model(
    sides: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    undertone(
        "fuse", "--speech", sides[0], "--text", sides[1], "--out", str(tmp_path / "m"), "--prior", "sad=0.5"
    )
    shown = capsys.readouterr()
    assert "Wut -> angry" in shown.out
    assert "milliseconds a clip" in shown.out
    assert "lacks neutral" in shown.err
    assert load_model(tmp_path / "m").predict(None, text="so good").modalities == ("text",)


def test_without_a_folder_nothing_is_written(
    sides: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    undertone("fuse", "--text", sides[1])
    assert "nothing was written" in capsys.readouterr().err


def test_mistakes_are_one_line(sides: tuple[str, str]) -> None:
    for words, error, line in (
        ([], UsageError, "at least one classifier"),
        (["--speech", sides[1]], ModelError, "is a text model"),
        (["--text", sides[1], "--rest", "away"], UsageError, "--rest away: other or drop"),
        (["--text", sides[1], "--map", "Wut"], UsageError, "--map Wut: KEY=VALUE is wanted"),
        (["--text", sides[1], "--map", "x:Wut=angry"], UsageError, "'x' is not among"),
        (["--text", sides[1], "--map", "Zorn=angry"], LabelError, "no classifier has such a class"),
        (["--text", sides[1], "--classes", "angry"], LabelError, "'Freude', 'Trauer' have none"),
        (["--text", sides[1], "--budget", "5"], UsageError, "--budget needs labelled clips"),
    ):
        with pytest.raises(error) as caught:
            undertone("fuse", *words)
        assert line in str(caught.value)
        assert "\n" not in str(caught.value)


def test_public_models_are_listed_with_what_they_must_not_be_scored_on(
    capsys: pytest.CaptureFixture[str],
) -> None:
    undertone("list", "models", "--public", "--json")
    rows = json.loads(capsys.readouterr().out)
    assert all("not run here" in row["where"] for row in rows)
    superb = next(row for row in rows if row["name"] == "superb/hubert-base-superb-er")
    assert superb["where"].startswith("never score it on iemocap")
    with pytest.raises(UsageError, match="--public is for models"):
        undertone("list", "systems", "--public")


def test_audit_finds_a_model_that_was_trained_on_the_corpus(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "m.jsonl"
    write(path, [Utterance("a", "a.wav", speaker="s", label="sad")], Meta("iemocap"))
    undertone("audit", str(path), "--no-audio", "--json", "--model", "hf:superb/hubert-base-superb-er")
    (finding, *_) = json.loads(capsys.readouterr().out)["findings"]
    assert (finding["kind"], finding["level"]) == ("model", "leak")
