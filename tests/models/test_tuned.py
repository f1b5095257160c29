"""Encoders in the graph: what learns, what does not, and that padding is still nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.features import checkpoints
from tests.models.synthetic import SMALL, total
from undertone.errors import ModelError
from undertone.models.batch import Batch, collate
from undertone.models.example import Dimensions, Example
from undertone.models.folder import load, save
from undertone.models.table import build
from undertone.models.tuned import SpeechTower, TextTower, TuneConfig, Tuned
from undertone.pretrained import load_speech, load_text

WIDTH = checkpoints.WIDTH
RAW = Dimensions(classes=4, vocabulary=40)
"""How a batch is laid out that still has to go through both encoders."""
TUNES = ["frozen", "top-k", "full", "lora"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("encoders")
    made = {"speech": checkpoints.wav2vec2_group, "text": checkpoints.TEXT["bert"]}
    for name, make in made.items():
        (root / name).mkdir()
        make(root / name)
    return {name: root / name for name in made}


def _tuned(folders: dict[str, Path], tune: str, system: str = "concat", **settings: Any) -> Tuned:
    config = TuneConfig.parse({"tune": tune, "top": 1} | settings)
    torch.manual_seed(0)
    speech = SpeechTower(load_speech(str(folders["speech"])).model, config)
    text = TextTower(load_text(str(folders["text"])).model, config.model_copy(update={"layer": "last"}))
    dims = Dimensions(classes=4, speech=speech.dim, speech_layers=speech.layers, text=text.dim)
    return Tuned(build(system, SMALL, dims), speech, text)


def _batch(seconds: list[float], seed: int = 0) -> Batch:
    return collate(_examples(seconds, seed), RAW)


def _examples(seconds: list[float], seed: int = 0) -> list[Example]:
    rng = np.random.default_rng(seed)
    return [
        Example(
            id=str(i),
            speech=rng.normal(0, 0.1, int(s * 16_000)).astype(np.float32),
            text=rng.integers(1, 30, size=4 + i),
            label=i % 4,
        )
        for i, s in enumerate(seconds)
    ]


@pytest.mark.parametrize("system", ["concat", "multilevel", "perspective", "mgcma", "unison"])
def test_every_system_takes_samples_through_an_encoder(folders: dict[str, Path], system: str) -> None:
    tuned = _tuned(folders, "top-k", system).train()
    loss = total(tuned, _batch([0.3, 0.5, 0.4, 0.35]))
    loss.backward()
    assert torch.isfinite(loss)
    assert set(tuned.members()) == {""}


@pytest.mark.parametrize("tune", TUNES)
def test_just_what_was_chosen_learns(folders: dict[str, Path], tune: str) -> None:
    tuned = _tuned(folders, tune).train()
    total(tuned, _batch([0.3, 0.5, 0.4, 0.35])).backward()
    learnt = {n for n, p in tuned.named_parameters() if p.grad is not None and p.grad.any()}
    inside = {n for n in learnt if "tower" in n}
    assert {n for n in learnt if n.startswith("head.")}
    assert not any("feature_extractor" in n for n in inside)
    if tune == "frozen":
        assert not inside
    elif tune == "top-k":
        blocks = {n.split("layers.")[-1].split("layer.")[-1].split(".")[0] for n in inside}
        assert blocks == {"2"}  # of three
    elif tune == "lora":
        assert inside and all("lora_" in n for n in inside)
    else:
        assert any("feature_projection" in n for n in inside) and any("embeddings" in n for n in inside)


def test_a_frozen_encoder_gives_the_head_what_the_store_would(folders: dict[str, Path]) -> None:
    """The same logits whether features are made in the graph or come ready."""
    tuned = _tuned(folders, "frozen").eval()
    batch = _batch([0.3, 0.5])
    ready = tuned.encoded(batch)
    torch.testing.assert_close(tuned(batch).logits, tuned.head(ready).logits)
    whole = load_speech(str(folders["speech"]))
    wave = batch.speech[1, : batch.speech_lengths[1]].numpy()
    values = whole.processor(wave, sampling_rate=16_000, return_tensors="pt").input_values
    with torch.no_grad():
        alone = whole.model(values).last_hidden_state[0]
    torch.testing.assert_close(ready.speech[1, : len(alone)], alone, atol=1e-4, rtol=1e-4)
    assert ready.speech_lengths[1] == len(alone)


def test_a_batch_is_as_single_clips(folders: dict[str, Path]) -> None:
    tuned = _tuned(folders, "full").eval()
    items = _examples([0.3, 0.9, 0.5])
    together = tuned(collate(items, RAW)).logits
    for i, item in enumerate(items):
        torch.testing.assert_close(tuned(collate([item], RAW)).logits[0], together[i], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("layer", ["last", "weighted"])
def test_clips_beside_their_variants_are_encoded_once_and_the_same(
    folders: dict[str, Path], layer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clip, itself without a word, without text, without speech: as each of them alone."""
    tuned = _tuned(folders, "full", layer=layer).eval()
    first, second = _examples([0.3, 0.4])
    items = [first, first, replace(first, text=None), first, replace(second, speech=None), second, second]
    batch = collate(items, tuned.layout)
    gate = torch.ones(len(items), tuned.encoded(batch).speech.shape[-2])
    gate[1, :4] = 0.0
    gated = replace(batch, speech_gate=gate)
    with torch.no_grad():
        together = tuned(gated).logits
        for index, item in enumerate(items):
            alone = collate([item], tuned.layout)
            frames = tuned.encoded(alone).speech.shape[-2]
            one = tuned(replace(alone, speech_gate=gate[index : index + 1, :frames])).logits[0]
            torch.testing.assert_close(one, together[index], atol=1e-5, rtol=1e-4)
    assert not torch.allclose(together[0], together[1])
    seen: list[int] = []
    assert tuned.speech_tower is not None and tuned.text_tower is not None
    for tower in (tuned.speech_tower, tuned.text_tower):
        monkeypatch.setattr(tower, "forward", lambda x, n, f=tower.forward: (seen.append(len(x)), f(x, n))[1])
    tuned(gated)
    assert seen == [2, 3], "rows of speech, rows of text"


