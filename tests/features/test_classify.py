"""Published classifiers: posteriors as transformers' pipeline has them, alone and in batches; refusals."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.features import classifiers
from undertone.errors import ModelError
from undertone.features.classify import ClassifierConfig, classifier

pytestmark = pytest.mark.filterwarnings("ignore:At least one mel filter")  # of transformers' own extractor
LINES = ["i can not believe it", "so good !", "what a sad , sad day this is", "never again"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    root = tmp_path_factory.mktemp("classifiers")

    @cache
    def build(name: str) -> Path:
        return classifiers.make(name, root / name.replace(" ", "-").replace(",", ""))

    return build


def waves() -> list[np.ndarray]:
    drawn = np.random.default_rng(0)
    return [(0.1 * drawn.standard_normal(n)).astype(np.float32) for n in (9_000, 16_000, 23_451)]


def posterior(logits: np.ndarray) -> dict[str, float]:
    return dict(zip(classifiers.CLASSES, torch.from_numpy(logits[0]).softmax(-1).tolist(), strict=True))


def by_pipeline(task: str, folder: Path, one: Any) -> dict[str, float]:
    from transformers import pipeline

    judge = pipeline(task, str(folder), device="cpu", dtype=torch.float32)
    answer = judge(one, top_k=None)
    return {row["label"]: row["score"] for row in answer}


@pytest.mark.parametrize("name", classifiers.SPEECH)
def test_speech_is_as_the_pipeline_has_it_and_batches_are_singles(
    made: Callable[[str], Path], name: str
) -> None:
    ours = classifier(ClassifierConfig(name=str(made(name)), side="speech", precision="fp32"))
    together = ours.encode(waves())
    for wave, logits in zip(waves(), together, strict=True):
        np.testing.assert_allclose(ours.encode([wave])[0], logits, atol=1e-6)
        theirs = by_pipeline("audio-classification", made(name), wave)
        assert posterior(logits) == pytest.approx(theirs, abs=1e-5)
    assert np.ptp(np.concatenate(together), axis=0).max() > 1e-4, (
        "the clips must differ for this to mean much"
    )


@pytest.mark.parametrize("name", classifiers.TEXT)
def test_text_is_as_the_pipeline_has_it_and_batches_are_singles(
    made: Callable[[str], Path], name: str
) -> None:
    ours = classifier(ClassifierConfig(name=str(made(name)), side="text", precision="fp32"))
    together = [one.vectors for one in ours.encode(LINES)]
    for text, logits in zip(LINES, together, strict=True):
        np.testing.assert_allclose(ours.encode([text])[0].vectors, logits, atol=1e-6)
        assert posterior(logits) == pytest.approx(
            by_pipeline("text-classification", made(name), text), abs=1e-5
        )
    assert np.ptp(np.concatenate(together), axis=0).max() > 1e-4


def test_a_longer_text_than_the_network_takes_is_judged_in_windows(made: Callable[[str], Path]) -> None:
    ours = classifier(ClassifierConfig(name=str(made("bert")), side="text", precision="fp32"))
    (short,), (long,) = (ours.encode(["so good ! " * n])[0].vectors for n in (15, 200))
    assert long.shape == short.shape
    assert np.abs(long - short).max() < 1.0
    assert not ours.encode([" "])[0].vectors.size


def test_a_longer_clip_than_the_network_takes_is_judged_in_windows(made: Callable[[str], Path]) -> None:
    ours = classifier(ClassifierConfig(name=str(made("whisper")), side="speech", precision="fp32"))
    wave = np.concatenate([waves()[1]] * 9)  # 9 s; the network has 6
    first, last = ours.encode([wave[:96_000]])[0], ours.encode([wave[-96_000:]])[0]
    np.testing.assert_allclose(ours.encode([wave])[0], (first + last) / 2, atol=1e-5)


def test_whisper_at_the_clips_length_is_another_input_unless_the_clip_fills_the_window(
    made: Callable[[str], Path],
) -> None:
    full, clip = (
        classifier(ClassifierConfig(name=str(made("whisper")), side="speech", window=w, precision="fp32"))
        for w in ("full", "clip")
    )
    assert full.identity != clip.identity
    long = np.concatenate([waves()[1]] * 5)  # 5 s and 2 s of silence: more than the network's 6 s
    np.testing.assert_allclose(clip.encode([long])[0], full.encode([long])[0], atol=1e-4)
    far = [np.abs(a - b).max() for a, b in zip(full.encode(waves()), clip.encode(waves()), strict=True)]
    assert 1e-4 < max(far) < 2.0


def test_several_classes_at_once_are_read_as_such(tmp_path: Path) -> None:
    folder = classifiers.make("bert", tmp_path, problem_type="multi_label_classification")
    ours = classifier(ClassifierConfig(name=str(folder), side="text", precision="fp32"))
    assert ours.task == "multi"
    theirs = by_pipeline("text-classification", folder, LINES[0])
    logits = torch.from_numpy(ours.encode([LINES[0]])[0].vectors[0])
    assert dict(zip(classifiers.CLASSES, logits.sigmoid().tolist(), strict=True)) == pytest.approx(
        theirs, abs=1e-5
    )


def test_arousal_dominance_and_valence_are_computed_by_the_published_layout(tmp_path: Path) -> None:
    from safetensors.torch import load_file
    from transformers import AutoFeatureExtractor, AutoModel

    folder = classifiers.dimensional(tmp_path)
    ours = classifier(ClassifierConfig(name=str(folder), side="speech", precision="fp32"))
    assert (ours.task, ours.labels) == ("regression", ("arousal", "dominance", "valence"))
    weights = load_file(folder / "model.safetensors")
    body = AutoModel.from_config(ours.model.config).eval()
    body.load_state_dict({k.removeprefix("wav2vec2."): v for k, v in weights.items() if k.startswith("wav")})
    values = AutoFeatureExtractor.from_pretrained(folder)(
        waves()[0], sampling_rate=16_000, return_tensors="pt"
    )
    with torch.no_grad():
        mean = body(**values).last_hidden_state.mean(1)
        hidden = (mean @ weights["classifier.dense.weight"].T + weights["classifier.dense.bias"]).tanh()
        expected = hidden @ weights["classifier.out_proj.weight"].T + weights["classifier.out_proj.bias"]
    np.testing.assert_allclose(ours.encode([waves()[0]])[0], expected.numpy(), atol=1e-5)


# ---- what is refused, in one line --------------------------------------------------------------------------


def changed(folder: Path, file: str, **values: Any) -> None:
    path = folder / file
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | values), encoding="utf-8")


def refusal(name: str | Path, side: str) -> str:
    with pytest.raises(ModelError) as caught:
        classifier(ClassifierConfig(name=str(name), side=side))
    line = str(caught.value)
    assert "\n" not in line
    return line


def test_no_such_name_without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE" in refusal("hf:nobody/no-such-emotion-model", "speech")


def test_a_gated_repository_names_the_page_and_the_login(monkeypatch: pytest.MonkeyPatch) -> None:
    import httpx
    from huggingface_hub import errors

    def gated(*_: Any, **__: Any) -> Path:
        raise errors.GatedRepoError(
            "403", response=httpx.Response(403, request=httpx.Request("GET", "http://x"))
        )

    monkeypatch.setattr("huggingface_hub.snapshot_download", gated)
    assert "is gated: accept its terms" in refusal("someone/gated", "text")


def test_a_text_model_as_speech_and_the_other_way(made: Callable[[str], Path]) -> None:
    assert "is a text model (bert): give it by --text" in refusal(made("bert"), "speech")
    assert "is a speech model (hubert): give it by --speech" in refusal(made("hubert"), "text")


def test_a_wrong_sampling_rate(tmp_path: Path) -> None:
    folder = classifiers.make("hubert", tmp_path)
    changed(folder, "preprocessor_config.json", sampling_rate=8000)
    assert "takes 8,000 samples a second" in refusal(folder, "speech")


def test_missing_safetensors(tmp_path: Path) -> None:
    folder = classifiers.make("bert", tmp_path)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    assert "no safetensors weights" in refusal(folder, "text")


def test_code_that_comes_with_the_weights(tmp_path: Path) -> None:
    folder = classifiers.make("wavlm", tmp_path)
    changed(folder, "config.json", auto_map={"AutoModelForAudioClassification": "pipeline_utils.SERModel"})
    assert "wants code of its own (pipeline_utils.SERModel)" in refusal(folder, "speech")
    changed(folder, "config.json", auto_map={}, model_type="ser")
    assert "not transformers' own ('ser')" in refusal(folder, "speech")


def test_an_encoder_without_a_head_is_no_classifier(checkpoint: Callable[[str], Path]) -> None:
    assert "an encoder without a head" in refusal(checkpoint("bert"), "text")
    assert "has no weights for classifier" in refusal(checkpoint("wavlm"), "speech")


def test_one_number_is_a_regression(tmp_path: Path) -> None:
    folder = classifiers.make("bert", tmp_path, classes=("valence",))
    assert "gives one number ('valence'), so it is a regression" in refusal(folder, "text")
