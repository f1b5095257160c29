"""What a model gives beside the class: on its scales, in every stretch, in JSON and csv."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from undertone.judging.clip import Clip, Transcript
from undertone.judging.outputs import FORMATS
from undertone.judging.predictor import Predictor, load_model
from undertone.judging.settings import Segmenting
from undertone.judging.timeline import Timeline, merged
from undertone.judging.windows import RATE, Everything, Window
from undertone.types import BESIDE, Prediction

Make = Callable[..., Any]


@pytest.fixture(scope="module")
def folder(new_model: Make, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made: Path = new_model(tmp_path_factory.mktemp("models") / "beside", "concat", beside=True)
    return made


def wave(seconds: float) -> np.ndarray:
    drawn = np.random.default_rng(3)
    t = np.arange(round(seconds * RATE)) / RATE
    return (0.05 * np.sin(2 * np.pi * 140 * t) + 0.02 * drawn.standard_normal(len(t))).astype(np.float32)


def test_dimensions_are_on_their_scales(folder: Path) -> None:
    model = load_model(folder)
    clips = [Clip("both", wave(2.0), Transcript("leave me alone")), Clip("words", None, Transcript("a day"))]
    for answer in model.predict(clips):
        plain = answer.plain()
        assert 1 <= plain["dimensions"]["arousal"] <= 7
        assert 1 <= plain["dimensions"]["valence"] <= 5
        assert plain["scales"] == {"arousal": {"low": 1.0, "high": 7.0}, "valence": {"low": 1.0, "high": 5.0}}
        assert set(plain["several"]) == set(model.labels)
        assert all(0 <= p <= 1 for p in plain["several"].values())
        assert all(value > 0 for value in plain["spread"].values())


def test_a_model_of_the_class_alone_answers_as_before(model_folder: Path) -> None:
    (answer,) = load_model(model_folder).predict([Clip("a", wave(1.0))])
    assert not set(BESIDE) & answer.plain().keys()


def test_a_long_recording_has_the_mean_and_every_stretch_its_own(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("undertone.judging.windows.detector", Everything)
    sound = np.concatenate([wave(9.0), 0.2 * wave(9.0)])
    answer = Predictor(load_model(folder)).predict(sound, rate=RATE)
    assert len(answer.segments) > 3
    values = [cell.dimensions["arousal"] for cell in answer.segments]
    assert abs(float(np.mean(values)) - answer.extra["dimensions"]["arousal"]) < 0.5
    assert all(1 <= value <= 7 for value in values)
    assert all("dimensions" in cell for cell in answer.plain()["segments"])
    assert answer.plain()["scales"]["arousal"] == {"low": 1.0, "high": 7.0}


def test_a_stretch_is_the_mean_of_the_windows_over_it() -> None:
    settings = Segmenting()
    hop, length = round(settings.hop * RATE), round(settings.window * RATE)
    timeline, cells = Timeline(settings), []
    for n in range(3):
        window = Window(n * hop, n * hop + length, np.zeros(length, np.float32), 0)
        cells += timeline.add(window, {"a": 0.5, "b": 0.5}, {"arousal": float(n)})
    assert cells[0].dimensions == {"arousal": 0.0}
    assert cells[1].dimensions["arousal"] == pytest.approx(0.5)
    (whole,) = merged([replace(c, label="a") for c in cells[:2]])
    assert whole.dimensions["arousal"] == pytest.approx(0.25)


def test_csv_has_a_column_a_dimension_and_the_emotions_at_once() -> None:
    shares = {"angry": 0.5, "sad": 0.5}
    silent = Prediction("0.wav", None, 0.0, shares, {"fused": shares})
    extra = {"dimensions": {"arousal": 4.5, "valence": 2.0}, "several": {"angry": 0.6, "sad": 0.7}}
    judged = Prediction("1.wav", "sad", 0.5, shares, {"fused": shares}, modalities=("speech",), extra=extra)
    rows = list(csv.DictReader(io.StringIO("".join(FORMATS["csv"]([silent, judged])))))
    assert [row["id"] for row in rows] == ["0.wav", "1.wav"]
    assert (rows[0]["arousal"], rows[0]["several"]) == ("", "")
    assert (rows[1]["arousal"], rows[1]["valence"], rows[1]["several"]) == ("4.5", "2.0", "sad+angry")
    assert list(rows[0])[-4:] == ["withheld", "arousal", "valence", "several"]
    bare = "".join(FORMATS["csv"]([replace(judged, extra={})]))
    assert bare.splitlines()[0] == "id,label,confidence,agree,modalities,angry,sad,withheld"
