"""Encoders that learn with the system, from stored states and token ids; the networks are tiny and random."""

from __future__ import annotations

import base64
import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from fastapi.testclient import TestClient
from planted import LABELS, corpus, recipe
from transformers import (
    BertConfig,
    BertModel,
    PreTrainedTokenizerFast,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2Model,
)

from tests.features import checkpoints
from undertone import audio
from undertone import manifest as manifests
from undertone.errors import ConfigError, ModelError
from undertone.evaluation.results import evaluate
from undertone.experiment.crossval import Plan, crossval, plan
from undertone.experiment.example import write_example
from undertone.experiment.examples import fold_data, with_copies
from undertone.experiment.material import gather_features, open_material, read_corpus
from undertone.experiment.networks import own_tokens
from undertone.experiment.recipe import Recipe, load_recipe
from undertone.experiment.run import fresh, run_job
from undertone.experiment.stress import stress
from undertone.features.subword import Subword
from undertone.judging.clip import Clip
from undertone.judging.inputs import recording_of
from undertone.judging.predictor import Predictor, load, load_model
from undertone.models import folder as models
from undertone.models.tuned import Tuned
from undertone.scale.predict import pack_model, unpack
from undertone.serving.export import export
from undertone.serving.server.app import build as build_app
from undertone.serving.server.settings import ServerSettings
from undertone.store import Store
from undertone.types import Utterance

DEMO = Path(__file__).parents[2] / "recipes" / "demo" / "concat.toml"
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


CASES = {
    "top-k": ("speech.tune=top-k", "text.tune=top-k", "speech.top=1", "text.top=1"),
    "below the last": (
        "speech.tune=top-k",
        "speech.layer=1",
        "speech.top=1",
        "text.tune=full",
        "text.layer=1",
    ),
    "lora": ("speech.tune=lora", "text.tune=lora"),
    "full": ("speech.tune=full", "text.tune=full"),
    "speech alone": ("speech.tune=top-k", "speech.layer=weighted", "text.name=subword", "speech.copies=1"),
    "text alone": ("text.tune=full", "speech.name=acoustic"),
}


@dataclass(frozen=True)
class Made:
    """A run whose encoders learned, after the checkpoint of the text network was removed."""

    recipe: Recipe
    run: Path
    utterances: tuple[Utterance, ...]

    @property
    def final(self) -> Path:
        return self.run / "final"


