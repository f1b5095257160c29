"""Predictions made elsewhere: the run's own figures again, other people's files, and what is refused."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from undertone import manifest as manifests
from undertone import splits
from undertone.cli.app import load
from undertone.errors import ConfigError, DataError, ManifestError
from undertone.evaluation.results import compare, evaluate
from undertone.experiment.material import read_corpus
from undertone.experiment.score import ELSEWHERE, read_predictions, score
from undertone.types import Utterance

LABELS = ("angry", "happy", "sad", "neutral")


def posterior(rng: np.random.Generator, truth: str) -> dict[str, float]:
    odds = rng.dirichlet(np.ones(4)) + 0.6 * (np.array(LABELS) == truth)
    return dict(zip(LABELS, (odds / odds.sum()).tolist(), strict=True))


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A manifest of 60 utterances of six speakers in three sessions."""
    made = [
        Utterance(f"u{i}", f"{i}.wav", speaker=f"s{i % 6}", session=str(i % 6 // 2), label=LABELS[i // 6 % 4])
        for i in range(60)
    ]
    path = tmp_path / "m.jsonl"
    manifests.write(path, made, manifests.Meta("planted", None, LABELS))
    return path


@pytest.fixture
def answers(corpus: Path) -> list[dict[str, object]]:
    rng = np.random.default_rng(0)
    return [
        {"id": u.id, "probabilities": posterior(rng, str(u.label))} for u in manifests.read(corpus).utterances
    ]


def lines(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


def test_a_runs_own_predictions_have_its_own_figures(
    corpus: Path, answers: list[dict[str, object]], tmp_path: Path
) -> None:
    file = lines(tmp_path / "a.jsonl", answers)
    first = score(file, corpus, tmp_path / "runs" / "a", split="loso")
    again = score(first, corpus, tmp_path / "runs" / "b", like=first)
    one, other = evaluate(first), evaluate(again)
    assert {**one.plain(), "system": ""} == {**other.plain(), "system": ""}
    (comparison,) = compare([one, other], one)
    assert comparison.paired is not None
    assert comparison.paired.difference.value == 0.0
    assert one.fold_names == ("session-0", "session-1", "session-2")
    truth = [str(u.label) for u in read_corpus(str(corpus)).utterances]
    by_id = {str(row["id"]): row["probabilities"] for row in answers}
    right = [
        max(by_id[u.id], key=by_id[u.id].get) == u.label  # type: ignore[attr-defined, call-overload, index]
        for u in read_corpus(str(corpus)).utterances
    ]
    recall = [np.mean([r for r, t in zip(right, truth, strict=True) if t == label]) for label in LABELS]
    assert one.seeds["ua"].mean == pytest.approx(np.mean(recall))


def test_they_are_stamped(corpus: Path, answers: list[dict[str, object]], tmp_path: Path) -> None:
    result = evaluate(score(lines(tmp_path / "a.jsonl", answers), corpus, tmp_path / "a"))
    assert ELSEWHERE in result.warnings
    assert result.run.card.selection == "unknown"


def test_labels_alone_have_no_calibration(corpus: Path, tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["ID".lower(), "emotion"])
        for u in manifests.read(corpus).utterances:
            rows.writerow([u.id, {"happy": "Excited", "angry": "ANGRY"}.get(str(u.label), u.label)])
    with pytest.raises(ManifestError, match=r"--map 'Excited=CLASS'"):
        score(path, corpus, tmp_path / "run")
    result = evaluate(score(path, corpus, tmp_path / "run", renamed={"Excited": "happy"}))
    assert result.seeds["ua"].mean == 1.0
    assert result.calibration["ece"] is None


def test_columns_of_classes_are_posteriors_and_others_share_what_is_left(
    corpus: Path, tmp_path: Path
) -> None:
    path = tmp_path / "p.csv"
    path.write_text("id,p_angry,p_happy,p_sad,p_neutral,p_fear\nu0,0.1,0.2,0.1,0.1,0.5\n", encoding="utf-8")
    read = read_predictions(path, LABELS, {})[0]["u0"]
    assert read == pytest.approx({"angry": 0.2, "happy": 0.4, "sad": 0.2, "neutral": 0.2})


def test_what_is_lacking_is_refused_or_wrong(
    corpus: Path, answers: list[dict[str, object]], tmp_path: Path
) -> None:
    file = lines(tmp_path / "a.jsonl", answers[:-15])
    with pytest.raises(DataError, match=r"15 of 60 .* --missing"):
        score(file, corpus, tmp_path / "run")
    whole = evaluate(score(lines(tmp_path / "b.jsonl", answers), corpus, tmp_path / "whole"))
    part = evaluate(score(file, corpus, tmp_path / "run", missing=True))
    assert part.seeds["wa"].mean < whole.seeds["wa"].mean
    with pytest.raises(ConfigError, match=r"--over"):
        score(file, corpus, tmp_path / "run", missing=True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[1]", "an object"),
        ('{"label": "angry"}', "no id"),
        ('{"id": "u0", "label": "cross"}', "no class 'cross'"),
        ('{"id": "u0", "probabilities": {"angry": "x"}}', "no number"),
        ('{"id": "u0", "probabilities": {"angry": -1, "sad": 2}}', "not negative"),
        ('{"id": "u0", "label": "sad"}\n{"id": "u0", "label": "sad"}', "twice"),
        ("", "no predictions"),
    ],
)
def test_a_broken_file_is_one_clear_line(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(text, encoding="utf-8")
    with pytest.raises((DataError, ManifestError), match=message) as error:
        read_predictions(path, LABELS, {})
    assert "\n" not in str(error.value)


def test_a_manifest_that_is_missing_is_named_without_a_recipes_remedy(tmp_path: Path) -> None:
    file = lines(tmp_path / "a.jsonl", [{"id": "x", "label": "sad"}])
    with pytest.raises(ManifestError, match=r"makes one$"):
        score(file, tmp_path / "m.jsonl", tmp_path / "run")


def test_ids_of_another_corpus_are_named(corpus: Path, tmp_path: Path) -> None:
    file = lines(tmp_path / "a.jsonl", [{"id": "x", "label": "sad"}])
    with pytest.raises(DataError, match=r"none of its ids is tested \(it has 'x'"):
        score(file, corpus, tmp_path / "run", missing=True)


def test_the_command_prints_both_and_writes_a_run(
    corpus: Path, answers: list[dict[str, object]], tmp_path: Path
) -> None:
    file = lines(tmp_path / "cloud.jsonl", answers)
    shown = CliRunner().invoke(
        load(), ["score", str(file), str(corpus), "--split", "loso", "--out", str(tmp_path / "r"), "--json"]
    )
    assert shown.exit_code == 0, shown.output
    (values,) = json.loads(shown.stdout)
    assert values["system"] == "cloud"
    assert splits.read(tmp_path / "r" / "cloud" / "split.json").protocol == "loso"


def test_an_utterance_without_a_label_is_not_tested(
    corpus: Path, answers: list[dict[str, object]], tmp_path: Path
) -> None:
    read = manifests.read(corpus)
    some = [replace(u, label=None) if u.id == "u0" else u for u in read.utterances]
    manifests.write(tmp_path / "some.jsonl", some, read.meta)
    result = evaluate(score(lines(tmp_path / "a.jsonl", answers), tmp_path / "some.jsonl", tmp_path / "run"))
    assert "u0" not in result.run.predictions.ids
