"""An exported model says what the original says, in a process that has no torch."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from undertone.errors import ConfigError, ModelError
from undertone.judging.clip import Clip, Transcript
from undertone.judging.engine import load_in
from undertone.judging.predictor import load_model
from undertone.models.table import SYSTEMS
from undertone.serving.export import TOLERANCE, export

Make = Callable[..., Any]

WITHOUT_TORCH = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "transformers", "accelerate"):
            raise ImportError(f"{name} must not be imported here")

sys.meta_path.insert(0, Refuse())
sys.argv = ["undertone", *sys.argv[1:]]
from undertone.cli import main
main()
"""


QUICK = ("concat",)
EXPORTABLE = [name for name in sorted(SYSTEMS) if SYSTEMS[name][0].exportable]
SYSTEM = [s if s in QUICK else pytest.param(s, marks=pytest.mark.slow) for s in EXPORTABLE]
"""Tracing a system takes seconds: the whole table belongs to the slow tests."""


def test_what_cannot_be_exported_says_so(new_model: Make, tmp_path: Path) -> None:
    assert "compact" not in EXPORTABLE
    with pytest.raises(ConfigError, match="'compact' follows each clip's own length"):
        export(new_model(tmp_path / "compact", "compact"), "onnx")


@pytest.mark.parametrize("system", SYSTEM)
def test_every_system_exports_within_the_tolerance(system: str, new_model: Make, tmp_path: Path) -> None:
    done = export(new_model(tmp_path / system, system), "onnx")
    assert done.path == tmp_path / f"{system}-onnx"
    assert 0 <= done.difference <= TOLERANCE
    card = json.loads((done.path / "card.json").read_text())
    assert card["exported"]["largest_difference"] == done.difference
    assert card["exported"]["tolerance"] == TOLERANCE


def test_a_graph_gives_dimensions_and_several_emotions_too(new_model: Make, tmp_path: Path) -> None:
    model = new_model(tmp_path / "both", "score", beside=True)
    done = export(model, "onnx")
    clip = Clip("a", np.random.default_rng(1).standard_normal(20_000).astype(np.float32) * 0.1)
    (ours,), (theirs,) = (load_model(path).predict([clip]) for path in (model, done.path))
    for key in ("dimensions", "spread", "several"):
        assert theirs.extra[key] == pytest.approx(ours.extra[key], abs=1e-5)


