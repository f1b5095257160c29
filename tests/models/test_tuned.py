"""Systems over encoders in the graph: what they take, what is computed once, standardising, saving."""

from __future__ import annotations

import json
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
from undertone.models.folder import ENCODERS, load, save
from undertone.models.table import build
from undertone.models.towers import SpeechTower, TextTower, TuneConfig
from undertone.models.tuned import Tuned
from undertone.pretrained import load_speech, load_text
from undertone.training.config import TrainingConfig
from undertone.training.dataset import Dataset
from undertone.training.loop import fit
from undertone.training.optimizer import make_optimizer

WIDTH = checkpoints.WIDTH
RAW = Dimensions(classes=4, speech=WIDTH, vocabulary=40)
"""How a batch is laid out that still has to go through both encoders."""


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("encoders")
    made = {"speech": checkpoints.wav2vec2_group, "text": checkpoints.TEXT["bert"]}
    return {name: checkpoints.make(build, root / name) for name, build in made.items()}


def _tuned(folders: dict[str, Path], tune: str, system: str = "concat", **settings: Any) -> Tuned:
    config = TuneConfig.parse({"tune": tune, "top": 1} | settings)
    torch.manual_seed(0)
    speech = SpeechTower(load_speech(str(folders["speech"])).model, config)
    text = TextTower(load_text(str(folders["text"])).model, config.model_copy(update={"layer": "last"}))
    dims = Dimensions(classes=4, speech=speech.dim, speech_layers=speech.layers, text=text.dim)
    return Tuned(build(system, SMALL, dims), speech, text)


def _batch(frames: list[int], seed: int = 0) -> Batch:
    return collate(_examples(frames, seed), RAW)


def _examples(frames: list[int], seed: int = 0) -> list[Example]:
    rng = np.random.default_rng(seed)
    return [
        Example(
            id=str(i),
            speech=rng.normal(3, 2, (n, WIDTH)).astype(np.float32),
            text=rng.integers(1, 30, size=4 + i),
            label=i % 4,
        )
        for i, n in enumerate(frames)
    ]


@pytest.mark.parametrize("system", ["concat", "multilevel", "perspective", "mgcma", "unison"])
def test_every_system_takes_stored_states_through_an_encoder(folders: dict[str, Path], system: str) -> None:
    tuned = _tuned(folders, "top-k", system).train()
    loss = total(tuned, _batch([15, 25, 20, 17]))
    loss.backward()
    assert torch.isfinite(loss)
    assert set(tuned.members()) == {""}
    assert all(p.grad is not None for p in tuned.speech_tower.parameters())  # type: ignore[union-attr]


