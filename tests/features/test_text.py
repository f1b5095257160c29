"""One contract over every text architecture: vectors of tokens that know their characters."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.features.checkpoints import TEXT, WIDTH
from undertone.errors import ConfigError, ModelError
from undertone.features.text import PretrainedText, text_encoder

Made = Callable[[str], Path]
everything = pytest.mark.parametrize("name", TEXT)
SAID = "I can't believe it, you never do this again!"
LINES = [SAID, "no", "why would you", "so good so good so bad . . ."]


def encoder(folder: Path, **more: Any) -> PretrainedText:
    found = text_encoder(str(folder), **{"precision": "fp32"} | more)
    assert isinstance(found, PretrainedText)
    return found


def error(a: NDArray[Any], b: NDArray[Any]) -> float:
    assert a.shape == b.shape
    return float(np.abs(a - b).max() / np.abs(b).max())


@everything
def test_vectors_are_those_of_transformers(checkpoint: Made, name: str) -> None:
    from transformers import AutoModel, AutoTokenizer

    given = AutoTokenizer.from_pretrained(checkpoint(name))(SAID, return_tensors="pt")
    with torch.inference_mode():
        out = AutoModel.from_pretrained(checkpoint(name)).eval()(**given, output_hidden_states=True)
    (ours,) = encoder(checkpoint(name)).encode([SAID])
    assert error(ours.vectors, out.last_hidden_state[0].numpy()) < 1e-5
    for layer in (0, 1):
        (ours,) = encoder(checkpoint(name), layer=layer).encode([SAID])
        assert error(ours.vectors, out.hidden_states[layer][0].numpy()) < 1e-5


@everything
def test_a_text_does_not_see_its_neighbours(checkpoint: Made, name: str) -> None:
    model = encoder(checkpoint(name))
    alone = [model.encode([line])[0] for line in LINES]
    for a, b in zip(model.encode(LINES[::-1]), alone[::-1], strict=True):
        assert error(a.vectors, b.vectors) < 1e-5 and (a.chars == b.chars).all()


@everything
def test_padded_batches_as_on_a_gpu_change_nothing(checkpoint: Made, name: str) -> None:
    model = encoder(checkpoint(name))
    alone = model.encode(LINES)
    model.batch_tokens = 10_000
    for a, b in zip(model.encode(LINES), alone, strict=True):
        assert error(a.vectors, b.vectors) < 1e-5


@everything
def test_every_token_knows_its_characters(checkpoint: Made, name: str) -> None:
    (coded,) = encoder(checkpoint(name)).encode([SAID])
    assert coded.vectors.shape == (len(coded.chars), WIDTH)
    assert coded.chars[0].tolist() == coded.chars[-1].tolist() == [0, 0], "special tokens have none"
    covered = "".join(SAID[a:b].strip() for a, b in coded.chars)
    assert covered == SAID.replace(" ", "")


@everything
def test_an_empty_text_has_no_tokens(checkpoint: Made, name: str) -> None:
    for coded in encoder(checkpoint(name)).encode(["", "  \n"]):
        assert coded.vectors.shape == (0, WIDTH) and coded.chars.shape == (0, 2)


@everything
def test_a_text_of_ten_thousand_words_is_windowed_not_cut(checkpoint: Made, name: str) -> None:
    text = " ".join(LINES[2].split()[i % 3] for i in range(10_000))
    model = encoder(checkpoint(name))
    assert model.limit == 64
    (coded,) = model.encode([text])
    assert len(coded.vectors) == len(coded.chars) >= 10_002
    assert (np.diff(coded.chars[1:-1, 0]) >= 0).all() and coded.chars[-2, 1] == len(text)
    assert np.isfinite(coded.vectors).all()


@everything
def test_bf16_is_near(checkpoint: Made, name: str) -> None:
    (full,) = encoder(checkpoint(name)).encode([SAID])
    (half,) = encoder(checkpoint(name), precision="bf16").encode([SAID])
    assert error(half.vectors, full.vectors) < 0.1


def test_only_what_the_tokenizer_reads_is_part_of_the_identity(checkpoint: Made, tmp_path: Path) -> None:
    folder = tmp_path / "bert"
    shutil.copytree(checkpoint("bert"), folder)
    known = encoder(folder).identity
    assert "tokenizer.json" in encoder(folder).files
    (folder / "vocab.txt").write_text("what tokenizer.json holds already")
    (folder / "generation_config.json").write_text("{}")
    (folder / "requirements.txt").write_text("torch")
    assert encoder(folder).identity == known
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(settings | {"model_max_length": 32}))
    assert encoder(folder).identity != known


def test_identity_and_layers_are_checked(checkpoint: Made) -> None:
    folder = checkpoint("bert")
    seen = {
        encoder(folder, **o).identity for o in ({}, {"layer": 1}, {"precision": "bf16"}, {"keep": "fp16"})
    }
    assert len(seen) == 4
    assert pickle.loads(pickle.dumps(encoder(folder))).identity == encoder(folder).identity
    with pytest.raises(ConfigError, match="hidden states 0 to 3"):
        encoder(folder, layer=7)
    with pytest.raises(ModelError, match="no such folder"):
        text_encoder(str(folder / "nothing"))