@pytest.fixture(scope="module")
def graph(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``unison`` as an ONNX graph."""
    return export(model_folder, "onnx", tmp_path_factory.mktemp("graphs") / "unison").path


@pytest.mark.parametrize(
    "to", ["onnx", pytest.param("openvino", marks=pytest.mark.slow)]
)  # converting is slow
def test_an_exported_model_answers_as_the_original(
    to: str, model_folder: Path, graph: Path, tmp_path: Path
) -> None:
    wave = np.random.default_rng(1).standard_normal(40_000).astype(np.float32) * 0.1
    clips = [
        Clip("a", wave, Transcript("leave me alone now")),
        Clip("b", wave[:9_000]),
        Clip("c", None, Transcript("a day")),
    ]
    path = graph if to == "onnx" else export(model_folder, to, tmp_path / to).path
    ours, theirs = load_model(model_folder), load_model(path)
    assert (ours.name, ours.labels, ours.tiers) == (theirs.name, theirs.labels, theirs.tiers)
    for one, other in zip(ours.predict(clips, True), theirs.predict(clips, True), strict=True):
        assert one.perspectives.keys() == other.perspectives.keys()
        for side, shares in one.perspectives.items():
            assert list(shares.values()) == pytest.approx(
                list(other.perspectives[side].values()), abs=TOLERANCE
            )
        for mine, yours in zip(one.words, other.words, strict=True):
            assert mine.contribution == pytest.approx(yours.contribution, abs=1e-3)


def test_predict_runs_an_exported_folder_where_torch_cannot_be_imported(
    model_folder: Path, graph: Path, tmp_path: Path, clip: bytes
) -> None:
    sound = tmp_path / "clip.wav"
    sound.write_bytes(clip)
    words = ["predict", str(sound), "--model", str(graph), "--text", "a lovely day", "--format", "json"]
    ran = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, *words], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    answer = json.loads(ran.stdout)
    original = load_model(model_folder)
    assert answer["model"] == original.name
    assert set(answer["perspectives"]) == {"fused", "speech", "text"}


def test_a_graph_that_differs_too_much_is_not_kept(new_model: Make, tmp_path: Path) -> None:
    model = new_model(tmp_path / "model", "speech")
    with pytest.raises(ModelError, match="differ"):
        export(model, "onnx", tmp_path / "out" / "graph", tolerance=-1.0)
    assert list((tmp_path / "out").iterdir()) == []


def test_unknown_targets_are_refused(model_folder: Path) -> None:
    with pytest.raises(ConfigError, match="tflite"):
        export(model_folder, "tflite")


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A head over a small wav2vec 2.0 and a small BERT, all weights random."""
    import torch
    import transformers

    from undertone.features.config import SpeechConfig, TextConfig
    from undertone.features.speech import build
    from undertone.features.text import build as build_text
    from undertone.models import folder as folders
    from undertone.models.example import Dimensions
    from undertone.models.table import build as build_system

    torch.manual_seed(0)
    root = tmp_path_factory.mktemp("pretrained")
    small = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
    convolutions = {"conv_dim": (16,) * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4}
    network = transformers.Wav2Vec2Model(transformers.Wav2Vec2Config(**small, **convolutions))
    network.save_pretrained(root / "speech")
    transformers.Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(root / "speech")
    pieces = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        *"what a lovely day no it is".split(),
        "##ly",
        "'",
        "t",
    ]
    (root / "vocab.txt").write_text("\n".join(pieces))
    words = transformers.BertTokenizerFast(str(root / "vocab.txt"))
    words.save_pretrained(root / "text")
    transformers.BertModel(transformers.BertConfig(vocab_size=len(words), **small)).save_pretrained(
        root / "text"
    )
    speech = SpeechConfig(name=str(root / "speech"), precision="fp32")
    text = TextConfig(name=str(root / "text"), precision="fp32")
    heard, read = build(speech), build_text(text)
    sizes = Dimensions(classes=4, speech=heard.dim, text=read.dim)
    system = build_system("concat", {"width": 16}, sizes)
    card = {
        "labels": ["angry", "happy", "sad", "neutral"],
        "encoders": {
            "speech": {"name": heard.name, "identity": heard.identity, "settings": speech.plain()},
            "text": {"name": read.name, "identity": read.identity, "settings": text.plain()},
        },
    }
    folders.save(root / "model", system.eval(), card)
    return root / "model"


@pytest.fixture
def whisper(tmp_path: Path) -> Callable[..., Path]:
    """A head over a small Whisper, all weights random."""
    from tests.judging.test_engine import make

    return lambda **settings: make(tmp_path / "whisper", **settings)


def test_encoders_are_exported_with_the_model_and_need_no_torch(
    pretrained: Path, tmp_path: Path, clip: bytes
) -> None:
    done = export(pretrained, "onnx", tmp_path / "graphs", encoders=True)
    made = json.loads((done.path / "card.json").read_text())["exported"]["encoders"]
    assert all(0 <= made[side]["largest_difference"] <= 1e-3 for side in ("speech", "text"))
    sound = tmp_path / "clip.wav"
    sound.write_bytes(clip)
    words = ["predict", str(sound), "-m", str(done.path), "--text", "What a lovely day", "-f", "json"]
    ran = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, *words], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    from undertone.judging.predictor import Predictor

    wanted = Predictor(load_model(pretrained)).predict(sound, "What a lovely day").plain()
    assert json.loads(ran.stdout)["probabilities"] == pytest.approx(wanted["probabilities"], abs=1e-3)


