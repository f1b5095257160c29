"""Networks in plain torch are transformers' own: the same numbers, and nothing of it imported."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from undertone import packed, pretrained
from undertone.features.neural import whisper_states
from undertone.pretrained import plain


def _boxed(name: str) -> None:
    if packed.find(name) is None:
        pytest.skip("undertone-encoders is not installed")


def test_whispers_encoder_and_its_log_mel_are_transformers_own() -> None:
    _boxed("whisper-base")
    ours, theirs = pretrained.in_plain_torch("whisper-base"), pretrained.load_speech("whisper-base")
    assert ours is not None and ours.weights == theirs.weights
    times = np.arange(32_000) / 16_000
    wave = (
        0.2 * np.sin(2 * np.pi * 220 * times) + 0.02 * np.random.default_rng(0).normal(size=32_000)
    ).astype("f4")
    given = {
        "sampling_rate": 16_000,
        "return_tensors": "np",
        "padding": "max_length",
        "max_length": len(wave),
    }
    mels = [torch.tensor(np.asarray(p.processor(wave, **given).input_features)) for p in (ours, theirs)]
    torch.testing.assert_close(mels[0], mels[1], atol=1e-5, rtol=1e-5)
    with torch.inference_mode():
        frames = [whisper_states(p.model.get_encoder(), mels[1].transpose(1, 2)) for p in (ours, theirs)]
    torch.testing.assert_close(frames[0], frames[1], atol=1e-4, rtol=1e-4)


def test_bert_is_transformers_own_with_padding_and_without() -> None:
    _boxed("minilm-l6")
    ours, theirs = pretrained.in_plain_torch("minilm-l6"), pretrained.load_text("minilm-l6")
    assert ours is not None and ours.weights == theirs.weights
    ids = torch.tensor([[101, 2009, 2003, 2204, 102], [101, 2919, 102, 0, 0]])
    mask = (ids > 0).long()
    with torch.inference_mode():
        found = [p.model(input_ids=ids, attention_mask=mask).last_hidden_state for p in (ours, theirs)]
    torch.testing.assert_close(found[0][mask.bool()], found[1][mask.bool()], atol=1e-4, rtol=1e-4)


def test_a_network_with_a_decoder_is_left_to_transformers() -> None:
    _boxed("whisper-tiny.en")
    assert pretrained.in_plain_torch("whisper-tiny.en") is None


def test_nothing_of_transformers_is_imported() -> None:
    _boxed("whisper-base")
    code = (
        "import sys, numpy as np; from undertone.features.speech import speech_encoder;"
        "frames, = speech_encoder('whisper-base', layer='2-3').encode([np.ones(9000, 'f4')]);"
        "assert frames.shape[0] == 2; sys.exit('transformers' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_settings_have_transformers_names() -> None:
    _boxed("whisper-base")
    made = plain.network(packed.boxed_folder("whisper-base"))
    assert made is not None and made.config.hidden_size == made.config.to_dict()["d_model"]
