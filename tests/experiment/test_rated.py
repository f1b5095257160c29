"""Votes, ratings and several emotions, from a manifest to a fold's predictions."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from planted import LABELS, Planted, corpus, done, planned, recipe

from undertone import manifest as manifests
from undertone.errors import ConfigError, ManifestError, TrainingError
from undertone.experiment.material import read_corpus
from undertone.experiment.recipe import parse_recipe
from undertone.experiment.run import run_job
from undertone.labels.rated import ccc, fractions
from undertone.models.folder import load
from undertone.types import Utterance

EVERY = 'target=["class","distribution","dimensions","multilabel"]'
RATINGS = {"angry": (6.0, 2.0), "happy": (5.0, 6.0), "sad": (2.0, 2.0)}
"""Arousal and valence, from 1 to 7."""


def rated_corpus(folder: Path, scale: bool = True) -> Path:
    """Every third has half of its votes for another class; every ninth has no label."""
    path = corpus(folder)
    manifest = manifests.read(path)
    random = np.random.default_rng(3)

    def rate(index: int, utterance: Utterance) -> Utterance:
        label = str(utterance.label)
        votes = {label: 6.0}
        if index % 3 == 0:
            votes = {label: 3.0, LABELS[(LABELS.index(label) + 1) % 3]: 3.0}
        arousal, valence = RATINGS[label] + random.normal(0, 0.3, 2)
        extra = {"activation": float(arousal), "valence": float(valence)}
        return replace(utterance, votes=votes, extra=extra, label=None if index % 9 == 0 else label)

    rated = [rate(i, u) for i, u in enumerate(manifest.utterances)]
    scales = dict.fromkeys(("arousal", "valence"), (1.0, 7.0)) if scale else {}
    manifests.write(path, rated, replace(manifest.meta, scales=scales))
    return path


def rows_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]


def test_every_target_reaches_the_predictions(tmp_path: Path) -> None:
    folder = done(tmp_path, recipe(rated_corpus(tmp_path), "concat", EVERY, "training.epochs=20"))
    rows = rows_of(folder)
    assert len(rows) == 30
    assert sum(row["truth"] is None for row in rows) > 0
    for row in rows:
        assert set(row["dimensions"]) == set(row["spread"]) == {"arousal", "valence"}
        assert min(row["dimensions"].values()) >= 1 and max(row["dimensions"].values()) <= 7
        assert set(row["distribution"]) == set(row["several"]) == set(LABELS)
        assert sum(row["distribution"].values()) == pytest.approx(1, abs=1e-4)
    truth = {u.id: u.extra for u in manifests.read(tmp_path / "corpus.jsonl").utterances}
    for mine, theirs in (("arousal", "activation"), ("valence", "valence")):
        pairs = np.array([[truth[r["id"]][theirs], r["dimensions"][mine]] for r in rows])
        assert ccc(pairs[:, 0], pairs[:, 1]) > 0.8
    model = load(folder)
    assert model.card["target"] == ["class", "distribution", "dimensions", "multilabel"]
    assert model.card["scales"] == {"arousal": [1.0, 7.0], "valence": [1.0, 7.0]}
    assert model.card["asides"]["dimensions"] == ["arousal", "valence"]


def _divergence(path: Path, folder: Path) -> float:
    votes = {u.id: fractions(u.votes, LABELS) for u in manifests.read(path).utterances}
    values = []
    for row in rows_of(folder):
        share, posterior = votes[row["id"]], np.array([row["probabilities"][c] for c in LABELS])
        values.append(float((share * np.log(np.maximum(share, 1e-12) / np.maximum(posterior, 1e-6))).sum()))
    return float(np.mean(values))


def test_the_distribution_is_nearer_to_the_votes_than_labels_are(tmp_path: Path) -> None:
    path = rated_corpus(tmp_path)
    by_votes = done(tmp_path, recipe(path, "concat", 'target="distribution"', "name=votes"))
    by_labels = done(tmp_path, recipe(path, "concat", EVERY, "protocol.no_agreement=drop", "name=labels"))
    assert _divergence(path, by_votes) < _divergence(path, by_labels)


def test_utterances_without_agreement_train_or_are_dropped(tmp_path: Path) -> None:
    made = recipe(rated_corpus(tmp_path), "concat", EVERY)
    dropped = made.but(["protocol.no_agreement=drop"])
    assert len(read_corpus(made.manifest).utterances) == 80
    assert len(read_corpus(made.manifest, rated=made.rated).utterances) == 90
    assert len(read_corpus(made.manifest, rated=dropped.rated).utterances) == 80
    assert read_corpus(made.manifest).mark != read_corpus(made.manifest, rated=dropped.rated).mark


@pytest.mark.parametrize("target", ["dimensions", "multilabel"])
def test_the_final_model_and_folds_of_a_target_without_the_class(tmp_path: Path, target: str) -> None:
    plan = planned(tmp_path, recipe(rated_corpus(tmp_path), "score", f'target="{target}"'))
    for job in plan.jobs:
        run_job(job)
    assert plan.final is not None
    run_job(plan.final)
    system = load(plan.folder / "final").system
    assert system.target.judged == (None if target == "dimensions" else target)
    assert float(system.temperature) == 1.0
    assert {target_heads for target_heads in system.state_dict() if "target_heads" in target_heads}


def test_a_scale_that_is_not_known_is_stated_in_the_recipe(tmp_path: Path) -> None:
    path = rated_corpus(tmp_path, scale=False)
    made = recipe(path, "speech", 'target=["class","dimensions"]')
    with pytest.raises(ConfigError, match=r"scales\.arousal=\[1,7\]"):
        read_corpus(path, rated="train").scales_of(made)
    stated = made.but(["scales.arousal=[1,7]", "scales.valence=[1,7]"])
    assert read_corpus(path, rated="train").scales_of(stated) == dict.fromkeys(
        ("arousal", "valence"), (1.0, 7.0)
    )
    bare = corpus(tmp_path)
    with pytest.raises(ManifestError, match="no utterance has ratings"):
        read_corpus(bare).scales_of(made)


def test_a_recipe_names_its_targets(tmp_path: Path) -> None:
    path = str(corpus(tmp_path))
    assert parse_recipe({"system": "speech", "manifest": path}).rated == ""
    made = parse_recipe(
        {
            "system": "speech",
            "manifest": path,
            "target": ["class", "dimensions"],
            "target_weights": {"class": 2},
        }
    )
    assert made.target_of(("arousal",)).weights == {"class": 2.0, "dimensions": 1.0}
    assert made.but(["training.epochs=3"]).target == ("class", "dimensions")
    for wrong in ({"target": []}, {"target": ["class", "class"]}, {"target": "mood"}):
        with pytest.raises(ConfigError):
            parse_recipe({"system": "speech", "manifest": path, **wrong})
    with pytest.raises(ConfigError, match="no such target"):
        parse_recipe({"system": "speech", "manifest": path, "target_weights": {"multilabel": 1}})


def test_a_corpus_without_votes_cannot_teach_them(tmp_path: Path) -> None:
    made = recipe(corpus(tmp_path), "speech", 'target="distribution"')
    with pytest.raises(TrainingError, match="votes"):
        run_job(planned(tmp_path, made, Planted(tmp_path)).jobs[0])


def test_thresholds_of_several_emotions_are_fitted_on_the_validation_part(tmp_path: Path) -> None:
    options = ("concat", 'target=["class","multilabel"]', "training.epochs=6", "thresholds=fitted")
    folder = done(tmp_path, recipe(rated_corpus(tmp_path), *options))
    values = json.loads((folder / "metrics.json").read_text())["thresholds"]
    assert set(values) == set(LABELS) and len(set(values.values())) > 1
    assert load(folder).card["thresholds"] == values
    for row in rows_of(folder):
        assert row["present"] == [name for name, p in row["several"].items() if p > values[name]]
