"""The model in the box: found where its distribution put it, named with its terms, everybody's default."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

import undertone
from undertone.cli.app import load
from undertone.errors import ModelError
from undertone.judging.locate import PACKAGE, locate, starter, terms

TERMS = "weights 9.8.7 under CC-BY-NC-SA-4.0: not for commercial use, share alike"


@pytest.fixture(scope="module")
def run() -> Callable[..., Result]:
    return lambda *words, **more: CliRunner().invoke(load(), [str(word) for word in words], **more)


def boxed(site: Path, make: Callable[[Path], Path], package: str) -> Path:
    """An installed distribution: an importable folder with a model inside."""
    folder = make(site / package / "model")
    (site / package / "__init__.py").write_text("raise SystemExit('found, never run')")
    card = json.loads((folder / "card.json").read_text())
    card |= {"licence": "CC-BY-NC-SA-4.0", "version": "9.8.7", "corpus": "tiny and tinier"}
    del card["synthesised"]
    (folder / "card.json").write_text(json.dumps(card))
    return folder


@pytest.fixture
def box(tmp_path: Path, new_model: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = boxed(tmp_path / "site", new_model, "undertone_starter_of_tests")
    monkeypatch.syspath_prepend(tmp_path / "site")
    return folder


def test_the_starter_is_found_without_running_its_code(box: Path) -> None:
    assert starter() == box
    assert locate("starter").path == box
    assert undertone.load("starter").labels == ("angry", "happy", "sad", "neutral")


def test_without_the_starter_the_message_says_what_to_install() -> None:
    assert starter() is None
    with pytest.raises(ModelError, match=r"pip install \./packages/undertone-starter"):
        undertone.load("starter")


def test_a_distribution_without_weights_is_no_starter(box: Path) -> None:
    (box / "model.safetensors").unlink()
    assert starter() is None


def test_the_starter_comes_before_the_demo(box: Path, new_model: Any, tmp_path: Path) -> None:
    new_model(tmp_path / "runs" / "demo" / "unison" / "final")
    found = locate(None, tmp_path)
    assert found.path == box
    assert found.chosen == "using the starter model (trained on tiny and tinier)"


def test_predicting_says_its_licence_once(box: Path, run: Any, clip: bytes, tmp_path: Path) -> None:
    for name in ("a.wav", "b.wav"):
        (tmp_path / name).write_bytes(clip)
    done = run("predict", tmp_path / "a.wav", tmp_path / "b.wav", "-f", "jsonl")
    assert done.exit_code == 0, done.output
    assert done.stderr.count(TERMS) == 1
    assert len(done.stdout.splitlines()) == 2, "answers on stdout, words to people on stderr"


def test_the_list_of_models_shows_version_and_licence(
    box: Path, run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (row,) = json.loads(run("list", "models", "--json").stdout)
    assert row == {
        "name": "starter",
        "about": "tiny and tinier",
        "version": "9.8.7",
        "licence": "CC-BY-NC-SA-4.0",
    }
    assert "CC-BY-NC-SA-4.0" in run("list", "models").stdout


def test_a_model_without_a_licence_has_no_terms_to_state() -> None:
    assert terms({"labels": []}) is None
    assert terms({"licence": "CC0-1.0"}) == "weights under CC0-1.0"


# ---- as it is installed here -------------------------------------------------------------------------


def test_the_installed_starter_judges_with_torch_alone(clip: bytes, tmp_path: Path) -> None:
    """In a process of its own, as a user would: sound and words, no transformers imported."""
    import importlib.util

    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        pytest.skip("undertone-starter is not installed")
    if not (Path(spec.origin).parent / "model" / "model.safetensors").is_file():
        pytest.skip("undertone-starter holds no model yet")
    (tmp_path / "a.wav").write_bytes(clip)
    code = (
        "import sys, undertone; answer = undertone.load('starter').predict(sys.argv[1], text='so glad');"
        "assert set(answer.modalities) == {'speech', 'text'}; sys.exit('transformers' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "a.wav")], check=True)


def test_the_starters_distribution_is_its_own_with_its_own_licence() -> None:
    import tomllib

    root = Path(__file__).parents[2]
    box = root / "packages" / "undertone-starter"
    project = tomllib.loads((box / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["license"] == "CC-BY-NC-SA-4.0"
    assert "CC-BY-NC-SA-4.0" in (box / "LICENSE").read_text(encoding="utf-8")
    assert project["dependencies"] == ["undertone-encoders"], "weights alone, over those of the encoders"
    ours = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    assert ours["project"]["license"] == "Apache-2.0"
    assert "packages" in ours["tool"]["hatch"]["build"]["targets"]["sdist"]["exclude"]
    assert "-e $(STARTER)" in (root / "Makefile").read_text(encoding="utf-8")


def test_the_installed_starter_knows_the_voices_it_was_trained_on(real_data: Path) -> None:
    """No measure of how good it is, but of whether what is installed is the model that was trained."""
    import importlib.util

    from undertone.corpora.emodb import Emodb
    from undertone.judging.predictor import load

    spec = importlib.util.find_spec(PACKAGE)
    model = Path(spec.origin).parent / "model" if spec is not None and spec.origin else None
    if model is None or not (model / "model.safetensors").is_file():
        pytest.skip("undertone-starter holds no model here")
    classes = {"anger": "angry", "happiness": "happy", "sadness": "sad", "neutral": "neutral"}
    clips = [clip for clip in Emodb(real_data / "emodb").read() if clip.label in classes][::8]
    ready = load(model)
    right = [
        ready.predict(clip.audio, explain=False, threshold=0.0).label == classes[str(clip.label)]
        for clip in clips
    ]
    assert len(right) > 25
    assert sum(right) / len(right) > 0.85
    assert ready.predict(None, "I am so happy, this is wonderful!").label == "happy"
