"""Encoders that learn with the system, from samples and token ids; the networks are tiny and random."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from planted import LABELS, corpus, recipe
from transformers import (
    BertConfig,
    BertModel,
    PreTrainedTokenizerFast,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2Model,
)

from undertone import manifest as manifests
from undertone.errors import ConfigError
from undertone.experiment.crossval import plan
from undertone.experiment.examples import fold_data
from undertone.experiment.material import gather_features, open_material, read_corpus
from undertone.experiment.run import run_job
from undertone.features.subword import Subword
from undertone.models import folder as models
from undertone.store import Store
from undertone.types import Utterance

SMALL = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus with sound, a wav2vec 2.0 and a BERT."""
    folder = tmp_path_factory.mktemp("tuned")
    path = corpus(folder, 36)
    for utterance in manifests.read(path).utterances:
        pitch = 200 * (1 + LABELS.index(utterance.label or LABELS[0]))
        time = np.arange(round(16_000 * (utterance.end or 0))) / 16_000
        soundfile.write(folder / utterance.audio, 0.3 * np.sin(2 * np.pi * pitch * time), 16_000)
    speech = Wav2Vec2Config(
        **SMALL,
        conv_dim=(8,) * 7,
        num_conv_pos_embeddings=8,
        num_conv_pos_embedding_groups=2,
        mask_time_prob=0.0,
    )
    Wav2Vec2Model(speech).save_pretrained(folder / "wav2vec2")
    Wav2Vec2FeatureExtractor().save_pretrained(folder / "wav2vec2")
    pieces = Subword.fit([u.text or "" for u in manifests.read(path).utterances], 60)
    pieces.save(folder / "pieces.json")
    BertModel(BertConfig(**SMALL, vocab_size=80)).save_pretrained(folder / "bert")
    PreTrainedTokenizerFast(
        tokenizer_file=str(folder / "pieces.json"), pad_token="[PAD]", unk_token="[UNK]"
    ).save_pretrained(folder / "bert")
    return folder


def tuned(place: Path, how: str, *more: str):  # type: ignore[no-untyped-def]
    names = [
        f"speech.name={json.dumps(str(place / 'wav2vec2'))}",
        f"text.name={json.dumps(str(place / 'bert'))}",
    ]
    both = [f"speech.tune={how}", f"text.tune={how}"]
    return recipe(place / "corpus.jsonl", "concat", *names, *both, "training.epochs=1", *more)


@pytest.mark.parametrize("how", ["top-k", "lora"])
def test_a_tuned_system_trains_is_saved_and_loads(place: Path, how: str) -> None:
    made = tuned(place, how, f"name={how}", "speech.top=1", "text.top=1")
    planned = plan(
        made, place / "runs", lambda r, c: gather_features(r, c.utterances, Store(place / "store"))
    )
    run_job(planned.jobs[0])
    loaded = models.load(planned.jobs[0].folder)
    assert loaded.card["encoders"]["speech"]["tuning"]["tune"] == how
    assert len((planned.jobs[0].folder / "predictions.jsonl").read_text().splitlines()) == 12


def test_segments_point_at_the_frames_that_the_network_makes(place: Path) -> None:
    made = tuned(place, "full", "name=full")
    planned = plan(
        made, place / "runs", lambda r, c: gather_features(r, c.utterances, Store(place / "store"))
    )
    material = open_material(planned.folder, made.manifest, everything=False)
    parts = fold_data(material, made, planned.split.folds[0].name)
    batch = parts.train.batch(np.arange(3))
    assert batch.speech.shape == (3, 12_800) and batch.text.dtype.is_floating_point is False
    from undertone.experiment.run import fresh

    encoded = fresh(made, parts.dimensions, 0).encoded(batch)  # type: ignore[operator]
    assert encoded.speech.shape[:2] == (3, 39), "0.8 s of 20 ms frames, less what the last lacks"
    assert int(batch.segments["word"].spans.max()) == 39
    assert encoded.text.shape[-1] == parts.dimensions.text == 16


def test_other_recordings_are_noticed_where_nothing_of_them_is_stored(place: Path, tmp_path: Path) -> None:
    made = tuned(place, "full", "name=full")
    utterances = read_corpus(made.manifest).utterances

    def mark(heard: Sequence[Utterance]) -> str:
        return gather_features(made, heard, Store(tmp_path / "store")).mark

    wave, rate = soundfile.read(utterances[0].audio)
    louder = tmp_path / Path(utterances[0].audio).name
    soundfile.write(louder, 1.5 * wave, rate)
    first, *rest = utterances
    assert mark(utterances) == mark(utterances)
    assert mark(utterances) != mark([replace(first, audio=str(louder)), *rest])


def test_a_card_names_the_precision_that_was_computed_in_not_auto(place: Path) -> None:
    made = tuned(place, "frozen", "name=frozen")
    found = gather_features(made, read_corpus(made.manifest).utterances, Store(place / "store"))
    assert made.speech.encoder.precision == "auto"
    assert {found.encoders[side]["settings"]["precision"] for side in ("speech", "text")} <= {"fp32", "bf16"}


@pytest.mark.parametrize("options", [["speech.tune=full"], ["text.tune=full"]])
def test_only_pretrained_networks_can_be_tuned(place: Path, options: list[str]) -> None:
    from undertone.experiment.recipe import load_recipe

    with pytest.raises(ConfigError, match="needs a pretrained"):
        load_recipe(Path(__file__).parents[2] / "recipes" / "demo" / "concat.toml", options)
