"""Blocks that learn, of every family: what they make, which tensors move, and that padding is nothing."""

from __future__ import annotations

import re
import warnings
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.features import checkpoints
from undertone.errors import ConfigError, ModelError
from undertone.features.config import SpeechConfig
from undertone.features.neural import FAMILIES, PretrainedSpeech
from undertone.models.towers import SpeechTower, TextTower, Tower, TuneConfig
from undertone.pretrained import architecture, load_speech, load_text

WAYS = {
    "top-k": {"tune": "top-k", "top": 1},
    "top-k below the last": {"tune": "top-k", "top": 1, "layer": 2},
    "two weighted": {"tune": "top-k", "top": 2, "layer": "weighted"},
    "full": {"tune": "full"},
    "full weighted": {"tune": "full", "layer": "weighted"},
    "lora": {"tune": "lora", "rank": 2},
}
every_network = pytest.mark.parametrize("name", checkpoints.SPEECH)
every_way = pytest.mark.parametrize("way", WAYS)


@cache
def folder(kind: str, name: str) -> str:
    table = checkpoints.SPEECH if kind == "speech" else checkpoints.TEXT
    return str(checkpoints.make(table[name], Path(mkdtemp()) / "network"))


def speech_tower(name: str, **settings: Any) -> SpeechTower:
    torch.manual_seed(1)
    return SpeechTower(load_speech(folder("speech", name)).model, TuneConfig.parse(settings))


def text_tower(name: str, **settings: Any) -> TextTower:
    torch.manual_seed(1)
    return TextTower(load_text(folder("text", name)).model, TuneConfig.parse(settings))


def states(name: str, layer: int | str, samples: list[int]) -> list[Tensor]:
    """The frozen network's hidden states of noise, as extraction makes them."""
    config = SpeechConfig.parse({"name": folder("speech", name), "layer": layer, "precision": "fp32"})
    drawn = np.random.default_rng(0)
    waves = [(0.1 * drawn.standard_normal(n)).astype(np.float32) for n in samples]
    return [torch.from_numpy(x) for x in PretrainedSpeech(config).encode(waves)]


def batch(frames: list[Tensor]) -> tuple[Tensor, Tensor]:
    lengths = torch.tensor([len(x) for x in frames])
    return nn.utils.rnn.pad_sequence(frames, batch_first=True), lengths


def without_dropout(tower: Tower) -> None:
    """In training mode, without noise."""
    for part in tower.modules():
        for name in ("dropout", "activation_dropout"):
            if isinstance(getattr(part, name, None), float):
                setattr(part, name, 0.0)
        if isinstance(part, nn.Dropout):
            part.p = 0.0
    tower.train()


def test_every_family_is_there() -> None:
    assert {architecture(folder("speech", name)) for name in checkpoints.SPEECH} == set(FAMILIES)


@every_network
@every_way
def test_at_the_start_a_tower_makes_the_frozen_networks_own_states(name: str, way: str) -> None:
    """Whisper pads with silence what it has no length for: so it gets clips of one of its lengths."""
    tower = speech_tower(name, **WAYS[way]).eval()
    samples = [64_000, 64_000] if name == "whisper" else [9_000, 21_000]
    given, wanted = (states(name, x, samples) for x in (tower.config.given, tower.config.layer))
    if tower.layers:
        wanted = [x[-tower.layers :] for x in wanted]
    with torch.no_grad():
        made = tower(*batch(given))
    for row, alone in zip(made, wanted, strict=True):
        frames = alone.shape[-2]
        torch.testing.assert_close(row[..., :frames, :], alone, atol=1e-5, rtol=1e-5)
        assert not row[..., frames:, :].any(), "padding is zeros"
    assert made.shape[-1] == tower.dim == checkpoints.WIDTH


@every_network
@every_way
def test_a_padded_batch_is_as_single_clips(name: str, way: str) -> None:
    tower = speech_tower(name, **WAYS[way]).eval()
    for one in tower.parameters():  # as after training: what is zero at first is not any more
        one.data.add_(0.05 * torch.randn_like(one))
    given = states(name, tower.config.given, [9_000, 40_000, 21_000, 200])
    padded, lengths = batch(given)
    with torch.no_grad():
        together = tower(torch.cat([padded, padded[:1]]), torch.cat([lengths, lengths[:1] * 0]))
        for row, frames in zip(together, given, strict=False):
            alone = tower(frames[None], torch.tensor([len(frames)]))[0]
            torch.testing.assert_close(row[..., : len(frames), :], alone, atol=1e-5, rtol=1e-5)
    assert not together[-1].any(), "a missing clip is zeros"


