"""A model's speech encoder in another engine: accepted where decisions stay the same, else refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.features import checkpoints
from undertone.cli import main
from undertone.errors import ConfigError, ModelError
from undertone.judging import engine
from undertone.judging.clip import Clip
from undertone.judging.engine import FAR, compare, load_in, signals
from undertone.judging.networks import load_torch
from undertone.judging.predictor import load, load_model


def make(root: Path, seed: int = 0, **settings: Any) -> Path:
    """A head of random weights over a small Whisper, in fp32 if nothing else is wanted."""
    import torch

    from undertone.experiment.material import described_encoder
    from undertone.features.config import SpeechConfig
    from undertone.features.speech import build
    from undertone.models import folder
    from undertone.models.example import Dimensions
    from undertone.models.table import build as build_system

    torch.manual_seed(seed)
    checkpoints.whisper(root / "whisper")
    config = SpeechConfig.parse({"name": str(root / "whisper"), "precision": "fp32", **settings})
    encoder = build(config)
    system = build_system(
        "speech", {"width": 16}, Dimensions(classes=4, speech=encoder.dim, speech_layers=encoder.layers)
    )
    for parameter in system.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    card = {"labels": ["angry", "happy", "sad", "neutral"]}
    folder.save(
        root / "model", system.eval(), card | {"encoders": {"speech": described_encoder(encoder, config)}}
    )
    return root / "model"


@pytest.fixture(scope="module")
def whisper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("whisper"))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("UNDERTONE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "engines"


def never(*_args: Any) -> Any:
    raise AssertionError("it was compared again")


def measured(far: Callable[[Any], float]) -> Callable[[Any, Any], dict[str, float]]:
    """``compare`` with a difference by the other model's encoder."""
    return lambda _own, other: {"largest_difference": far(other.encoders.speech), "same_labels": 0.9}


