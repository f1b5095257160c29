"""A whole assessment of planted models: what they know is found, what they answer is asked once."""

from __future__ import annotations

import json
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest

from studies.starter.assess.cases import CONDITIONS, PAIRINGS
from studies.starter.assess.run import FILE, assess
from trees.starter import write_folds
from undertone.errors import DataError, ProtocolError


def test_what_was_planted_is_found(assessed: tuple[dict[str, Any], Path]) -> None:
    figures, _ = assessed
    for corpus in ("ravdess", "emodb"):
        for condition in ("clean", "gain", "noise", "telephone", "second"):
            assert figures["speech"][corpus][condition]["value"] == 1.0
    assert figures["speech"]["ravdess8"]["value"] == 1.0
    assert figures["text"]["raw"]["ua"]["value"] == 0.25
    assert figures["text"]["raw"]["macro_f1"]["value"] == pytest.approx(0.4 / 4)
    assert figures["pairs"]["better_single"] == "speech"
    assert figures["pairs"]["gain"]["value"] == 0.0
    assert figures["rival"]["plain"]["macro_f1"]["value"] == 1.0
    assert figures["calibration"]["speech"]["ece"] == pytest.approx(0.15)


def test_who_is_counted_and_in_which_folds(assessed: tuple[dict[str, Any], Path]) -> None:
    data = assessed[0]["data"]
    assert data["folds"] == 2
    assert data["ravdess"] == {"clips": 32, "speakers": 4}
    assert data["timit"] == {"clips": 2, "speakers": 2}
    assert data["goemotions"] == dict.fromkeys(("angry", "happy", "sad", "neutral"), 8)
    assert assessed[0]["speech"]["ravdess"]["clean"]["n"] == 20, (
        "neutral, calm, happy, sad and angry of 4 actors"
    )
    assert assessed[0]["speech"]["ravdess"]["clean"]["units"] == 4


def test_abstention_is_told_from_a_wrong_answer(assessed: tuple[dict[str, Any], Path]) -> None:
    silent = assessed[0]["abstention"]["abstained"]
    assert [silent[kind]["value"] for kind in ("silence", "music", "laughter")] == [1.0, 1.0, 1.0]
    assert [silent[corpus]["value"] for corpus in ("ravdess", "emodb", "goemotions")] == [0.0, 0.0, 0.0]
    assert assessed[0]["abstention"]["timit"]["neutral_or_abstained"]["value"] == 1.0


def test_each_bar_says_whether_it_is_met(assessed: tuple[dict[str, Any], Path]) -> None:
    met = {bar["what"]: bar["met"] for bar in assessed[0]["bars"]}
    assert met["RAVDESS, 4 classes, UA"] is True
    assert met["words alone, as written, macro-F1"] is False
    assert met["pairs: UA of the fusion over the better side"] is False
    assert met["generated music: abstained"] is True
    assert len(met) == len(assessed[0]["bars"])


def test_the_figures_lie_in_a_file_as_they_were_returned(assessed: tuple[dict[str, Any], Path]) -> None:
    figures, out = assessed
    assert json.loads((out / FILE).read_text(encoding="utf-8")) == json.loads(json.dumps(figures))


def test_a_second_call_predicts_nothing_and_a_changed_model_predicts_again(
    assessed: tuple[dict[str, Any], Path], data: Path, run: Path, oracle: Any, tmp_path: Path
) -> None:
    out = copytree(assessed[1], tmp_path / "out")  # what others read stays as it is
    own = copytree(run, tmp_path / "run")
    assess(own, data, out, conditions=["clean", "raw"])
    assert not oracle.folds
    (own / "fold-1" / "model" / "model.safetensors").write_bytes(b"trained again")
    assess(own, data, out, conditions=["clean", "raw"])
    assert oracle.folds == {"fold-1"}


def test_a_damaged_file_of_predictions_is_made_again(
    assessed: tuple[dict[str, Any], Path], data: Path, run: Path, oracle: Any, tmp_path: Path
) -> None:
    out = copytree(assessed[1], tmp_path / "out")
    kept = out / "scores" / "fold-0" / "raw.jsonl"
    kept.write_text(kept.read_text(encoding="utf-8")[:-40], encoding="utf-8")
    assess(run, data, out, conditions=["raw"])
    assert oracle.folds == {"fold-0"}


def test_progress_counts_every_condition_of_every_fold(
    data: Path, run: Path, tmp_path: Path, oracle: Any
) -> None:
    seen: list[tuple[str, int, int]] = []
    assess(run, data, tmp_path, lambda *step: seen.append(step), conditions=["gain", "plain"])
    asked = ("fold-0: gain", "fold-0: plain", "fold-1: gain")  # the words are read the same in every fold
    assert seen == [(name, n, 3) for n, name in enumerate(asked)]


def test_a_speaker_in_two_folds_is_refused(data: Path, tmp_path: Path, oracle: Any) -> None:
    run = write_folds(tmp_path / "leaking")
    path = run / "fold-1" / "fold.json"
    listed = json.loads(path.read_text(encoding="utf-8"))
    mine = json.loads((run / "fold-0" / "fold.json").read_text(encoding="utf-8"))["emodb"]
    path.write_text(json.dumps({**listed, "emodb": mine}), encoding="utf-8")
    with pytest.raises(ProtocolError, match="is tested in fold-0 and in fold-1"):
        assess(run, data, tmp_path)
    path.write_text(json.dumps({**listed, "emodb": ["nobody"]}), encoding="utf-8")
    with pytest.raises(DataError, match="'nobody' and 0 more"):
        assess(run, data, tmp_path)


def test_a_folder_without_folds_says_what_makes_them(data: Path, tmp_path: Path, oracle: Any) -> None:
    with pytest.raises(DataError, match=r"python -m studies\.starter train"):
        assess(tmp_path, data, tmp_path)


def test_a_model_of_one_corpus_is_tested_on_the_other(data: Path, tmp_path: Path, oracle: Any) -> None:
    run = write_folds(tmp_path / "run")
    (run / "only-emodb" / "model").mkdir(parents=True)
    (run / "only-emodb" / "model" / "card.json").write_text("{}")
    figures = assess(run, data, tmp_path / "out")
    assert list(figures["cross_corpus"]) == ["emodb → ravdess"]
    assert figures["cross_corpus"]["emodb → ravdess"]["n"] == 20


def test_pairs_join_a_clip_with_new_words_of_its_class(data: Path, run: Path) -> None:
    from studies.starter import clips, sentences
    from studies.starter.assess.run import parts

    part = parts(run, clips.read(data), sentences.four(sentences.read(data, "dev")))["fold-0"]
    labels = {sentence.text: sentence.label for sentence in part.sentences}
    pairs = list(CONDITIONS["pairs"](part))
    assert len(pairs) == 18 * PAIRINGS
    assert all(labels[str(pair.text)] == pair.truth for pair in pairs)
    drawn = [[str(p.text) for p in pairs if p.facts["draw"] == n] for n in range(PAIRINGS)]
    for texts in drawn:
        assert len(set(texts)) == len(texts) == 18, "enough sentences: none comes twice"
    assert drawn[0] != drawn[1]
    assert pairs[0].wave is pairs[PAIRINGS - 1].wave, "one sound for all of its pairings"