@dataclass(frozen=True)
class Step:
    """One step of an optimizer."""

    moved: set[str]
    kept: set[str]


def one_step(tower: Tower, *inputs: Tensor) -> Step:
    before = {name: p.detach().clone() for name, p in tower.named_parameters()}
    learning = [p for p in tower.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(learning, lr=1e-2)
    for _ in range(2):  # of low-rank maps the first step moves one factor alone
        optimizer.zero_grad()
        weights = torch.randn(tower.dim, generator=torch.Generator().manual_seed(0))
        (tower(*inputs) * weights).square().mean().backward()
        optimizer.step()
    moved = {n for n, p in tower.named_parameters() if not torch.equal(p, before[n])}
    return Step(moved, set(before) - moved)


@every_network
@every_way
def test_a_step_moves_the_chosen_tensors_and_no_others(name: str, way: str) -> None:
    tower = speech_tower(name, **WAYS[way]).train()
    step = one_step(tower, *batch(states(name, tower.config.given, [9_000, 21_000])))
    if way == "lora":
        assert len(step.moved) == 2 * 2 * 3, "two factors of two maps in each block"
        assert all(n.endswith((".down", ".up")) for n in step.moved)
        maps = {n.partition(".parametrizations")[0].rpartition(".")[2] for n in step.moved}
        assert len(maps) == 2 and maps < {"q_proj", "v_proj", "linear_q", "linear_v"}
        return
    still = {"blocks.0.attention.rel_attn_embed.weight"} if "wavlm" in name and "full" not in way else set()
    # the bias of keys changes every score of a query alike, and softmax does not see that
    still |= {n for n in step.kept if n.endswith(("k_proj.bias", "linear_k.bias", "pos_bias_u"))}
    assert step.kept == still


@every_network
@every_way
def test_what_a_tower_holds_is_what_it_needs(name: str, way: str) -> None:
    """Blocks that learn, and the norm above them where the network has one there."""
    tower = speech_tower(name, **WAYS[way])
    network = load_speech(folder("speech", name))
    normed = "layer norm" in name or name == "whisper"
    assert [len(tower.stack), any(True for _ in tower.norm.parameters())] == [
        {"top-k": 1, "top-k below the last": 1, "two weighted": 2}.get(way, 3),
        normed and way != "top-k below the last",
    ]
    assert tower.layers == {"two weighted": 3, "full weighted": 4}.get(way, 0)
    held = sum(p.numel() for p in tower.parameters())
    assert held < sum(p.numel() for p in network.model.parameters())


@every_network
@every_way
def test_a_tower_is_rebuilt_from_its_settings_and_its_weights(name: str, way: str) -> None:
    tower = speech_tower(name, **WAYS[way]).eval()
    for one in tower.parameters():
        one.data.add_(0.05 * torch.randn_like(one))
    inputs = batch(states(name, tower.config.given, [9_000, 21_000]))
    settings = tower.plain()
    again = SpeechTower.rebuild(settings["network"], TuneConfig.parse(settings["tune"])).eval()
    again.load_state_dict(tower.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(again(*inputs), tower(*inputs), atol=0, rtol=0)


@every_network
@pytest.mark.parametrize("way", ["two weighted", "lora"])
def test_checkpointing_gives_the_same_gradients(name: str, way: str) -> None:
    def gradients(checkpointing: bool) -> dict[str, Tensor]:
        tower = speech_tower(name, **WAYS[way], checkpointing=checkpointing)
        without_dropout(tower)
        tower(*batch(states(name, tower.config.given, [9_000, 21_000]))).square().sum().backward()
        return {n: p.grad for n, p in tower.named_parameters() if p.grad is not None}

    plain, again = gradients(False), gradients(True)
    assert plain and plain.keys() == again.keys()
    for one, value in plain.items():
        torch.testing.assert_close(value, again[one], atol=1e-5, rtol=1e-4)


@every_network
def test_a_tower_trains_after_it_was_used_for_inference(name: str) -> None:
    """No tensor of inference mode stays behind in it."""
    tower = speech_tower(name, tune="full").train()
    inputs = batch(states(name, 0, [9_000, 21_000]))
    with torch.inference_mode():
        tower(*inputs)
    tower(*inputs).square().mean().backward()


@pytest.mark.parametrize("kind", ["relative", "rotary"])
def test_w2v_berts_other_positions_are_there_too(kind: str, tmp_path: Path) -> None:
    from transformers import SeamlessM4TFeatureExtractor, Wav2Vec2BertConfig, Wav2Vec2BertModel

    network = Wav2Vec2BertConfig(
        **checkpoints.SMALL, feature_projection_input_dim=160, position_embeddings_type=kind
    )
    torch.manual_seed(0)
    Wav2Vec2BertModel(network).save_pretrained(tmp_path)
    SeamlessM4TFeatureExtractor(padding_value=1.0).save_pretrained(tmp_path)
    config = TuneConfig(top=2)
    tower = SpeechTower(load_speech(str(tmp_path)).model, config).eval()
    again = SpeechTower.rebuild(tower.plain()["network"], config).eval()
    again.load_state_dict(tower.state_dict())
    wave = (0.1 * np.random.default_rng(0).standard_normal(9_000)).astype(np.float32)
    given, wanted = (
        torch.from_numpy(
            PretrainedSpeech(
                SpeechConfig.parse({"name": str(tmp_path), "layer": layer, "precision": "fp32"})
            ).encode([wave])[0]
        )
        for layer in (config.given, "last")
    )
    for one in (tower, again):
        with torch.inference_mode():
            one(given[None], torch.tensor([len(given)]))
        made = one(given[None], torch.tensor([len(given)]))
        torch.testing.assert_close(made[0], wanted, atol=1e-5, rtol=1e-5)
    tower.train()(given[None], torch.tensor([len(given)])).square().mean().backward()


def test_the_upper_blocks_of_the_boxed_whisper_learn() -> None:
    pytest.importorskip("undertone_encoders", reason="the encoders of the box are not installed")
    config = TuneConfig(top=2)
    tower = SpeechTower(load_speech("whisper-base").model, config).train()
    frozen = PretrainedSpeech(SpeechConfig.parse({"name": "whisper-base", "layer": config.given}))
    drawn = np.random.default_rng(0)
    waves = [(0.1 * drawn.standard_normal(n)).astype(np.float32) for n in (9_000, 31_000)]
    given = [torch.from_numpy(x) for x in frozen.encode(waves)]
    assert [len(x) for x in given] == [29, 97] and tower.dim == 512 and len(tower.stack) == 2
    step = one_step(tower, *batch(given))
    assert all(name.endswith("k_proj.bias") for name in step.kept) and len(step.moved) == 30


@pytest.mark.parametrize("layer", [0, 4, -4, -5])
@pytest.mark.parametrize("make", [speech_tower, text_tower])
def test_a_layer_with_nothing_below_it_is_refused(layer: int, make: Any) -> None:
    with pytest.raises(ConfigError, match=r"has no 1 of the network's \d blocks below it to tune"):
        make("bert" if make is text_tower else "hubert", tune="full", layer=layer)
    with pytest.raises(ConfigError, match="has no 4 of"):
        make("bert" if make is text_tower else "hubert", top=4)


def test_layers_are_counted_from_above() -> None:
    tower = speech_tower("wavlm with layer norm", tune="full")
    above = {n: tower.layers_above(n) for n, _ in tower.named_parameters()}
    assert {v for n, v in above.items() if n.startswith("norm.")} == {0}
    for i in range(3):
        assert {v for n, v in above.items() if n.startswith(f"blocks.{i}.")} == {2 - i}


# -- text ----------------------------------------------------------------------------------------------


every_text = pytest.mark.parametrize("name", [*checkpoints.TEXT, "a norm above", "an encoder of two"])


@pytest.fixture(autouse=True)
def _with_more_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """RoBERTa with pre-layer norms: a norm stands above its blocks. mBART: so too, and a decoder beside."""

    def bart(place: Path) -> None:
        from transformers import MBartConfig, MBartModel

        config = MBartConfig(
            d_model=checkpoints.WIDTH,
            encoder_layers=3,
            encoder_attention_heads=2,
            encoder_ffn_dim=48,
            decoder_layers=1,
            decoder_attention_heads=2,
            decoder_ffn_dim=48,
            vocab_size=len(checkpoints.PIECES),
            max_position_embeddings=64,
        )
        MBartModel(config).save_pretrained(place)
        checkpoints._wordpieces(place)

    monkeypatch.setitem(checkpoints.TEXT, "an encoder of two", bart)

    def build(place: Path) -> None:
        from transformers import RobertaPreLayerNormConfig, RobertaPreLayerNormModel

        config = RobertaPreLayerNormConfig(
            **checkpoints.SMALL,
            vocab_size=len(checkpoints.PIECES),
            max_position_embeddings=66,
            pad_token_id=1,
        )
        RobertaPreLayerNormModel(config).save_pretrained(place)
        checkpoints._wordpieces(place)

    monkeypatch.setitem(checkpoints.TEXT, "a norm above", build)


def texts() -> tuple[Tensor, Tensor]:
    drawn = torch.Generator().manual_seed(0)
    lengths = torch.tensor([6, 3, 0, 9])
    ids = torch.randint(5, 30, (4, 9), generator=drawn)
    return ids * (torch.arange(9) < lengths[:, None]), lengths


@every_text
@pytest.mark.parametrize("layer", ["last", 1])
def test_at_the_start_a_text_tower_makes_the_networks_own_states(name: str, layer: int | str) -> None:
    tower = text_tower(name, tune="full", layer=layer).eval()
    ids, lengths = texts()
    network = load_text(folder("text", name)).model
    network = network.get_encoder() if name == "an encoder of two" else network
    with torch.no_grad():
        made = tower(ids, lengths)
        for row, one, n in zip(made, ids, lengths, strict=True):
            if n:
                out = network(input_ids=one[None, :n], output_hidden_states=True)
                wanted = out.last_hidden_state if layer == "last" else out.hidden_states[layer]
                torch.testing.assert_close(row[:n], wanted[0], atol=1e-5, rtol=1e-5)
            assert not row[n:].any()


@every_text
@pytest.mark.parametrize("way", ["top-k", "full", "lora", "below the last"])
def test_a_step_moves_the_chosen_tensors_of_a_text_network_and_no_others(name: str, way: str) -> None:
    settings = {"below the last": {"top": 1, "layer": 1}}.get(way) or WAYS[way]
    tower = text_tower(name, **settings).train()
    step = one_step(tower, *texts())
    count = len(tower.stack)
    if way == "lora":
        assert len(step.moved) == 4 * count and all(n.endswith((".down", ".up")) for n in step.moved)
        return
    inside = {n: int(m[1]) for n in step.moved if (m := re.search(r"layers?\.(\d+)\.", n))}
    assert set(inside.values()) == (set(range(count)) if way == "full" else {count - 1})
    outside = step.moved - set(inside)
    if way == "full":
        assert any("embed" in n for n in outside) and not any("pooler" in n for n in outside)
    else:
        norm = {"a norm above": "LayerNorm", "an encoder of two": "layer_norm"}.get(name)
        normed = norm is not None and way == "top-k"
        assert outside == ({f"model.{norm}.weight", f"model.{norm}.bias"} if normed else set())
        assert {tower.layers_above(n) for n in step.moved} == {0}


@every_text
def test_a_text_tower_checkpoints_with_the_same_gradients_and_is_rebuilt(name: str) -> None:
    plain, saving = (text_tower(name, top=1, checkpointing=c) for c in (False, True))
    again = TextTower.rebuild(plain.plain()["network"], plain.config)
    again.load_state_dict(plain.state_dict())
    for tower in (plain, saving, again):
        without_dropout(tower)
        tower(*texts()).square().sum().backward()
    for other in (saving, again):
        for (_, a), (_, b) in zip(plain.named_parameters(), other.named_parameters(), strict=True):
            if a.grad is not None:
                torch.testing.assert_close(a.grad, b.grad, atol=1e-5, rtol=1e-4)


def test_what_cannot_be_tuned_is_refused() -> None:
    network = load_text(folder("text", "bert")).model
    with pytest.raises(ConfigError, match="is for speech"):
        TextTower(deepcopy(network), TuneConfig(layer="weighted"))
    with pytest.raises(ModelError, match="its blocks are not known"):
        TextTower(network.embeddings, TuneConfig())
    network.encoder.layer = nn.ModuleList([nn.Linear(2, 2)])
    with pytest.raises(ModelError, match="does not know its attention's maps"):
        TextTower(network, TuneConfig(tune="lora"))


def test_no_warning_is_given() -> None:
    tower = speech_tower("wavlm", top=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tower(*batch(states("wavlm", 2, [9_000, 21_000])))


@pytest.mark.parametrize("name", ["whisper", "wavlm"])
def test_blocks_may_have_a_dropout_of_their_own(name: str) -> None:
    frames = batch(states(name, 1, [21_000]))
    plain, dropped = (speech_tower(name, top=2, **more) for more in ({}, {"dropout": 0.4}))
    torch.testing.assert_close(plain.eval()(*frames), dropped.eval()(*frames))
    dropped.train()
    one, other = dropped(*frames), dropped(*frames)
    assert not torch.allclose(one, other)
