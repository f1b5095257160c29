"""A model's encoders are those of its training, or what differs is named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.features import checkpoints
from undertone.errors import ModelError
from undertone.experiment.material import described_encoder
from undertone.features.config import SpeechConfig, TextConfig
from undertone.features.speech import build
from undertone.features.text import build as build_text
from undertone.judging.encoders import Encoders


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("originals")
    checkpoints.make(checkpoints.wav2vec2_group, root / "speech")
    checkpoints.make(checkpoints.bert, root / "text")
    return root


@pytest.fixture
def folders(originals: Path, tmp_path: Path) -> Path:
    shutil.copytree(originals, tmp_path / "encoders")
    return tmp_path / "encoders"


def _card(folders: Path) -> dict[str, Any]:
    """The encoders of a model's card, as a run writes them."""
    speech = SpeechConfig(name=str(folders / "speech"), precision="fp32")
    text = TextConfig(name=str(folders / "text"), precision="fp32")
    values = {
        "speech": described_encoder(build(speech), speech),
        "text": described_encoder(build_text(text), text),
    }
    return {"encoders": json.loads(json.dumps(values))}


@pytest.mark.parametrize(
    ("side", "file", "values"),
    [
        ("speech", "config.json", {"layer_norm_eps": 0.1}),
        ("speech", "preprocessor_config.json", {"do_normalize": False}),
        ("text", "config.json", {"hidden_act": "relu"}),
        ("text", "tokenizer_config.json", {"model_max_length": 20}),
    ],
)
def test_a_mismatch_names_the_file(folders: Path, side: str, file: str, values: dict[str, Any]) -> None:
    card = _card(folders)
    Encoders(card, None)
    path = folders / side / file
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    with pytest.raises(ModelError, match=rf"{side} is not the encoder .*: {file} differs; ") as raised:
        Encoders(card, None)
    assert "\n" not in str(raised.value)


def test_other_weights_are_named_too(folders: Path) -> None:
    card = _card(folders)
    import torch

    torch.manual_seed(1)
    checkpoints.wav2vec2_group(folders / "speech")
    with pytest.raises(ModelError, match=r": model.safetensors differs; "):
        Encoders(card, None)


def test_a_card_of_the_older_identity_is_recognised(folders: Path) -> None:
    card = _card(folders)
    del card["encoders"]["speech"]["files"]
    card["encoders"]["speech"]["identity"] = "24224abcdef"
    with pytest.raises(ModelError, match=r"an older undertone made the card.*train the model again"):
        Encoders(card, None)


def test_other_code_and_other_settings_are_named(folders: Path) -> None:
    card = _card(folders)
    speech = card["encoders"]["speech"]
    with pytest.raises(ModelError, match="own code for it has changed"):
        Encoders({"encoders": {"speech": speech | {"identity": "x", "code": 0}}}, None)
    other = speech | {"settings": speech["settings"] | {"layer": 1}}
    with pytest.raises(ModelError, match="settings on the card"):
        Encoders({"encoders": {"speech": other}}, None)


def test_features_made_on_a_gpu_are_made_on_any_processor_when_judging(folders: Path) -> None:
    card = _card(folders)
    for side in ("speech", "text"):
        card["encoders"][side]["settings"]["device"] = "cuda"
    encoders = Encoders(card, None)
    assert encoders.speech is not None and encoders.text is not None
