"""An exported model says what the original says, in a process that has no torch."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from undertone.errors import ConfigError, ModelError
from undertone.models.table import SYSTEMS
from undertone.serving.clips import Clip
from undertone.serving.export import TOLERANCE, export
from undertone.serving.predictor import load_model

Make = Callable[..., Any]

WITHOUT_TORCH = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "transformers", "accelerate"):
            raise ImportError(f"{name} must not be imported here")

sys.meta_path.insert(0, Refuse())
sys.argv = ["undertone", *sys.argv[1:]]
from undertone.cli import main
main()
"""


QUICK = ("unison", "concat")
SYSTEM = [s if s in QUICK else pytest.param(s, marks=pytest.mark.slow) for s in sorted(SYSTEMS)]
"""Tracing a system takes seconds: the whole table belongs to the slow tests."""


@pytest.mark.parametrize("system", SYSTEM)
def test_every_system_exports_within_the_tolerance(system: str, new_model: Make, tmp_path: Path) -> None:
    done = export(new_model(tmp_path / system, system), "onnx")
    assert done.path == tmp_path / f"{system}-onnx"
    assert 0 <= done.difference <= TOLERANCE
    card = json.loads((done.path / "card.json").read_text())
    assert card["exported"]["largest_difference"] == done.difference
    assert card["exported"]["tolerance"] == TOLERANCE


@pytest.mark.parametrize("to", ["onnx", "openvino"])
def test_an_exported_model_answers_as_the_original(to: str, model_folder: Path, tmp_path: Path) -> None:
    wave = np.random.default_rng(1).standard_normal(40_000).astype(np.float32) * 0.1
    clips = [
        Clip("a", wave, "leave me alone now", "given"),
        Clip("b", wave[:9_000]),
        Clip("c", None, "a day"),
    ]
    done = export(model_folder, to, tmp_path / to)
    ours, theirs = load_model(model_folder), load_model(done.path)
    assert (ours.name, ours.labels, ours.tiers) == (theirs.name, theirs.labels, theirs.tiers)
    for one, other in zip(ours.predict(clips, True), theirs.predict(clips, True), strict=True):
        assert one.perspectives.keys() == other.perspectives.keys()
        for side, shares in one.perspectives.items():
            assert list(shares.values()) == pytest.approx(
                list(other.perspectives[side].values()), abs=TOLERANCE
            )
        for mine, yours in zip(one.words, other.words, strict=True):
            assert mine.contribution == pytest.approx(yours.contribution, abs=1e-3)


def test_predict_runs_an_exported_folder_where_torch_cannot_be_imported(
    model_folder: Path, tmp_path: Path, clip: bytes
) -> None:
    done = export(model_folder, "onnx", tmp_path / "graph")
    sound = tmp_path / "clip.wav"
    sound.write_bytes(clip)
    words = ["predict", str(sound), "--model", str(done.path), "--text", "a lovely day", "--format", "json"]
    ran = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, *words], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    answer = json.loads(ran.stdout)
    original = load_model(model_folder)
    assert answer["model"] == original.name
    assert set(answer["perspectives"]) == {"fused", "speech", "text"}


def test_a_graph_that_differs_too_much_is_not_kept(model_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="differ"):
        export(model_folder, "onnx", tmp_path / "graph", tolerance=-1.0)
    assert list(tmp_path.iterdir()) == []


def test_unknown_targets_are_refused(model_folder: Path) -> None:
    with pytest.raises(ConfigError, match="tflite"):
        export(model_folder, "tflite")