@pytest.mark.parametrize("tune", ["top-k", "full", "lora"])
def test_a_batch_is_as_single_clips(folders: dict[str, Path], tune: str) -> None:
    tuned = _tuned(folders, tune).eval()
    items = _examples([15, 45, 25])
    together = tuned(collate(items, RAW)).logits
    for i, item in enumerate(items):
        torch.testing.assert_close(tuned(collate([item], RAW)).logits[0], together[i], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("layer", ["last", "weighted"])
def test_clips_beside_their_variants_are_encoded_once_and_the_same(
    folders: dict[str, Path], layer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clip, itself without a word, without text, without speech: as each of them alone."""
    tuned = _tuned(folders, "full", layer=layer).eval()
    first, second = _examples([15, 20])
    items = [first, first, replace(first, text=None), first, replace(second, speech=None), second, second]
    batch = collate(items, tuned.layout)
    assert tuned.layout.speech_layers == 0
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
    assert not tuned.encoded(batch).speech[4].any() and not tuned.encoded(batch).text[2].any()
    seen: list[int] = []
    assert tuned.speech_tower is not None and tuned.text_tower is not None
    for tower in (tuned.speech_tower, tuned.text_tower):
        monkeypatch.setattr(tower, "forward", lambda x, n, f=tower.forward: (seen.append(len(x)), f(x, n))[1])
    tuned(gated)
    assert seen == [2, 3], "rows of speech, rows of text"


def test_a_missing_side_is_legal(folders: dict[str, Path]) -> None:
    tuned = _tuned(folders, "full").train()
    items = _examples([15, 20, 25])
    items[0], items[1] = replace(items[0], speech=None), replace(items[1], text=None)
    loss = total(tuned, collate(items, RAW))
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(p.grad).all() for p in tuned.parameters() if p.grad is not None)
    nothing = collate([replace(items[0], text=None)] * 2, RAW)
    assert torch.isfinite(tuned.eval()(nothing).logits).all()


def test_blocks_have_a_rate_of_their_own_smaller_further_below(folders: dict[str, Path]) -> None:
    tuned = _tuned(folders, "full", layer="weighted")
    names = [n for n, _ in tuned.named_parameters()]
    above = {n: tuned.layers_above(n) for n in names}
    assert {v for n, v in above.items() if n.startswith("head.")} == {None}
    assert {v for n, v in above.items() if ".blocks.2." in n} == {0}
    assert {v for n, v in above.items() if ".blocks.0." in n} == {2}
    assert {v for n, v in above.items() if "embeddings" in n} == {3}
    config = TrainingConfig(rate=1e-3, encoder_rate=1e-4, layer_decay=0.5)
    rates = {
        id(p): group["peak"] for group in make_optimizer(tuned, config).param_groups for p in group["params"]
    }
    for name, parameter in tuned.named_parameters():
        if parameter.requires_grad:
            wanted = 1e-3 if above[name] is None else 1e-4 * 0.5 ** above[name]  # type: ignore[operator]
            assert rates[id(parameter)] == pytest.approx(wanted)


@pytest.mark.parametrize("layer", ["last", "weighted"])
def test_the_head_is_standardised_by_what_the_blocks_make_at_the_start(
    folders: dict[str, Path], layer: str
) -> None:
    """The blocks themselves get the frames as they are stored."""
    tuned = _tuned(folders, "top-k", layer=layer)
    items = _examples([15, 45, 25, 30])
    with torch.no_grad():
        made = [tuned.eval().encoded(collate([x], tuned.layout)).speech[0] for x in items]
    frames = torch.cat(made, -2).double()  # (T, D), or (K, T, D): each layer on its own
    wanted = [x.view_as(tuned.head.speech_mean) for x in (frames.mean(-2), frames.std(-2, correction=0))]
    start = {n: p.clone() for n, p in tuned.speech_tower.named_parameters()}  # type: ignore[union-attr]
    fit(tuned, Dataset(items, tuned.layout), None, TrainingConfig(epochs=1, encoder_rate=1e-3))
    torch.testing.assert_close(tuned.head.speech_mean.double(), wanted[0], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(tuned.head.speech_std.double(), wanted[1], atol=1e-5, rtol=1e-4)
    assert not tuned.speech_mean.any() and (tuned.speech_std == 1).all()
    for name, value in tuned.speech_tower.named_parameters():  # type: ignore[union-attr]
        assert not torch.equal(value, start[name]) or name.endswith("k_proj.bias")


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("tune", ["top-k", "lora"])
def test_saving_and_loading_is_identity(
    folders: dict[str, Path], tune: str, precision: str, tmp_path: Path
) -> None:
    tuned = _tuned(folders, tune)
    config = TrainingConfig.parse({"epochs": 2, "encoder_rate": 1e-3, "precision": precision})
    fit(tuned, Dataset(_examples([15, 20, 30, 7]), tuned.layout), None, config)
    save(tmp_path / "model", tuned, {"labels": list("abcd")})
    again = load(tmp_path / "model")
    assert again.name == "concat"
    batch = _batch([15, 20])
    assert torch.equal(again.system(batch).logits, tuned(batch).logits)


@pytest.mark.parametrize(("design", "remedy"), [(None, "older undertone; train"), (3, "newer undertone; up")])
def test_a_model_of_another_design_is_refused_in_one_line(
    folders: dict[str, Path], design: int | None, remedy: str, tmp_path: Path
) -> None:
    save(tmp_path, _tuned(folders, "top-k"), {"labels": list("abcd")})
    settings = json.loads((tmp_path / ENCODERS).read_text())
    del settings["design"]
    (tmp_path / ENCODERS).write_text(json.dumps(settings | ({"design": design} if design else {})))
    with pytest.raises(ModelError, match=f"^{tmp_path}: tuned by an? {remedy}") as refused:
        load(tmp_path)
    assert "\n" not in str(refused.value)
