"""Fused classifiers: the maps, the product rule, what is missing or lacking, and a folder like any other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.features import classifiers
from undertone.errors import LabelError, ProtocolError, UsageError
from undertone.experiment.fuse import Wishes, joined, make_sides, write_sides
from undertone.experiment.score import overlap_stamps
from undertone.judging.predictor import load
from undertone.types import Alignment, Segment

NAMES = ("Freude", "trist", "ANGER", "neutral")
WORDS = "what a sad day"


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return classifiers.make("hubert", tmp_path_factory.mktemp("speech"))


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return classifiers.make("bert", tmp_path_factory.mktemp("text"), classes=NAMES)


@pytest.fixture(scope="module")
def folder(speech: Path, text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("fused") / "model"
    wishes = Wishes(precision="fp32")
    write_sides(out, joined(make_sides([str(speech)], [str(text)], wishes), wishes))
    return out


def wave(seconds: float = 1.2, seed: int = 0) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal(round(16_000 * seconds))).astype(np.float32)


def test_the_folder_is_a_model_and_its_answer_is_the_product_of_both_sides(folder: Path) -> None:
    model = load(folder)
    assert model.labels == ("angry", "happy", "sad", "neutral")
    both = model.predict(wave(), text=WORDS)
    speech_alone, text_alone = model.predict(wave()), model.predict(None, text=WORDS)
    assert (speech_alone.modalities, text_alone.modalities) == (("speech",), ("text",))
    shares = {n: speech_alone.probabilities[n] * text_alone.probabilities[n] for n in model.labels}
    total = sum(shares.values())
    assert both.probabilities == pytest.approx({n: p / total for n, p in shares.items()}, abs=1e-5)
    assert both.perspectives["speech"] == pytest.approx(speech_alone.probabilities, abs=1e-5)


def test_classes_are_matched_by_name_whatever_their_order(folder: Path, text: Path) -> None:
    from transformers import pipeline

    theirs = {
        row["label"]: row["score"] for row in pipeline("text-classification", str(text))(WORDS, top_k=None)
    }
    ours = load(folder).predict(None, text=WORDS).probabilities
    expected = {"happy": theirs["Freude"], "sad": theirs["trist"], "angry": theirs["ANGER"]}
    assert {name: ours[name] for name in expected} == pytest.approx(expected, abs=1e-5)


def test_each_word_is_left_out_and_the_text_judged_again(folder: Path) -> None:
    model = load(folder)
    whole = model.predict(None, text=WORDS)
    assert whole.label is not None
    assert [word.text for word in whole.words] == WORDS.split()
    for index, word in enumerate(whole.words):
        rest = " ".join(w for i, w in enumerate(WORDS.split()) if i != index)
        without = model.predict(None, text=rest).probabilities[whole.label]
        assert word.contribution == pytest.approx(
            np.log(whole.probabilities[whole.label] / without), abs=1e-4
        )


def test_where_words_have_times_their_stretch_of_the_wave_is_zero(folder: Path) -> None:
    model = load(folder)
    timed = Alignment((Segment("a", 0.2, 0.6, chars=(0, 1)),))
    answer = model.predict(wave(), text="a", alignment=timed)
    changed = wave().copy()
    changed[3_200:9_600] = 0.0
    assert answer.label is not None
    left = model.predict(changed).probabilities[answer.label]  # of one word nothing of the text is left
    assert answer.words[0].contribution == pytest.approx(
        np.log(answer.probabilities[answer.label] / left), abs=1e-4
    )


def test_batches_are_singles(folder: Path) -> None:
    from undertone.judging.clip import Clip, Transcript

    model = load(folder).model
    clips = [Clip(str(i), wave(0.5 + 0.3 * i, i), Transcript(WORDS[: 4 + 3 * i])) for i in range(3)]
    for clip, answer in zip(clips, model.predict(clips), strict=True):
        assert model.predict([clip])[0].probabilities == pytest.approx(answer.probabilities, abs=1e-5)


def test_a_class_that_a_side_lacks_keeps_its_prior(speech: Path, tmp_path: Path) -> None:
    three = classifiers.make("bert", tmp_path / "three", classes=("anger", "joy", "sadness"))
    wishes = Wishes(prior={"neutral": 0.4})
    made = joined(make_sides([str(speech)], [str(three)], wishes), wishes)
    assert made.notes == [f"{three}: lacks neutral; it gives no evidence for or against it"]
    write_sides(tmp_path / "model", made)
    model = load(tmp_path / "model")
    assert model.predict(None, text=WORDS).probabilities["neutral"] == pytest.approx(0.4, abs=1e-5)


def test_weights_and_prior_are_as_stated(speech: Path, text: Path, tmp_path: Path) -> None:
    wishes = Wishes(weights={str(speech): 0.0}, prior={"angry": 0.7})
    write_sides(tmp_path / "model", joined(make_sides([str(speech)], [str(text)], wishes), wishes))
    model = load(tmp_path / "model")
    assert model.predict(wave()).probabilities["angry"] == pytest.approx(0.7, abs=1e-5)
    with pytest.raises(UsageError, match="is not among"):
        make_sides([str(speech)], [], Wishes(weights={"nobody": 1.0}))


def test_several_sides_and_a_model_of_our_own(speech: Path, text: Path, folder: Path, tmp_path: Path) -> None:
    wishes = Wishes(precision="fp32")  # as of the folder, whatever this processor has
    made = joined(make_sides([str(speech), str(folder)], [str(text)], wishes), wishes)
    write_sides(tmp_path / "model", made)
    model, alone = load(tmp_path / "model"), load(folder)
    squared = {n: p**2 for n, p in alone.predict(wave()).probabilities.items()}
    total = sum(squared.values())
    assert model.predict(wave()).probabilities == pytest.approx(
        {n: p / total for n, p in squared.items()}, abs=1e-4
    )


def test_a_changed_classifier_is_noticed(speech: Path, tmp_path: Path) -> None:
    import shutil

    from undertone.errors import ModelError

    shutil.copytree(speech, tmp_path / "speech")
    write_sides(tmp_path / "model", joined(make_sides([str(tmp_path / "speech")], [], Wishes()), Wishes()))
    classifiers.make("hubert", tmp_path / "speech", seed=8)
    with pytest.raises(ModelError, match="is not the encoder that the model was trained with"):
        load(tmp_path / "model")


def test_dimensions_stand_beside_classes(speech: Path, tmp_path: Path) -> None:
    dims = classifiers.dimensional(tmp_path / "dims")
    write_sides(tmp_path / "model", joined(make_sides([str(speech), str(dims)], [], Wishes()), Wishes()))
    answer = load(tmp_path / "model").predict(wave())
    assert set(answer.extra["dimensions"]) == {"arousal", "dominance", "valence"}
    with pytest.raises(LabelError, match="numbers and no classes"):
        joined(make_sides([str(dims)], [], Wishes()), Wishes())


@pytest.mark.parametrize("encoders", [False, True], ids=["the network", "the classifiers too"])
def test_it_is_exported_like_any_other(folder: Path, tmp_path: Path, encoders: bool) -> None:
    pytest.importorskip("onnx")
    from undertone.serving.export import export

    made = export(folder, "onnx", tmp_path / "graph", encoders=encoders)
    assert made.difference < 1e-4
    ours, theirs = (
        load(folder).predict(wave(), text=WORDS),
        load(tmp_path / "graph").predict(wave(), text=WORDS),
    )
    assert theirs.probabilities == pytest.approx(ours.probabilities, abs=1e-4)


def test_a_whisper_is_exported_with_its_spectra(text: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    from undertone.serving.export import export

    whisper, wishes = classifiers.make("whisper", tmp_path / "whisper"), Wishes(precision="fp32")
    write_sides(tmp_path / "model", joined(make_sides([str(whisper)], [], wishes), wishes))
    export(tmp_path / "model", "onnx", tmp_path / "graph", encoders=True)
    ours, theirs = (load(tmp_path / name).predict(wave()) for name in ("model", "graph"))
    assert theirs.probabilities == pytest.approx(ours.probabilities, abs=1e-3)


# ---- what goes wrong ---------------------------------------------------------------------------------------


def test_a_class_that_nothing_maps_is_named(tmp_path: Path) -> None:
    odd = str(classifiers.make("bert", tmp_path, classes=("anger", "joy", "contempt", "love")))
    with pytest.raises(LabelError, match="'contempt', 'love' have none: --map 'contempt=CLASS'"):
        make_sides([], [odd], Wishes())
    (mapped,) = make_sides([], [odd], Wishes(maps={"love": "happy"}, rest="other"))
    assert mapped.mapped == {"anger": "angry", "joy": "happy", "contempt": "other", "love": "happy"}
    (mapped,) = make_sides([], [odd], Wishes(maps={f"{odd}:love": "-", "contempt": "angry"}))
    assert mapped.known == ("angry", "happy")


def test_nameless_classes_and_other_classes_clash(speech: Path, tmp_path: Path) -> None:
    nameless = str(classifiers.make("bert", tmp_path / "a", classes=("LABEL_0", "LABEL_1")))
    with pytest.raises(LabelError, match="'LABEL_0', 'LABEL_1' are no known emotions"):
        make_sides([], [nameless], Wishes())
    fear = str(classifiers.make("bert", tmp_path / "b", classes=("fear", "disgust")))
    with pytest.raises(LabelError, match="no class is common"):
        joined(make_sides([str(speech)], [fear], Wishes()), Wishes())


def test_a_corpus_that_a_side_was_trained_on_is_refused_or_stamped(speech: Path) -> None:
    sides = make_sides([str(speech)], [], Wishes(trained={str(speech): ("RAVDESS",)}))
    trained = {one.given: one.trained for one in sides}
    with pytest.raises(ProtocolError, match="was trained on ravdess"):
        overlap_stamps(trained, "ravdess", allowed=False)
    (stamp,) = overlap_stamps(trained, "ravdess", allowed=True)
    assert stamp.startswith("overlap: ")
    assert overlap_stamps(trained, "emodb", allowed=False) == []


def test_the_graph_of_evidence_by_hand() -> None:
    """Two source classes of one class share it; one that is left out leaves the rest in proportion."""
    from undertone.models.sides import SideConfig, evidence

    member = SideConfig(name="m", side="text", classes=(0, 0, 1, -1))
    shares = torch.tensor([[0.2, 0.3, 0.25, 0.25]])
    even = torch.full((3,), 1 / 3)
    ratios = evidence(shares.log(), member, torch.ones(()), torch.eye(3), even).exp()
    assert ratios[0].tolist() == pytest.approx([4 / 3, 2 / 3, 1.0], abs=1e-6)