def test_an_engine_that_repeats_the_model_is_accepted_once(
    whisper: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openvino", reason="the extra 'export' is not installed")
    model = load(whisper, runtime="openvino", precision="fp32").model
    assert model.encoders.speech.config.runtime == "openvino"  # type: ignore[attr-defined]
    (record,) = cache.iterdir()
    assert json.loads(record.read_text())["largest_difference"] < 1e-3
    clips = [Clip(str(len(wave)), wave) for wave in signals()[:3]]
    for ours, theirs in zip(load_torch(whisper).predict(clips), model.predict(clips), strict=True):
        assert ours.probabilities == pytest.approx(theirs.probabilities, abs=1e-3)
    monkeypatch.setattr(engine, "compare", never)
    load_in(whisper, "openvino", "fp32")


def test_an_engine_that_decides_otherwise_is_refused_with_its_numbers(
    whisper: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode = engine.PretrainedSpeech.encode

    def off(self: Any, waves: Any) -> Any:
        step = -1 if self.precision.name == "bf16" else 1
        return [frames[..., ::step].copy() for frames in encode(self, waves)]

    monkeypatch.setattr(engine.PretrainedSpeech, "encode", off)
    for _ in range(2):
        with pytest.raises(ModelError, match=r"\(bf16\) the model does not decide as with its own") as raised:
            load_in(whisper, precision="bf16")
        assert f"({FAR:g} is accepted)" in str(raised.value) and "\n" not in str(raised.value)
        monkeypatch.setattr(engine, "compare", never)  # a refusal is remembered too


@pytest.mark.parametrize(("precision", "chosen"), [("auto", "fp32"), ("bf16", None), ("fp32", "fp32")])
def test_auto_falls_back_to_fp32(
    whisper: Path, monkeypatch: pytest.MonkeyPatch, precision: str, chosen: str | None
) -> None:
    monkeypatch.setattr("undertone.features.config._has_bf16", lambda _device: (True, "of tests"))
    monkeypatch.setattr(engine, "compare", measured(lambda speech: 0.5 * (speech.precision.name == "bf16")))
    monkeypatch.setattr("undertone.features.engines.convert", lambda module, *_more: module)
    if chosen is None:
        with pytest.raises(ModelError, match=r"differ by up to 0\.5 "):
            load_in(whisper, "openvino", precision)
    else:
        assert load_in(whisper, "openvino", precision).encoders.speech.precision.name == chosen  # type: ignore


def test_what_is_the_cards_own_is_not_compared(whisper: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "compare", never)
    for runtime, precision in ((None, "fp32"), ("torch", "fp32")):
        assert load_model(whisper, runtime, precision).sides == ("speech",)


def test_other_weights_are_refused_though_they_were_accepted_before(
    whisper: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(whisper.parent, tmp_path / "copy")
    card = json.loads((tmp_path / "copy" / "model" / "card.json").read_text())
    folder = tmp_path / "copy" / "whisper"
    card["encoders"]["speech"]["settings"]["name"] = str(folder)
    (tmp_path / "copy" / "model" / "card.json").write_text(json.dumps(card))
    monkeypatch.setattr(engine, "compare", measured(lambda _speech: 0.0))
    load_in(tmp_path / "copy" / "model", precision="bf16")
    import torch

    torch.manual_seed(5)
    checkpoints.whisper(folder)
    with pytest.raises(ModelError, match=r"is not the encoder .*model.safetensors differs"):
        load_in(tmp_path / "copy" / "model", precision="bf16")


def test_a_difference_is_measured_over_all_posteriors(whisper: Path, tmp_path: Path) -> None:
    own, other = load_torch(whisper), load_torch(make(tmp_path, seed=1))
    assert compare(own, own) == {"largest_difference": 0.0, "same_labels": 1.0}
    clips = [Clip(str(len(wave)), wave) for wave in signals()]
    pairs = zip(own.predict(clips), other.predict(clips), strict=True)
    far = max(abs(p - b.probabilities[label]) for a, b in pairs for label, p in a.probabilities.items())
    assert compare(own, other)["largest_difference"] == pytest.approx(far, abs=1e-6) and far > FAR


def test_the_built_in_clips_are_sound_at_many_lengths() -> None:
    waves = signals()
    assert len({len(wave) for wave in waves}) == len(waves) >= 8
    for wave, again in zip(waves, signals(), strict=True):
        assert wave.dtype == np.float32 and np.isfinite(wave).all() and 0.001 < np.abs(wave).max() < 1
        assert np.array_equal(wave, again)


def run(words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Exit status, stdout and stderr of a command."""
    monkeypatch.setattr("sys.argv", ["undertone", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    printed = capsys.readouterr()
    return ended.value.code, printed.out, printed.err


def test_what_has_no_pretrained_encoder_has_no_other_engine(
    model_folder: Path,
    tmp_path: Path,
    clip: bytes,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(ConfigError, match="has no pretrained speech encoder"):
        load_model(model_folder, "openvino")
    (tmp_path / "clip.wav").write_bytes(clip)
    words = ["predict", str(tmp_path / "clip.wav"), "-m", str(model_folder)]
    status, _, error = run([*words, "--precision", "fp32"], monkeypatch, capsys)
    assert status == 1 and "has no pretrained speech encoder" in error
    status, _, error = run([*words, "--runtime", "onnx", "--engine", "ray", "-o", "x"], monkeypatch, capsys)
    assert status == 1 and "are for the local engine" in error


def test_predict_takes_a_precision(
    whisper: Path,
    tmp_path: Path,
    clip: bytes,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(engine, "compare", measured(lambda _speech: 0.001))
    (tmp_path / "clip.wav").write_bytes(clip)
    words = ["predict", str(tmp_path / "clip.wav"), "-m", str(whisper)]
    status, out, _ = run([*words, "-f", "json", "--precision", "bf16"], monkeypatch, capsys)
    assert not status and json.loads(out)["label"]
    status, _, error = run([*words, "--runtime", "openvin"], monkeypatch, capsys)
    assert status and "openvin" in error and error.count("\n") == 1
