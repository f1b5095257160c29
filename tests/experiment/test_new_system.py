"""A new system is one file and one line in the table: everything else takes it as it takes the others."""

from __future__ import annotations

import ast
import base64
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from planted import LABELS, corpus
from toy import Toy, ToyConfig, ToyOfWords

import undertone
from undertone import manifest as manifests
from undertone.evaluation.report import render
from undertone.experiment.crossval import crossval
from undertone.experiment.example import write_example
from undertone.experiment.recipe import Recipe, load_recipe
from undertone.experiment.stress import stress
from undertone.judging.predictor import load
from undertone.models.table import SYSTEMS
from undertone.store import Store

RECIPE = """
system = "toy"
manifest = "{manifest}"
[text]
width = 8
vocabulary = 60
[training]
epochs = 3
batch = 8
rate = 0.005
"""
RATE = 16_000


@pytest.fixture(scope="module", autouse=True)
def _listed() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SYSTEMS, "toy", (Toy, ToyConfig))
        yield


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus of tones, whose pitch and one word tell the label, and the recipe beside it."""
    folder = tmp_path_factory.mktemp("new")
    manifest = corpus(folder, 36)
    for utterance in manifests.read(manifest).utterances:
        pitch = 150 * 2 ** LABELS.index(utterance.label or "")
        seconds = np.arange(round((utterance.end or 0) * RATE)) / RATE
        soundfile.write(folder / utterance.audio, 0.3 * np.sin(2 * np.pi * pitch * seconds), RATE)
    (folder / "toy.toml").write_text(RECIPE.format(manifest=manifest.as_posix()))
    return folder


@pytest.fixture(scope="module")
def recipe(place: Path) -> Recipe:
    return load_recipe(place / "toy.toml")


@pytest.fixture(scope="module")
def run(place: Path, recipe: Recipe) -> Path:
    done = crossval([recipe], place / "runs", store=Store(place / "store"))
    assert done.failures == ()
    return done.runs[0]


def test_a_new_system_is_measured_and_reported(place: Path, recipe: Recipe, run: Path) -> None:
    assert write_example(recipe, run) == run / "example.json"
    assert set(stress(run)) == {"added noise", "band", "missing", "transcript"}
    (result,) = render([run], place / "report.html")
    assert result.name == "toy" and result.seeds["ua"].mean > 0.6
    assert set(result.perspectives) == {"fused", "speech", "text"}


def test_a_new_system_predicts_is_served_and_exported(place: Path, run: Path) -> None:
    from starlette.testclient import TestClient

    from undertone.serving.export import export
    from undertone.serving.server.app import build
    from undertone.serving.server.settings import ServerSettings

    clip, words = place / "u000.wav", manifests.read(place / "corpus.jsonl").utterances[0].text or ""
    predictor = load(run)
    whole = predictor.predict(clip, words)
    assert whole.model.startswith("toy@") and set(whole.perspectives) == {"fused", "speech", "text"}
    assert len(whole.words) == 4 and any(word.contribution for word in whole.words)
    with TestClient(build(predictor.model, ServerSettings()), "http://127.0.0.1:8000") as client:
        audio = base64.b64encode(clip.read_bytes()).decode()
        reply = client.post("/v1/predict", json={"audio": audio, "text": words})
    assert reply.status_code == 200, reply.text
    assert reply.json()["probabilities"] == pytest.approx(dict(whole.probabilities), abs=1e-5)
    graph = load(export(run / "final", "onnx", place / "graph").path).predict(clip, words)
    assert dict(graph.probabilities) == pytest.approx(dict(whole.probabilities), abs=1e-4)


def test_a_recipe_wants_the_features_of_its_systems_sides_alone(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SYSTEMS, "toy", (ToyOfWords, ToyConfig))
    recipe = load_recipe(place / "toy.toml")
    assert recipe.uses_text and not recipe.uses_speech


def test_no_code_outside_the_models_knows_a_system_by_its_name() -> None:
    """A name in a comparison or a table would have to be added to when a system is added.

    A study runs some recipes of its own choice, so its plan names them.
    """
    also_other_things = {"speech", "text", "score", "probe", "pooled", "paired"}
    known = []
    for path in sorted(Path(undertone.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and node.value in set(SYSTEMS) - also_other_things:
                known.append((path, node.lineno, node.value))
            elif isinstance(node, ast.Compare) and "system" in ast.unparse(node):
                names = {part.value for part in ast.walk(node) if isinstance(part, ast.Constant)}
                if names & also_other_things and ".sides" not in ast.unparse(node):
                    known.append((path, node.lineno, ast.unparse(node)))
    elsewhere = [place for place in known if "models" not in place[0].parts]
    assert [place for place in elsewhere if place[0].parts[-2:] != ("study", "plan.py")] == []
    assert known, "the table of the models names them"
