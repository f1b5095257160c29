"""Other classes than those learned, given as words at prediction."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from undertone.cli import main
from undertone.errors import ConfigError, ModelError
from undertone.judging.clip import Clip, Transcript
from undertone.judging.labels import with_labels
from undertone.judging.predictor import load_model

Make = Callable[..., Path]


def test_classes_are_those_that_are_named_and_the_answer_is_marked(new_model: Make, tmp_path: Path) -> None:
    model = load_model(new_model(tmp_path / "clap", "clap"))
    other = with_labels(model, ["bored", " angry", "a lovely day"])
    (answer,) = other.predict([Clip("a", None, Transcript("leave me alone"))])
    assert set(answer.probabilities) == {"bored", "angry", "a lovely day"}
    assert sum(answer.probabilities.values()) == pytest.approx(1.0)
    assert answer.model.endswith("zero-shot")
    assert other.card["zero-shot"]["new"] == ["bored", "a lovely day"]
    assert other.card["zero-shot"]["learned"] == ["angry", "happy", "sad", "neutral"]
    assert "zero-shot" not in load_model(tmp_path / "clap").name


def test_a_class_is_judged_by_its_words_not_by_its_place(new_model: Make, tmp_path: Path) -> None:
    clip = Clip("a", None, Transcript("what a lovely day"))
    folder = new_model(tmp_path / "clap", "clap")
    first, second = (
        with_labels(load_model(folder), labels).predict([clip])[0].probabilities
        for labels in (["lovely", "alone", "meeting"], ["meeting", "lovely", "alone"])
    )
    assert first == pytest.approx(second)
    assert len({round(p, 6) for p in first.values()}) == 3


def test_what_cannot_have_other_classes_is_refused(new_model: Make, tmp_path: Path) -> None:
    model = load_model(new_model(tmp_path / "unison", "unison"))
    with pytest.raises(ModelError, match="has the classes that it learned"):
        with_labels(model, ["bored", "excited"])
    clap: Any = load_model(new_model(tmp_path / "clap", "clap"))
    for labels in (["bored"], ["bored", "bored"], ["", " "]):
        with pytest.raises(ConfigError, match="two or more classes"):
            with_labels(clap, labels)


def test_the_command_takes_them(
    new_model: Make,
    tmp_path: Path,
    clip: bytes,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "clip.wav").write_bytes(clip)
    folder = new_model(tmp_path / "clap", "clap")
    words = ["predict", str(tmp_path / "clip.wav"), "--model", str(folder), "--format", "json"]
    monkeypatch.setattr(sys, "argv", ["undertone", *words, "--labels", "bored,excited,calm"])
    with pytest.raises(SystemExit) as left:
        main()
    assert not left.value.code
    answer = json.loads(capsys.readouterr().out)
    assert set(answer["probabilities"]) == {"bored", "excited", "calm"}
    assert answer["model"].endswith("zero-shot")
