"""From small corpora on disk to models that open and judge, in every part that resumes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from studies.starter import clips as recordings
from studies.starter.recipe import read
from studies.starter.train import PARTS, Place, chosen, train, train_part
from undertone.judging.predictor import load


def test_the_folders_hold_a_model_and_who_was_kept_aside(place: Place) -> None:
    run = place.run
    aside = [json.loads((run / f"fold-{k}" / "fold.json").read_text(encoding="utf-8")) for k in (0, 1)]
    assert all(fold["ravdess"] for fold in aside[:1])
    assert not set(aside[0]["ravdess"]) & set(aside[1]["ravdess"])
    assert not (run / "final" / "fold.json").exists()
    for part in PARTS:
        card = json.loads((run / part / "model" / "card.json").read_text(encoding="utf-8"))
        assert card["training"]["part"] == part not in card["training"]["calibrated_on"]
        assert card["licence"] == ("CC-BY-4.0" if part.startswith("open") else "CC-BY-NC-SA-4.0")
        assert 0.25 < card["abstain"]["threshold"] < 1.0
        assert min(card["spoken"]) == 0.0 < max(card["spoken"])  # the most common class is not raised


def test_what_a_part_learns_from_is_never_what_it_is_tested_on(place: Place) -> None:
    known = recordings.read(place.data)
    for part in PARTS:
        learned, tested = chosen(part, known)
        assert learned and not set(learned) & set(tested)
        if part.startswith(("fold", "open-")):
            assert not {known[i].speaker for i in learned} & {known[i].speaker for i in tested}
    corpora = {part: {known[i].corpus for i in chosen(part, known)[0]} for part in PARTS}
    assert corpora["without-nemo"] == {"ravdess", "emodb", "timit"}
    assert corpora["only-emodb"] == {"emodb", "timit"}
    assert corpora["open"] == corpora["open-3"] == {"emodb"}
    assert {known[i].corpus for i in chosen("without-nemo", known)[1]} == {"nemo"}
    assert {known[i].corpus for i in chosen("open", known)[1]} == {"ravdess", "nemo"}
    assert chosen("final", known)[1] == []


def test_a_model_judges_speech_words_and_both(place: Place) -> None:
    model = load(place.part("final") / "model")
    wave = np.random.default_rng(0).normal(size=20_000).astype(np.float32) * 0.1
    both = model.predict(wave, text="the meeting starts at nine")
    heard = model.predict(wave)
    said = model.predict(None, text="the meeting starts at nine", spoken=True)
    assert set(both.perspectives) == {"fused", "speech", "text"}
    assert both.perspectives["speech"] == pytest.approx(heard.probabilities, abs=1e-5)
    assert both.perspectives["text"] == pytest.approx(said.probabilities, abs=1e-5)
    assert sum(both.extra["emotions"].values()) == pytest.approx(1.0, abs=1e-5)
    assert set(both.extra["uncalibrated"]) == {"fused", "speech", "text"}
    assert both.extra["distance"]["speech"] > 0
    assert "emotions" not in said.extra and set(said.extra["uncalibrated"]) == {"fused", "text"}


def test_frozen_weights_are_read_from_the_box_and_not_stored_again(place: Place) -> None:
    folder = place.part("final") / "model"
    names = load_file(folder / "model.safetensors")
    assert any("layer.5" in name for name in names), "the block that learned"
    assert not any("embeddings" in name or "layer.0." in name for name in names)
    assert json.loads((folder / "encoders.json").read_text(encoding="utf-8"))["base"] == {"text": "minilm-l6"}


def test_the_model_abstains_below_its_own_threshold(place: Place, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(place.part("final") / "model", tmp_path / "model"))
    card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    labels = []
    for least in (0.0, 1.0):
        card["abstain"]["threshold"] = least
        (folder / "card.json").write_text(json.dumps(card), encoding="utf-8")
        found = load(folder).predict(None, text="so what")
        labels.append(found.label)
        assert max(found.probabilities.values()) == found.confidence > 0
    assert labels[0] is not None and labels[1] is None


def test_what_is_there_is_not_made_again(place: Place) -> None:
    made = {p: p.stat().st_mtime_ns for p in place.run.rglob("*.safetensors") if p.parent.name != "model"}
    assert made
    train(place, ("fold-0", "final"))
    assert made == {path: path.stat().st_mtime_ns for path in made}


def test_a_killed_training_goes_on_with_the_judge_it_was_at(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after one judge of a part, and gone on: the weights of a training that was left alone."""
    from studies.starter import train as steps

    whole = load_file(next(place.part("fold-1").glob("speech-*.safetensors")))
    fit, left = steps.fit_judge, [1]

    def mortal(*given: Any) -> None:
        if left[0] == 0:
            raise KeyboardInterrupt
        left[0] -= 1
        fit(*given)

    shutil.copytree(place.heard, tmp_path / "heard")
    again = Place(tmp_path, place.data, place.recipe)
    monkeypatch.setattr(steps, "fit_judge", mortal)
    with pytest.raises(KeyboardInterrupt):
        train_part(again, "fold-1")
    assert len(list(again.part("fold-1").glob("judge-*.safetensors"))) == 1
    left[0] = 100
    train_part(again, "fold-1")
    judges = place.recipe.judges
    others = len(judges.views + judges.noise_views) * judges.networks - 1
    assert left[0] == 100 - others, "the one that was done is not made again"
    found = load_file(next(again.part("fold-1").glob("speech-*.safetensors")))
    assert found.keys() == whole.keys()
    assert all(torch.equal(found[name], value) for name, value in whole.items())
    assert not list(again.part("fold-1").glob("judge-*"))


def test_the_recipes_are_read(request: pytest.FixtureRequest) -> None:
    found = sorted((request.config.rootpath / "recipes" / "starter").glob("*.toml"))
    assert found
    for path in found:
        assert read(path).judges.networks >= 1
