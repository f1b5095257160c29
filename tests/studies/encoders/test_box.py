"""The encoders in the box: packing small random networks, and what the package holds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from typer.testing import CliRunner

from studies.encoders.__main__ import LARGEST, app
from studies.encoders.compare import _edits, compare
from studies.encoders.make import PLANS, make
from tests.features import checkpoints
from undertone import packed, pretrained
from undertone.errors import ConfigError, ModelError
from undertone.features.speech import speech_encoder
from undertone.features.text import text_encoder

PACKAGE = packed.PACKAGE
BOX = Path(__file__).parents[3] / "packages" / "undertone-encoders"
INSIDE = BOX / "src" / "undertone_encoders"
FOLDERS = {"whisper-tiny.en": "whisper-tiny.en", "minilm-l6": "minilm-l6"}
"""Names of the box and of the folders below ``encoders`` of the real data."""


def spread(a: NDArray[Any], b: NDArray[Any]) -> float:
    """The difference of two arrays of frames, relative to the spread of the second."""
    assert a.shape == b.shape
    return float(np.linalg.norm(a - b) / np.linalg.norm(b - b.mean(0)))


def noise(seconds: float) -> NDArray[np.float32]:
    return np.random.default_rng(1).normal(0, 0.1, round(seconds * 16_000)).astype(np.float32)


def speech_states(name: str) -> NDArray[np.float32]:
    (layers,) = speech_encoder(name, layer="weighted", precision="fp32").encode([noise(1.1)])
    return layers


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Small random networks, as Hugging Face folders with what the plans copy."""
    root = tmp_path_factory.mktemp("sources")
    made = {
        "whisper-base": checkpoints.make(checkpoints.whisper, root / "whisper"),
        "whisper-tiny.en": checkpoints.make(checkpoints.whisper, root / "tiny"),
        "minilm-l6": checkpoints.make(checkpoints.bert, root / "bert"),
    }
    checkpoints._wordpieces(made["whisper-tiny.en"])
    (made["whisper-tiny.en"] / "generation_config.json").write_text("{}")
    with torch.no_grad():  # final norms that do something, so that leaving one out or in can be seen
        for name in ("whisper-base", "whisper-tiny.en"):
            network = pretrained.load_speech(str(made[name])).model
            network.encoder.layer_norm.weight.fill_(3.0)
            network.encoder.layer_norm.bias.fill_(1.0)
            network.save_pretrained(made[name])
    return made


@pytest.fixture(scope="module")
def boxed(sources: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """These, packed and installed: the upper block of the first is left out."""
    site = tmp_path_factory.mktemp("site")
    for name, source in sources.items():
        made = make(name, source, site / "undertone_encoders_of_tests", blocks=2)
        assert made.error <= 0.5001 / 127
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packed, "PACKAGE", "undertone_encoders_of_tests")
        patch.syspath_prepend(site)
        yield site


def test_the_names_load_and_give_the_originals_features(sources: dict[str, Path], boxed: Path) -> None:
    ours, theirs = speech_states("whisper-tiny.en"), speech_states(str(sources["whisper-tiny.en"]))
    assert [spread(a, b) < 0.01 for a, b in zip(ours, theirs, strict=True)] == [True] * 4
    small = text_encoder("minilm-l6", precision="fp32").encode(["why would you do this"])[0]
    whole = text_encoder(str(sources["minilm-l6"]), precision="fp32").encode(["why would you do this"])[0]
    assert spread(small.vectors, whole.vectors) < 0.01 and (small.chars == whole.chars).all()


def test_a_layer_of_the_lower_blocks_is_that_layer_of_the_whole(
    sources: dict[str, Path], boxed: Path
) -> None:
    """``last`` too: the state after the last block that is kept, without the norm that ends the whole."""
    ours, theirs = speech_states("whisper-base"), speech_states(str(sources["whisper-base"]))
    assert len(ours) == 3 and len(theirs) == 4
    assert all(spread(a, b) < 0.01 for a, b in zip(ours, theirs, strict=False))
    for layer in (0, 1, 2, "last"):
        (frames,) = speech_encoder("whisper-base", layer=layer, precision="fp32").encode([noise(1.1)])
        assert spread(frames, ours[2 if layer == "last" else int(layer)]) < 1e-5
    normed = torch.nn.functional.layer_norm(torch.from_numpy(theirs[2]), (32,)).numpy() * 3 + 1
    assert spread(ours[2], normed) > 0.5
    with pytest.raises(ConfigError, match="hidden states 0 to 2"):
        speech_encoder("whisper-base", layer=3)


def test_a_network_made_again_from_its_settings_has_no_norm_either(boxed: Path) -> None:
    network = pretrained.load_speech("whisper-base").model
    again = pretrained.fresh(network.config.to_dict())
    again.load_state_dict(network.state_dict())
    assert isinstance(again.encoder.layer_norm, torch.nn.Identity)


def test_the_whole_one_is_a_recogniser_in_transformers_own_form(
    sources: dict[str, Path], boxed: Path
) -> None:
    from transformers import WhisperForConditionalGeneration

    with pretrained.ordinary("whisper-tiny.en") as folder:
        ours = WhisperForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)
        assert (folder / "tokenizer.json").is_file()
    assert not folder.exists()
    with pretrained.ordinary(str(sources["whisper-tiny.en"])) as folder:
        theirs = WhisperForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)
    assert folder == sources["whisper-tiny.en"].resolve()
    a, b = (model.proj_out.weight.detach().numpy() for model in (ours, theirs))
    assert spread(a, b) < 0.02


