"""Model folders: what they hold, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.models.synthetic import LAYERS, batch_of, make
from undertone.errors import ConfigError, ModelError, OutputError
from undertone.models.folder import load, save

LABELS = ["angry", "happy", "sad", "neutral"]


class FakeTokenizer:
    def save(self, path: Path) -> None:
        path.write_text("{}", encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save(
        tmp_path / "model",
        make("concat"),
        {"labels": LABELS, "corpus": "demo", "synthesised": True},
        FakeTokenizer(),
    )
    return tmp_path / "model"


def test_a_folder_holds_plain_files_only(folder: Path) -> None:
    names = {p.name for p in folder.iterdir()}
    assert names == {"config.toml", "model.safetensors", "card.json", "tokenizer.json"}
    found = load(folder)
    assert found.labels == tuple(LABELS) and found.name == "concat"
    assert found.tokenizer == folder / "tokenizer.json"
    assert not found.system.training


def test_a_pickle_in_place_of_weights_is_not_opened(folder: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return (folder.joinpath("exploded").touch, ())

    torch.save({"x": Bomb()}, folder / "model.safetensors")
    with pytest.raises(ModelError, match="damaged"):
        load(folder)
    assert not (folder / "exploded").exists()


def test_each_kind_of_damage_is_one_line_that_names_the_file(folder: Path) -> None:
    weights = (folder / "model.safetensors").read_bytes()
    config = (folder / "config.toml").read_text(encoding="utf-8")
    cases: list[tuple[str, bytes | None, type[Exception], str]] = [
        ("card.json", b"{", ModelError, "not valid JSON"),
        ("card.json", b"{}", ModelError, "names no labels"),
        ("card.json", b'{"labels": ["one"]}', ModelError, "1 labels for 4 classes"),
        ("card.json", None, ModelError, "not a model folder"),
        ("model.safetensors", weights[:100], ModelError, "damaged"),
        ("model.safetensors", None, ModelError, "no such file"),
        ("config.toml", config.replace("width = 16", "width = 24").encode(), ModelError, "does not fit"),
        ("config.toml", config.replace('"concat"', '"conat"').encode(), ConfigError, "no system 'conat'"),
        ("config.toml", config.replace("width", "widht").encode(), ConfigError, "did you mean 'width'"),
        (
            "config.toml",
            config.replace("schema_version = 2", "schema_version = 9").encode(),
            ModelError,
            "newer",
        ),
    ]
    for name, content, kind, said in cases:
        before = (folder / name).read_bytes()
        if content is None:
            (folder / name).unlink()
        else:
            (folder / name).write_bytes(content)
        with pytest.raises(kind, match=said) as caught:
            load(folder)
        assert "\n" not in str(caught.value) and str(folder) in str(caught.value)
        (folder / name).write_bytes(before)
    load(folder)


def test_a_save_that_is_cut_short_leaves_no_whole_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("safetensors.torch.save_file", _fail)
    with pytest.raises(OutputError, match="disk full"):
        save(folder, make("concat", seed=1), {"labels": LABELS})
    with pytest.raises(ModelError, match="not a model folder"):
        load(folder)


def _fail(*_: Any, **__: Any) -> None:
    raise OSError("disk full")


@pytest.mark.parametrize("labels", [None, ["one"], "angry"])
def test_a_card_must_name_every_class(tmp_path: Path, labels: Any) -> None:
    with pytest.raises(ModelError, match="4 labels"):
        save(tmp_path, make("concat"), {"labels": labels})


def test_a_card_is_written_as_json_whatever_its_letters(folder: Path) -> None:
    save(folder, make("concat"), {"labels": ["Ärger", "Freude", "悲しみ", "neutral"]})
    assert json.loads((folder / "card.json").read_text(encoding="utf-8"))["labels"][2] == "悲しみ"
    assert load(folder).system(batch_of(2)).logits.shape == (2, 4)


def test_layers_are_standardised_each_on_their_own(tmp_path: Path) -> None:
    """A folder whose layers shared one standardisation is read as it was meant."""
    from safetensors.torch import load_file, save_file

    system = make("speech", LAYERS)
    mean = torch.arange(30.0).view(3, 10)
    system.standardise(mean, torch.ones(3, 10))
    batch = batch_of(2, LAYERS)
    assert torch.equal(system.standardised(batch).speech, batch.speech - mean[:, None])
    save(tmp_path / "m", system, {"labels": ["a", "b", "c", "d"]})
    weights = load_file(tmp_path / "m" / "model.safetensors")
    weights |= {"speech_mean": torch.full((10,), 2.0), "speech_std": torch.full((10,), 4.0)}
    save_file(weights, tmp_path / "m" / "model.safetensors")
    old = load(tmp_path / "m").system
    assert torch.equal(old.standardised(batch).speech, (batch.speech - 2) / 4)
