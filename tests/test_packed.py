"""Weights in 8 and 10 bits: what a round trip loses, and what a damaged or missing package says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from undertone import packed
from undertone.errors import ModelError
from undertone.packed import BOX, boxed_folder, pack, read, unpack


@settings(deadline=None, max_examples=40)
@given(
    rows=st.integers(1, 9), columns=st.integers(1, 23), bits=st.sampled_from([8, 10]), seed=st.integers(0, 99)
)
def test_no_weight_is_off_by_more_than_half_a_step(rows: int, columns: int, bits: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    matrix = (rng.normal(size=(rows, columns)) * 10.0 ** rng.integers(-6, 3, (rows, 1))).astype(np.float32)
    matrix[0] *= seed % 2  # a row of zeros stays one
    arrays = pack({"m": matrix}, lambda name: bits)
    assert {str(array.dtype) for array in arrays.values()} <= {"int8", "uint8", "float32"}
    result = unpack(arrays)["m"]
    step = np.abs(matrix).max(1, keepdims=True) / (2 ** (bits - 1) - 1)
    assert result.dtype == np.float32 and (np.abs(result - matrix) <= 0.5001 * step).all()


def test_what_is_packed_already_is_packed_without_loss() -> None:
    """So eight bits packed here and packed again by a recogniser's engine are the same numbers."""
    matrix = np.random.default_rng(0).normal(size=(5, 12)).astype(np.float32)
    once = unpack(pack({"m": matrix}, lambda name: 8))
    twice = pack(once, lambda name: 8)
    assert (twice["m:rows"] == pack({"m": matrix}, lambda name: 8)["m:rows"]).all()
    assert np.allclose(unpack(twice)["m"], once["m"], rtol=1e-6)


def test_ten_bits_are_put_together_as_the_module_says() -> None:
    """By hand: a step of 1, so that 511 = 4 · 127 + 3, -511 = 4 · -128 + 1, 6 = 4 · 1 + 2."""
    arrays = pack({"m": np.array([[511.0, -511.0, 6.0]], np.float32)}, lambda name: 10)
    assert arrays["m:rows"].tolist() == [[127, -128, 1]] and arrays["m:scale"].tolist() == [1.0]
    assert arrays["m:fine"].tolist() == [[3 + (1 << 2) + (2 << 4)]]
    assert unpack(arrays)["m"].tolist() == [[511.0, -511.0, 6.0]]


def test_vectors_and_convolutions_are_half_precision() -> None:
    given = {"bias": np.array([0.1, 2.0], np.float32), "conv": np.full((2, 3, 3), 0.3, np.float32)}
    arrays = pack(given, lambda name: 8)
    assert set(arrays) == set(given) and {a.dtype for a in arrays.values()} == {np.dtype(np.float16)}
    assert all(np.allclose(unpack(arrays)[name], given[name], rtol=5e-4) for name in given)


def test_another_format_and_damaged_weights_are_refused_by_name(tmp_path: Path) -> None:
    save_file(pack({"m": np.ones((2, 4), np.float32)}, lambda name: 10), tmp_path / packed.WEIGHTS)
    (tmp_path / packed.ABOUT).write_text(json.dumps({"format": 2}))
    with pytest.raises(ModelError, match="format 2, this undertone reads 1"):
        read(tmp_path)
    (tmp_path / packed.ABOUT).write_text(json.dumps({"format": 1}))
    assert read(tmp_path)["m"].tolist() == [[1.0] * 4] * 2
    (tmp_path / packed.WEIGHTS).write_bytes(b"nothing of the kind")
    with pytest.raises(ModelError, match="cannot be read"):
        read(tmp_path)


@pytest.mark.parametrize("name", BOX)
def test_without_the_package_the_message_names_both_ways(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "PACKAGE", "undertone_encoders_of_tests")
    with pytest.raises(ModelError, match=r"pip install \./packages/undertone-encoders") as raised:
        boxed_folder(name)
    assert BOX[name].hub in str(raised.value)


def test_the_package_is_found_and_never_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "undertone_encoders_of_tests"
    (folder / "minilm-l6").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise SystemExit('looked up, never run')")
    (folder / "minilm-l6" / packed.WEIGHTS).touch()
    monkeypatch.setattr(packed, "PACKAGE", folder.name)
    monkeypatch.syspath_prepend(tmp_path)
    assert boxed_folder("minilm-l6") == folder / "minilm-l6"


def test_the_listing_and_doctor_know_the_box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from typer.testing import CliRunner

    from undertone.cli.app import load

    def rows() -> dict[str, dict[str, Any]]:
        result = CliRunner().invoke(load(), ["list", "encoders", "--json"])
        return {row["name"]: row for row in json.loads(result.stdout)}

    monkeypatch.setattr(packed, "PACKAGE", "undertone_encoders_of_tests")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    before = rows()
    assert set(BOX) < set(before)
    assert before["minilm-l6"]["where"] == "not installed: pip install ./packages/undertone-encoders"
    assert before["wav2vec2"]["where"] == "download: facebook/wav2vec2-base, about 380 MB"
    folder = tmp_path / "undertone_encoders_of_tests" / "minilm-l6"
    folder.mkdir(parents=True)
    (folder / packed.WEIGHTS).write_bytes(bytes(2_000_000))
    monkeypatch.syspath_prepend(tmp_path)
    snapshot = tmp_path / "hub" / "models--org--voices" / "snapshots" / "a1"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text(json.dumps({"model_type": "wav2vec2"}))
    after = rows()
    assert after["minilm-l6"]["where"] == "in the box, 2 MB" and after["minilm-l6"]["licence"] == "Apache-2.0"
    assert list(after["wav2vec2"]["cached"]) == ["org/voices"]
    assert after["wav2vec2"]["where"].startswith("cached: org/voices")
    doctor = CliRunner().invoke(load(), ["doctor", "--json"])
    assert json.loads(doctor.stdout)["encoders"] == ["minilm-l6"]