def test_the_same_source_gives_the_same_bytes(sources: dict[str, Path], boxed: Path, tmp_path: Path) -> None:
    for name, source in sources.items():
        again = make(name, source, tmp_path, blocks=2)
        for file in again.folder.iterdir():
            known = boxed / "undertone_encoders_of_tests" / name / file.name
            assert file.read_bytes() == known.read_bytes(), file


def test_a_local_folder_of_that_name_comes_first(
    sources: dict[str, Path], boxed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert packed.is_packed(pretrained.locate("minilm-l6")[0])
    monkeypatch.chdir(sources["minilm-l6"].parent)
    (sources["minilm-l6"].parent / "minilm-l6").symlink_to(sources["minilm-l6"])
    assert not packed.is_packed(pretrained.locate("minilm-l6")[0])


def test_the_command_writes_everything_and_names_what_it_was_made_from(
    sources: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("UNDERTONE_DATA", raising=False)
    options = [word for name, source in sources.items() for word in (f"--{name}", str(source))]
    done = CliRunner().invoke(app, [*options, "--out", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert "together 0." in done.stdout and "features are not compared" in done.stdout
    notice = (tmp_path / "NOTICE").read_text(encoding="utf-8")
    for name in PLANS:
        about = json.loads((tmp_path / "src" / "undertone_encoders" / name / packed.ABOUT).read_text())
        for value in about["made_from"]["sha256"].values():
            assert value in notice and value in done.stdout
    with pytest.raises(ModelError, match="no such folder"):
        pretrained.locate(str(tmp_path / "nothing"))


def test_words_that_differ_are_counted() -> None:
    assert _edits("a b c".split(), "a x c d".split()) == 2 and _edits([], ["a"]) == 1


# ---- the package itself ------------------------------------------------------------------------------


def test_the_distribution_has_its_licences_and_no_code() -> None:
    import tomllib

    project = tomllib.loads((BOX / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["license"] == "MIT AND Apache-2.0" and not project.get("dependencies")
    for name in project["license-files"]:
        assert (BOX / name).read_text(encoding="utf-8").strip()
    assert "Copyright (c) 2022 OpenAI" in (BOX / "LICENSE-MIT").read_text(encoding="utf-8")
    assert [p.name for p in INSIDE.rglob("*.py")] == ["__init__.py"]
    root = BOX.parents[1]
    assert "-e $(ENCODERS)" in (root / "Makefile").read_text(encoding="utf-8")


def test_the_notice_names_every_source_by_the_hashes_that_lie_beside_the_weights() -> None:
    notice = (BOX / "NOTICE").read_text(encoding="utf-8")
    for name, boxed in packed.BOX.items():
        if not packed.is_packed(INSIDE / name):
            pytest.skip("the weights are not in this checkout")
        about = json.loads((INSIDE / name / packed.ABOUT).read_text(encoding="utf-8"))
        assert about["licence"] == boxed.licence and f"https://huggingface.co/{boxed.hub}" in notice
        assert all(value in notice for value in about["made_from"]["sha256"].values())
    files = [path for path in INSIDE.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= LARGEST
    assert max(path.stat().st_size for path in files) <= 60_000_000


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package that is installed here; skips where none is."""
    monkeypatch.setattr(packed, "PACKAGE", PACKAGE)
    try:
        for name in packed.BOX:
            packed.boxed_folder(name)
    except ModelError as error:
        pytest.skip(str(error))


def test_the_installed_encoders_load_with_their_shapes(installed: None) -> None:
    layers = speech_states("whisper-base")
    assert layers.shape == (5, 55, 512) and np.isfinite(layers).all()
    encoder = speech_encoder("whisper-tiny.en", precision="fp32")
    assert encoder.dim == 384 and encoder.clock.hop == pytest.approx(0.02)
    (coded,) = text_encoder("minilm-l6", precision="fp32").encode(["I can't believe it"])
    assert coded.vectors.shape == (8, 384)


@pytest.mark.parametrize("name", FOLDERS)
def test_the_installed_encoders_are_the_originals(installed: None, name: str, real_data: Path) -> None:
    original = real_data / "encoders" / FOLDERS[name]
    if not original.is_dir():
        pytest.skip(f"{original} is not there: the original of {name} cannot be compared")
    differences = compare(original, packed.boxed_folder(name), real_data, name == "minilm-l6", 1, 20)
    assert len(differences) in (5, 7) and max(differences) < 0.01


def test_without_names_extract_uses_the_encoders_in_the_box(boxed: Path, tmp_path: Path) -> None:
    import soundfile

    from undertone.cli.app import load

    (tmp_path / "clips.csv").write_text("path,text\na.wav,why would you do this\n")
    soundfile.write(tmp_path / "a.wav", noise(0.8), 16_000)
    words = ["prepare", "table", str(tmp_path / "clips.csv"), "--out", str(tmp_path / "m.jsonl")]
    assert CliRunner().invoke(load(), words).exit_code == 0
    words = ["extract", str(tmp_path / "m.jsonl"), "--store", str(tmp_path / "store"), "--json"]
    words += ["--layer", "1-2"]  # the small stand-in has no state 3
    done = CliRunner().invoke(load(), words)
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["computed"] == 2
    assert "--speech whisper-base --layer 1-2 --text minilm-l6" in done.stderr