@pytest.fixture(scope="module", params=CASES)
def made(request: pytest.FixtureRequest, place: Path, tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("made")
    for name in ("wav2vec2", "bert"):
        shutil.copytree(place / name, folder / "originals" / name)
    names = [
        f"speech.name={json.dumps(str(folder / 'originals' / 'wav2vec2'))}",
        f"text.name={json.dumps(str(folder / 'originals' / 'bert'))}",
    ]
    learning = ("training.epochs=1", "training.encoder_rate=1e-3")
    settings = (*names, *CASES[request.param], *learning, "speech.precision=fp32", "name=tuned")
    made = recipe(place / "corpus.jsonl", "concat", *settings)
    planned = plan(
        made, folder / "runs", lambda r, c: gather_features(r, c.utterances, Store(folder / "store"))
    )
    assert planned.final is not None
    for job in (*planned.jobs, planned.final):
        run_job(job)
    shutil.rmtree(folder / "originals" / "bert")  # speech's is needed still, for what is frozen of it
    return Made(made, planned.folder, read_corpus(made.manifest).utterances)


def test_copies_are_trained_on_and_neither_choose_nor_test(place: Path, tmp_path: Path) -> None:
    wanted = recipe(place / "corpus.jsonl", "concat", "speech.name=acoustic", "speech.copies=2")
    made = plan(
        wanted, tmp_path / "runs", lambda r, c: gather_features(r, c.utterances, Store(tmp_path / "s"))
    )
    material = open_material(made.folder, wanted.manifest, False)
    fold = material.split.folds[0]
    data = fold_data(material, wanted, fold.name)
    copies = [f"{name}#copy-{n}" for n in (1, 2) for name in fold.train]
    assert sorted(data.train.ids) == sorted([*fold.train, *copies])
    assert sorted(data.validation.ids) == sorted(fold.validation)
    utterance = material.corpus.by_id[fold.train[0]]
    _, *both = with_copies(material, wanted, [utterance])
    lengths = {u.duration for u in (utterance, *both)}
    assert len(lengths) > 1, "a copy has a speed of its own"
    for copy in both:
        assert copy.alignment is not None and copy.duration is not None
        assert copy.alignment.word[-1].end == pytest.approx(copy.duration, rel=0.02)
        assert (copy.label, copy.text, copy.speaker) == (utterance.label, utterance.text, utterance.speaker)
    again = gather_features(wanted, [utterance], Store(tmp_path / "s"))
    assert again.speech[both[0].id] == material.features.speech[both[0].id]


def test_a_model_judges_as_its_training_did(made: Made) -> None:
    """Every tested utterance of a fold, through ``load`` and one by one, has the posteriors of training."""
    job = next(path for path in sorted(made.run.glob("*/0")) if path.parent.name != "final")
    rows = [json.loads(line) for line in (job / "predictions.jsonl").read_text().splitlines()]
    predictor, by_id = load(job), {u.id: u for u in made.utterances}
    assert len(rows) == 12
    for row in rows:
        prediction = predictor.judge(recording_of(by_id[row["id"]]), explain=False)
        assert prediction.modalities == ("speech", "text")
        assert prediction.probabilities == pytest.approx(row["probabilities"], abs=2e-5)


def test_a_final_model_explains_words_alike_in_a_batch_and_alone(made: Made) -> None:
    model = load_model(made.final)
    clips = [
        Clip(u.id, audio.load(u.audio, u.start, u.end, model.rate), recording_of(u).transcript())
        for u in made.utterances[:3]
    ]
    clips += [Clip("speech", clips[0].wave), Clip("text", None, clips[0].words)]
    together = model.predict(clips, explain=True)
    assert [len(p.words) for p in together] == [4, 4, 4, 0, 4]
    for clip, prediction in zip(clips, together, strict=True):
        (alone,) = model.predict([clip], explain=True)
        assert alone.probabilities == pytest.approx(prediction.probabilities, abs=1e-5)
        for ours, theirs in zip(alone.words, prediction.words, strict=True):
            assert ours.contribution == pytest.approx(theirs.contribution, abs=1e-4)
    assert any(word.contribution != 0 for word in together[0].words)


def test_a_tuned_model_travels_as_a_pack_of_files(made: Made, tmp_path: Path) -> None:
    again = load_model(unpack(pack_model(made.final), tmp_path / "unpacked"))
    sound, text = Path(made.utterances[0].audio), made.utterances[0].text
    here, there = (Predictor(model).predict(sound, text) for model in (load_model(made.final), again))
    assert replace(there, model=here.model) == here


@pytest.mark.parametrize("to", ["onnx", "openvino"])
def test_a_tuned_model_is_exported_with_its_encoders(made: Made, to: str, tmp_path: Path) -> None:
    done = export(made.final, to, tmp_path / "graphs", encoders=True)
    card = json.loads((done.path / "card.json").read_text())
    frozen = {"speech"} if made.recipe.speech.tuned else set()
    assert set(card["exported"]["encoders"]) == frozen, "the blocks that learned are in the one graph"
    exported, original = load(done.path), load(made.final)
    for utterance in made.utterances[:4]:
        wanted = original.judge(recording_of(utterance))
        prediction = exported.judge(recording_of(utterance))
        assert prediction.probabilities == pytest.approx(wanted.probabilities, abs=1e-3)
        assert [w.contribution for w in prediction.words] == pytest.approx(
            [w.contribution for w in wanted.words], abs=1e-3
        )


def test_a_tuned_run_is_stressed_and_looked_at(made: Made) -> None:
    if made.recipe.text.name != "subword" and not made.recipe.text.tuned:
        pytest.skip("the text encoder's checkpoint would be needed for texts with errors")
    sweeps = stress(made.run)
    rows = {(sweep, row["at"]): row for sweep, found in sweeps.items() for row in found}
    plain = evaluate(made.run).seeds["ua"].mean
    assert rows["added noise", "none"]["ua"] == pytest.approx(plain)
    assert rows["transcript", "40 % word errors"]["n"] == 36
    path = write_example(made.recipe, made.run)
    assert path is not None and len(json.loads(path.read_text())["words"]) == 4


def test_a_tuned_model_is_served(made: Made) -> None:
    model = load_model(made.final)
    sound = Path(made.utterances[0].audio)
    with TestClient(build_app(model, ServerSettings()), base_url="http://localhost") as client:
        body = {"audio": base64.b64encode(sound.read_bytes()).decode(), "text": "furious boat"}
        reply = client.post("/v1/predict", json=body)
    assert reply.status_code == 200
    wanted = Predictor(model).predict(sound, "furious boat")
    assert reply.json()["probabilities"] == pytest.approx(wanted.probabilities, abs=1e-5)


@pytest.mark.parametrize(
    ("side", "name", "way"),
    [
        *(("speech", name, way) for name in checkpoints.SPEECH for way in ("top-k", "lora")),
        *(("text", name, "lora") for name in checkpoints.TEXT),
    ],
)
def test_every_family_trains_judges_as_its_training_did_and_is_exported(
    place: Path, side: str, name: str, way: str, tmp_path: Path
) -> None:
    table = checkpoints.SPEECH if side == "speech" else checkpoints.TEXT
    network = checkpoints.make(table[name], tmp_path / "network")
    settings = [f"{side}.name={json.dumps(str(network))}", f"{side}.tune={way}", f"{side}.precision=fp32"]
    settings += ["speech.layer=weighted", "speech.top=1"] if way == "top-k" else []
    learning = ("training.epochs=1", "training.encoder_rate=1e-2")
    run = plan(
        recipe(place / "corpus.jsonl", side, *settings, *learning),
        tmp_path / "run",
        lambda r, c: gather_features(r, c.utterances, Store(tmp_path / "store")),
    )
    run_job(run.jobs[0])
    exported = load(export(run.jobs[0].folder, "onnx", tmp_path / "graph").path)
    original, by_id = load(run.jobs[0].folder), {u.id: u for u in run.corpus.utterances}
    rows = [json.loads(x) for x in (run.jobs[0].folder / "predictions.jsonl").read_text().splitlines()]
    for row in rows[:4]:
        for predictor in (original, exported):
            prediction = predictor.judge(recording_of(by_id[row["id"]]), explain=False)
            assert prediction.probabilities == pytest.approx(row["probabilities"], abs=2e-5)


def test_a_texts_ids_are_those_of_its_own_tokenizer_and_cut_where_the_network_ends(place: Path) -> None:
    from undertone.pretrained import load_text

    tokens = own_tokens(tuned(place, "full"))
    text = "furious boat on the river"
    wanted = load_text(str(place / "bert")).processor(text, return_offsets_mapping=True)
    ids, chars = tokens.encode(text)
    assert ids.tolist() == wanted["input_ids"] and chars.tolist() == [
        list(x) for x in wanted["offset_mapping"]
    ]
    assert len(tokens.encode("boat " * 2000)[0]) == 512


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
    made = tuned(place, "full", "name=full", "speech.layer=weighted")
    planned = plan(
        made, place / "runs", lambda r, c: gather_features(r, c.utterances, Store(place / "store"))
    )
    material = open_material(planned.folder, made.manifest, everything=False)
    parts = fold_data(material, made, planned.split.folds[0].name)
    batch = parts.train.batch(np.arange(3))
    assert batch.speech.shape == (3, 39, 16), "0.8 s of 20 ms frames, less what the last lacks"
    assert batch.text.dtype.is_floating_point is False
    encoded = fresh(made, material, parts.dimensions, planned.split.folds[0].name, 0).encoded(batch)
    assert encoded.speech.shape == (3, 3, 39, 16)
    assert int(batch.segments["word"].spans.max()) == 39
    assert encoded.text.shape[-1] == parts.dimensions.text == 16


def test_what_is_frozen_of_a_network_is_encoded_once_for_all_that_tune_above_it(
    place: Path, tmp_path: Path
) -> None:
    store = Store(tmp_path / "store")
    utterances = read_corpus(tuned(place, "full").manifest).utterances
    given = {
        "full": gather_features(tuned(place, "full"), utterances, store),
        "lora": gather_features(tuned(place, "lora", "speech.layer=weighted"), utterances, store),
        "all": gather_features(tuned(place, "top-k", "speech.top=2"), utterances, store),
        "top": gather_features(tuned(place, "top-k", "speech.top=1"), utterances, store),
        "frozen": gather_features(tuned(place, "frozen", "speech.layer=1"), utterances, store),
    }
    assert given["full"].speech == given["lora"].speech == given["all"].speech != given["top"].speech
    assert given["top"].speech == given["frozen"].speech
    assert [given[name].speech_layers for name in ("full", "lora", "all")] == [0, 3, 0]


def planned(place: Path, recipe: Recipe) -> Plan:
    folder = place / "runs" / recipe.title
    return plan(recipe, folder, lambda r, c: gather_features(r, c.utterances, Store(place / "store")))


@pytest.fixture(scope="module")
def frozen(place: Path) -> Path:
    """A run over frozen encoders, of which one fold is trained."""
    run = planned(place, tuned(place, "frozen", "name=frozen"))
    run_job(run.jobs[0])
    return run.folder


def warm(place: Path, run: Path, *more: str):  # type: ignore[no-untyped-def]
    slow = ("training.rate=1e-12", "training.encoder_rate=1e-12", "training.weight_decay=0")
    how = (f"training.warm={json.dumps(str(run))}", "name=warm", "speech.top=1", "text.top=1")
    return tuned(place, "top-k", *slow, *how, *more)


def test_a_warm_start_continues_the_frozen_run_of_the_same_fold(place: Path, frozen: Path) -> None:
    run = planned(place, warm(place, frozen))
    run_job(run.jobs[0])
    began = models.load(frozen / run.jobs[0].fold / "0").system
    ended = models.load(run.jobs[0].folder).system
    assert isinstance(ended, Tuned)
    for name, value in began.named_parameters():
        torch.testing.assert_close(ended.head.get_parameter(name), value, atol=1e-6, rtol=1e-6)
    rows = [
        [json.loads(x)["probabilities"] for x in (folder / "predictions.jsonl").read_text().splitlines()]
        for folder in (run.jobs[0].folder, frozen / run.jobs[0].fold / "0")
    ]
    for ours, theirs in zip(*rows, strict=True):
        assert ours == pytest.approx(theirs, abs=0.02)


def test_a_warm_start_from_anything_else_is_refused(place: Path, frozen: Path, tmp_path: Path) -> None:
    def refused(run: Path, why: str, *more: str, job: int = 0) -> None:
        with pytest.raises((ConfigError, ModelError), match=why) as error:
            run_job(planned(place, warm(place, run, "name=refused", *more)).jobs[job])
        assert "\n" not in str(error.value)

    refused(tmp_path / "nowhere", "no finished run there; train it first")
    refused(frozen, "was not trained; train that fold and seed first", job=1)
    refused(frozen, "is of other folds", "protocol.split_seed=1")
    refused(frozen, "is over layer last of .*, not 1 of", "speech.layer=1")
    refused(frozen, "does not fit this recipe: .*size mismatch", "model.width=20")
    run_job(planned(place, warm(place, frozen, "name=tuned-before")).jobs[0])
    refused(place / "runs" / "tuned-before", "is not a 'concat' over frozen encoders")
    again = planned(place, tuned(place, "frozen", "name=refitted", "protocol.refit=true"))
    run_job(again.jobs[0])
    refused(again.folder, r"has learned its validation parts too .*protocol\.refit=false")
    with pytest.raises(ConfigError, match="no finished run"):
        plan(
            warm(place, tmp_path / "none"), tmp_path / "run", lambda r, c: pytest.fail("encoded before that")
        )
    with pytest.raises(ConfigError, match="is for recipes that tune"):
        load_recipe(DEMO, ["training.warm=runs/frozen"])


def test_a_warm_start_from_a_run_that_was_trained_again_is_another_training(
    place: Path, frozen: Path
) -> None:
    first, again = (planned(place, warm(place, frozen)).jobs[0].fingerprint for _ in range(2))
    done = next(frozen.glob("*/*/done.json"))
    kept = done.read_text()
    done.write_text(json.dumps({"fingerprint": "other"}))
    other = planned(place, warm(place, frozen)).jobs[0].fingerprint
    done.write_text(kept)
    assert first == again != other


def test_one_more_fold_of_the_frozen_run_leaves_the_others_trainings(place: Path) -> None:
    run = planned(place, tuned(place, "frozen", "name=growing"))
    run_job(run.jobs[0])
    before = planned(place, warm(place, run.folder, "name=grown")).jobs
    run_job(run.jobs[1])
    after = planned(place, warm(place, run.folder, "name=grown")).jobs
    assert before[0].fingerprint == after[0].fingerprint
    assert before[1].fingerprint != after[1].fingerprint


def test_a_warm_start_gives_a_final_model(place: Path) -> None:
    kept, data = tuned(place, "frozen", "name=whole"), Store(place / "store")
    crossval([kept], place / "runs", store=data)
    recipe = warm(place, place / "runs" / "whole", "name=tuned-whole")
    done = crossval([recipe], place / "runs", store=data)
    assert not done.failures
    began, ended = (models.load(place / "runs" / name / "final").system for name in ("whole", "tuned-whole"))
    assert isinstance(ended, Tuned)
    for name, value in began.named_parameters():
        torch.testing.assert_close(ended.head.get_parameter(name), value, atol=1e-6, rtol=1e-6)


def test_layers_with_nothing_to_tune_below_them_are_refused(place: Path) -> None:
    network = ("speech.name=x", "text.name=x")
    with pytest.raises(ConfigError, match=r"speech\.layer = 1 has no 2 blocks below it"):
        load_recipe(DEMO, [*network, "speech.tune=top-k", "speech.layer=1"])
    with pytest.raises(ConfigError, match=r"text\.layer = 0 has no 1 blocks below it"):
        load_recipe(DEMO, [*network, "text.tune=full", "text.layer=0"])
    made = tuned(place, "top-k", "speech.top=9")
    with pytest.raises(ConfigError, match="has hidden states 0 to 2"):
        planned(place, made)


def test_a_run_that_was_planned_by_an_older_version_is_read(place: Path) -> None:
    run = planned(place, tuned(place, "frozen", "name=older"))
    wanted = open_material(run.folder, run.recipe.manifest, everything=False).features
    file = run.folder / "features.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"recordings": ""}))
    assert open_material(run.folder, run.recipe.manifest, everything=False).features == wanted


def test_a_card_names_the_precision_that_was_computed_in_not_auto(place: Path) -> None:
    made = tuned(place, "frozen", "name=frozen")
    found = gather_features(made, read_corpus(made.manifest).utterances, Store(place / "store"))
    assert made.speech.encoder.precision == "auto"
    assert {found.encoders[side]["settings"]["precision"] for side in ("speech", "text")} <= {"fp32", "bf16"}


@pytest.mark.parametrize("options", [["speech.tune=full"], ["text.tune=full"]])
def test_only_pretrained_networks_can_be_tuned(place: Path, options: list[str]) -> None:
    with pytest.raises(ConfigError, match="needs a pretrained"):
        load_recipe(DEMO, options)