def test_a_head_alone_runs_beside_its_encoders_in_torch(pretrained: Path, tmp_path: Path) -> None:
    done = export(pretrained, "onnx", tmp_path / "head")
    wave = np.random.default_rng(1).standard_normal(20_000).astype(np.float32) * 0.1
    (one,), (other,) = (load_model(path).predict([Clip("a", wave)]) for path in (pretrained, done.path))
    assert dict(one.probabilities) == pytest.approx(dict(other.probabilities), abs=TOLERANCE)


@pytest.mark.parametrize("to", ["onnx", "openvino"])
def test_whisper_is_exported_with_its_log_mel(
    to: str, whisper: Callable[..., Path], tmp_path: Path, clip: bytes
) -> None:
    folder = whisper()
    done = export(folder, to, tmp_path / "graphs", encoders=True)
    ours, theirs = load_model(folder), load_model(done.path)
    drawn = np.random.default_rng(2)
    for samples in (
        1,
        319,
        31_999,
        32_000,
        32_001,
        50_000,
        96_000,
        200_000,
    ):  # the last is more than its window
        wave = (0.1 * drawn.standard_normal(samples)).astype(np.float32)
        (one,), (other,) = (model.encoders.speech.encode([wave]) for model in (ours, theirs))  # type: ignore
        assert one.shape == other.shape == (-(-samples // 320), 32)
        assert np.abs(one - other).max() / np.abs(one).max() < 1e-3
    assert theirs.encoders.speech.clock == ours.encoders.speech.clock  # type: ignore[attr-defined]
    sound = tmp_path / "clip.wav"
    sound.write_bytes(clip)
    words = ["predict", str(sound), "-m", str(done.path), "-f", "json"]
    ran = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, *words], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    from undertone.judging.predictor import Predictor

    wanted = Predictor(ours).predict(sound).plain()["probabilities"]
    assert json.loads(ran.stdout)["probabilities"] == pytest.approx(wanted, abs=1e-3)


def test_all_of_whispers_layers_at_its_published_length_are_exported(
    whisper: Callable[..., Path], tmp_path: Path
) -> None:
    folder = whisper(layer="weighted", window="full", average=4)
    done = export(folder, "onnx", tmp_path / "graphs", encoders=True)
    wave = np.random.default_rng(2).standard_normal(20_000).astype(np.float32)
    pair = [load_model(path).encoders.speech.encode([wave])[0] for path in (folder, done.path)]  # type: ignore
    assert pair[0].shape == pair[1].shape == (4, 16, 32)
    assert np.abs(pair[0] - pair[1]).max() / np.abs(pair[0]).max() < 1e-3


def test_what_was_trained_in_bf16_is_exported_in_fp32_where_decisions_stay(
    whisper: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNDERTONE_CACHE", str(tmp_path / "cache"))
    folder = whisper(precision="bf16")
    compared: list[str] = []

    def compare(own: Any, other: Any) -> dict[str, float]:
        compared.extend(model.encoders.speech.precision.name for model in (own, other))
        return {"largest_difference": 0.0 if len(compared) > 2 else 0.5, "same_labels": 0.9}

    monkeypatch.setattr("undertone.judging.engine.compare", compare)
    with pytest.raises(ModelError, match="does not decide as with its own"):
        export(folder, "onnx", tmp_path / "refused", encoders=True)
    assert compared == ["bf16", "fp32"]
    monkeypatch.setenv("UNDERTONE_CACHE", str(tmp_path / "another"))
    done = export(folder, "onnx", tmp_path / "graphs", encoders=True)
    wave = np.random.default_rng(2).standard_normal(20_000).astype(np.float32)
    pair = [load_in(folder, precision="fp32"), load_model(done.path)]
    (one,), (other,) = (model.encoders.speech.encode([wave]) for model in pair)  # type: ignore
    assert np.abs(one - other).max() / np.abs(one).max() < 1e-3
