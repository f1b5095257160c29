"""From four small corpora on disk to models that open and judge, in every part that resumes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from studies.starter.recipe import StarterRecipe, read
from studies.starter.train import Place, train, train_part, train_text
from trees.starter import write_data
from undertone.judging.predictor import load

TINY = {
    "variants": 2,
    "sounds": 6,
    "acoustic": {"stack": 2, "mels": 16},
    "judges": {"networks": 1, "hidden": 8, "axes": 3, "epochs": 1, "batch": 8, "sounds": 4},
    "text": {"pieces": 60, "width": 8, "networks": 2, "epochs": 1, "batch": 16, "validation": 16},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two folds and the final model of tiny settings."""
    base = tmp_path_factory.mktemp("starter")
    place = Place(base / "run", write_data(base / "data"), StarterRecipe.parse(TINY))
    train(place, ("fold-0", "fold-1", "final"))
    return place.run


def test_the_folders_hold_a_model_and_who_was_kept_aside(run: Path) -> None:
    aside = [json.loads((run / f"fold-{k}" / "fold.json").read_text(encoding="utf-8")) for k in (0, 1)]
    assert all(fold["ravdess"] and fold["goemotions"] == "dev" for fold in aside)
    assert not set(aside[0]["ravdess"]) & set(aside[1]["ravdess"])
    assert not (run / "final" / "fold.json").exists()
    for part in ("fold-0", "fold-1", "final"):
        card = json.loads((run / part / "model" / "card.json").read_text(encoding="utf-8"))
        assert card["licence"] == "CC-BY-NC-SA-4.0"
        assert card["training"]["part"] == part not in card["training"]["calibrated_on"]
        assert set(card["training"]["data"]) == {"ravdess", "emodb", "timit", "goemotions"}
        assert 0.25 < card["abstain"]["threshold"] < 1.0


def test_a_model_judges_speech_words_and_both(run: Path) -> None:
    model = load(run / "final" / "model")
    wave = np.random.default_rng(0).normal(size=20_000).astype(np.float32) * 0.1
    both = model.predict(wave, text="the meeting starts at nine")
    heard, said = model.predict(wave), model.predict(None, text="the meeting starts at nine")
    assert set(both.perspectives) == {"fused", "speech", "text"}
    assert both.perspectives["speech"] == pytest.approx(heard.probabilities, abs=1e-5)
    assert both.perspectives["text"] == pytest.approx(said.probabilities, abs=1e-5)
    assert sum(both.extra["ravdess8"].values()) == pytest.approx(1.0, abs=1e-5)
    assert set(both.extra["uncalibrated"]) == {"fused", "speech", "text"}
    assert "ravdess8" not in said.extra and set(said.extra["uncalibrated"]) == {"fused", "text"}


def test_the_model_abstains_below_its_own_threshold(run: Path, tmp_path: Path) -> None:
    import shutil

    folder = Path(shutil.copytree(run / "final" / "model", tmp_path / "model"))
    card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    labels = []
    for least in (0.0, 1.0):
        card["abstain"]["threshold"] = least
        (folder / "card.json").write_text(json.dumps(card), encoding="utf-8")
        found = load(folder).predict(None, text="so what")
        labels.append(found.label)
        assert max(found.probabilities.values()) == found.confidence > 0
    assert labels[0] is not None and labels[1] is None


def test_what_is_there_is_not_made_again(run: Path) -> None:
    made = {
        path: path.stat().st_mtime_ns for path in run.rglob("*.safetensors") if path.parent.name != "model"
    }
    assert made
    place = Place(run, run.parent / "data", StarterRecipe.parse(TINY))
    train(place, ("fold-0", "fold-1", "final"))
    assert made == {path: path.stat().st_mtime_ns for path in made}


def test_a_killed_training_goes_on_with_the_judge_it_was_at(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after two judges of a part, and gone on: the weights of a training that was left alone."""
    from studies.starter import train as steps

    whole = load_file(next((run / "fold-1").glob("speech-*.safetensors")))
    fit, left = steps.fit_judge, [2]

    def mortal(*given: Any) -> None:
        if left[0] == 0:
            raise KeyboardInterrupt
        left[0] -= 1
        fit(*given)

    place = Place(run.parent / "killed", run.parent / "data", StarterRecipe.parse(TINY))
    monkeypatch.setattr(steps, "fit_judge", mortal)
    with pytest.raises(KeyboardInterrupt):
        train_part(place, "fold-1")
    assert len(list(place.part("fold-1").glob("judge-*.safetensors"))) == 2
    left[0] = 100
    train_part(place, "fold-1")
    assert left[0] == 100 - 2, "the two that were done are not made again"
    found = load_file(next(place.part("fold-1").glob("speech-*.safetensors")))
    assert found.keys() == whole.keys()
    assert all(torch.equal(found[name], value) for name, value in whole.items())
    assert not list(place.part("fold-1").glob("judge-*"))


def test_a_killed_training_of_words_goes_on_with_the_network_it_was_at(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before the second network: the weights of a training that was left alone."""
    from studies.starter import text

    whole = load_file(next((run / "text").glob("text-*.safetensors")))
    fit, left = text.fit_text, [1]

    def mortal(*given: Any) -> Any:
        if left[0] == 0:
            raise KeyboardInterrupt
        left[0] -= 1
        return fit(*given)

    place = Place(run.parent / "killed-text", run.parent / "data", StarterRecipe.parse(TINY))
    monkeypatch.setattr(text, "fit_text", mortal)
    with pytest.raises(KeyboardInterrupt):
        train_text(place)
    assert not list(place.text.glob("text-*"))
    left[0] = 100
    train_text(place)
    again = load_file(next(place.text.glob("text-*.safetensors")))
    assert all(torch.equal(again[name], value) for name, value in whole.items())
    assert not list(place.text.glob("*.state"))


def test_the_recipes_are_read(request: pytest.FixtureRequest) -> None:
    found = sorted((request.config.rootpath / "recipes" / "starter").glob("*.toml"))
    assert found
    for path in found:
        assert read(path).judges.networks >= 1
