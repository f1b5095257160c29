"""What is easily done wrong with a pretrained network: each case by its name."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.features.checkpoints import SPEECH, TEXT
from tests.features.test_speech import CLOSE, RATE, encoder, error, waves
from undertone.features.batching import plan
from undertone.features.text import text_encoder

Made = Callable[[str], Path]


def in_half_precision(folder: Path, place: Path) -> Path:
    """The same checkpoint, stored in fp16 as many on the hub are."""
    from transformers import AutoModel

    shutil.copytree(folder, place)
    AutoModel.from_pretrained(folder, dtype=torch.float16).save_pretrained(place)
    assert '"float16"' in (place / "config.json").read_text()
    return place


@pytest.mark.parametrize("name", SPEECH)
def test_weights_stored_in_fp16_are_computed_in_fp32(checkpoint: Made, tmp_path: Path, name: str) -> None:
    """Or in bf16 where that is chosen: a CPU computes fp16 several times slower."""
    folder = in_half_precision(checkpoint(name), tmp_path / "half")
    (wave,) = waves(0.7)
    half, full = encoder(folder), encoder(checkpoint(name))
    assert {p.dtype for p in half.body.parameters()} == {torch.float32}
    assert error(half.encode([wave])[0], full.encode([wave])[0]) < 0.02
    chosen = encoder(folder, precision="bf16")
    assert {p.dtype for p in chosen.body.parameters()} == {torch.bfloat16}


@pytest.mark.parametrize("name", TEXT)
def test_text_weights_stored_in_fp16_are_computed_in_fp32(
    checkpoint: Made, tmp_path: Path, name: str
) -> None:
    folder = in_half_precision(checkpoint(name), tmp_path / "half")
    half = text_encoder(str(folder), precision="fp32")
    full = text_encoder(str(checkpoint(name)), precision="fp32")
    assert {p.dtype for p in half.model.parameters()} == {torch.float32}  # type: ignore[attr-defined]
    (a,), (b,) = half.encode(["it is so good"]), full.encode(["it is so good"])
    assert error(a.vectors, b.vectors) < 0.02


def test_data2vec_is_never_padded(checkpoint: Made) -> None:
    """Its position convolutions see the padding, mask or no mask."""
    model = encoder(checkpoint("data2vec-audio"))
    short, long = waves(0.9, 2.3)
    (alone,) = model.encode([short])
    with torch.inference_mode():
        features = [model.frontend(wave, torch.float32) for wave in (short, long)]
        padded = model._bodies(features)[0]
    assert error(padded, alone) > 100 * CLOSE, "padding it is wrong"
    model._batches = lambda lengths: plan(lengths, 10**6, model.pads)  # type: ignore[method-assign]
    assert not model.pads and error(model.encode([short, long])[0], alone) < CLOSE


@pytest.mark.parametrize("normalise", [True, False])
def test_a_wave_is_normalised_only_where_its_checkpoint_does(
    checkpoint: Made, tmp_path: Path, normalise: bool
) -> None:
    from transformers import AutoFeatureExtractor, AutoModel, Wav2Vec2FeatureExtractor

    folder = tmp_path / "network"
    shutil.copytree(checkpoint("wav2vec2 with layer norm"), folder)
    Wav2Vec2FeatureExtractor(do_normalize=normalise, return_attention_mask=True).save_pretrained(folder)
    (wave,) = waves(0.8)
    model = encoder(folder)
    loud, soft = model.encode([wave, wave / 4])
    assert (error(loud, soft) < 1e-3) == normalise
    given = AutoFeatureExtractor.from_pretrained(folder)(wave, sampling_rate=RATE, return_tensors="pt")
    with torch.inference_mode():
        theirs = AutoModel.from_pretrained(folder).eval()(**given).last_hidden_state[0].numpy()
    assert error(loud, theirs) < CLOSE


@pytest.mark.parametrize("name", SPEECH)
def test_a_clip_shorter_than_the_receptive_field_has_one_frame(checkpoint: Made, name: str) -> None:
    """Silence fills the receptive field, and the frame is the same among longer clips."""
    model = encoder(checkpoint(name), layer="weighted")
    count = max(1, model.frontend.receptive - 1) if name != "whisper" else 100
    short, long = waves(count / RATE, 1.2)
    (alone,) = model.encode([short])
    assert alone.shape == (4, 1, model.dim) and np.isfinite(alone).all()
    model._batches = lambda lengths: plan(lengths, 10**6, model.pads)  # type: ignore[method-assign]
    assert error(model.encode([long, short, long])[1], alone) < CLOSE