def test_a_clip_shorter_than_the_convolutions_is_one_frame(folders: dict[str, Path]) -> None:
    tuned = _tuned(folders, "full").eval()
    batch = collate([replace(_examples([0.3])[0], speech=np.full(200, 0.1, np.float32))], tuned.layout)
    assert tuned.encoded(batch).speech.shape[1] == 1 and torch.isfinite(tuned(batch).logits).all()


def test_a_missing_side_is_legal(folders: dict[str, Path]) -> None:
    tuned = _tuned(folders, "full").train()
    items = _examples([0.3, 0.4, 0.5])
    items[0], items[1] = replace(items[0], speech=None), replace(items[1], text=None)
    loss = total(tuned, collate(items, RAW))
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(p.grad).all() for p in tuned.parameters() if p.grad is not None)


def test_layers_are_weighed_and_counted_from_above(folders: dict[str, Path]) -> None:
    tuned = _tuned(folders, "full", layer="weighted")
    names = [n for n, _ in tuned.named_parameters()]
    above = {n: tuned.layers_above(n) for n in names}
    assert {v for n, v in above.items() if n.startswith("head.")} == {0}
    assert {v for n, v in above.items() if ".layers.2." in n} == {0}
    assert {v for n, v in above.items() if ".layers.0." in n} == {2}
    assert {v for n, v in above.items() if "feature_projection" in n} == {3}
    assert tuned(_batch([0.3, 0.4])).logits.shape == (2, 4)


def test_checkpointing_gives_the_same_gradient(folders: dict[str, Path]) -> None:
    def gradients(checkpointing: bool) -> dict[str, torch.Tensor]:
        tuned = _tuned(folders, "full", checkpointing=checkpointing)
        for part in tuned.modules():  # blocks checkpoint in training mode only: so train, without noise
            if isinstance(part, torch.nn.Dropout):
                part.p = 0.0
        tuned.train()
        for tower in (tuned.speech_tower, tuned.text_tower):
            assert tower is not None
            tower.model.config.layerdrop = 0.0
            tower.model.config.apply_spec_augment = False
        total(tuned, _batch([0.3, 0.4])).backward()
        return {n: p.grad for n, p in tuned.named_parameters() if p.grad is not None}

    plain, saved = gradients(False), gradients(True)
    assert plain.keys() == saved.keys()
    for name, value in plain.items():
        torch.testing.assert_close(value, saved[name], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("tune", ["top-k", "lora"])
def test_saving_and_loading_is_identity(folders: dict[str, Path], tune: str, tmp_path: Path) -> None:
    tuned = _tuned(folders, tune).eval()
    save(tmp_path / "model", tuned, {"labels": list("abcd")})
    again = load(tmp_path / "model")
    assert again.name == "concat"
    batch = _batch([0.3, 0.4])
    assert torch.equal(again.system(batch).logits, tuned(batch).logits)


@pytest.mark.parametrize("name", checkpoints.TEXT)
def test_lora_adapts_queries_and_values_of_every_text_network(name: str, tmp_path: Path) -> None:
    """DeBERTa calls them query_proj and value_proj."""
    folder = checkpoints.make(checkpoints.TEXT[name], tmp_path / "network")
    tower = TextTower(load_text(str(folder)).model, TuneConfig(tune="lora"))
    learning = {n: p for n, p in tower.named_parameters() if p.requires_grad}
    tower(torch.tensor([[2, 7, 8, 3]]), torch.tensor([4])).square().sum().backward()
    moved = {n for n, p in learning.items() if p.grad is not None and p.grad.abs().sum() > 0}
    second = {n for n in learning if "lora_B" in n}  # lora_A gets a gradient once B is no longer zero
    assert len(second) == 2 * len(tower.stack) and moved == second


def test_what_cannot_be_tuned_says_so() -> None:
    with pytest.raises(ModelError, match="extract its features instead"):
        SpeechTower(torch.nn.Linear(2, 2), TuneConfig())
