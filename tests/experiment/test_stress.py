"""Worse input makes worse figures, and each fold's model sees its own test side only."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from planted import WORDS, corpus, planned, recipe

from undertone import manifest as manifests
from undertone.errors import ConfigError
from undertone.evaluation.results import evaluate
from undertone.experiment.run import run_job
from undertone.experiment.stress import conditions, noisy, stress, with_word_errors


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stressed")
    plan = planned(folder, recipe(corpus(folder), "text", "training.epochs=25", "training.patience=25"))
    for job in plan.jobs:
        run_job(job)
    return plan.folder


def test_word_errors_cost_a_text_system_dear(run: Path) -> None:
    seen: list[tuple[int, int]] = []
    sweeps = stress(run, watch=lambda done, total: seen.append((done, total)))
    folds = len(list(run.glob("*/0/metrics.json")))
    assert seen == [(n, 4 * folds) for n in range(1, 4 * folds + 1)], "four conditions of each fold's model"
    rows = {row["at"]: row for row in sweeps["transcript"]}
    assert list(sweeps) == ["transcript"], "a text system hears no noise"
    assert list(rows) == ["gold", "10 % word errors", "20 % word errors", "40 % word errors"]
    assert rows["gold"]["ua"] == pytest.approx(evaluate(run).seeds["ua"].mean)
    assert rows["40 % word errors"]["ua"] < rows["gold"]["ua"] - 0.05
    assert json.loads((run / "stress.json").read_text()) == {"sweeps": sweeps}


def test_other_transcripts_are_taken_from_a_manifest(run: Path, tmp_path: Path) -> None:
    manifest = manifests.read(run.parents[1] / "corpus.jsonl")
    told = [replace(u, text="boat wave river", alignment=None) for u in manifest.utterances]
    manifests.write(tmp_path / "asr.jsonl", told, manifest.meta)
    row = stress(run, transcripts=tmp_path / "asr.jsonl")["transcript"][-1]
    assert row["at"] == "asr" and row["ua"] == pytest.approx(1 / 3, abs=0.1)


def test_a_fusion_system_is_asked_without_either_side() -> None:
    asked = conditions(recipe(Path("m.jsonl"), "concat"))
    assert [c.at for c in asked if c.sweep == "missing"] == ["nothing", "speech", "text"]
    assert [c.at for c in asked if c.sweep == "band"] == ["whole", "telephone"]
    assert [c.at for c in asked if c.sweep == "added noise"] == ["none", "20 dB", "10 dB", "5 dB", "0 dB"]


def test_a_folder_that_is_no_run_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not a run"):
        stress(tmp_path)


def test_noise_has_the_level_it_says_and_is_the_same_each_time() -> None:
    wave = np.sin(np.arange(16000, dtype=np.float32))
    noise = noisy(wave, 10.0, "u1", 16000) - wave
    ratio = 10 * np.log10(np.mean(wave**2) / np.mean(noise**2))
    assert ratio == pytest.approx(10.0, abs=0.2)
    np.testing.assert_array_equal(noisy(wave, 10.0, "u1", 16000), noisy(wave, 10.0, "u1", 16000))


def test_errors_are_about_their_share_and_words_keep_their_times(tmp_path: Path) -> None:
    utterances = manifests.read(corpus(tmp_path)).utterances
    vocabulary = ["zebra"]
    changed = [with_word_errors(u, 0.3, vocabulary) for u in utterances]
    right = sum(
        (u.text or "").split().count(w)
        for u in changed
        for w in (*WORDS.values(), "boat", "wave", "river", "house")
    )
    total = sum(len((u.text or "").split()) for u in utterances)
    assert 1 - right / total == pytest.approx(0.3, abs=0.06)
    for before, after in zip(utterances, changed, strict=True):
        assert before.alignment is not None and after.alignment is not None and after.text is not None
        times = {(s.start, s.end) for s in before.alignment.word}
        for segment in after.alignment.word:
            assert (segment.start, segment.end) in times
            assert segment.chars is not None and after.text[slice(*segment.chars)] == segment.text
