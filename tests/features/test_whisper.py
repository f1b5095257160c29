"""Whisper at the clip's length and at 30 s: the same frames in any batch, each at its own time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from tests.features.test_speech import CLOSE, RATE, encoder, error, waves
from undertone.errors import ConfigError
from undertone.features.batching import plan
from undertone.features.config import SpeechConfig
from undertone.features.frontends import LENGTHS
from undertone.features.neural import PretrainedSpeech
from undertone.features.speech import build

HOP = 320
FULL = 6 * RATE
"""Samples of the small network's window; the published ones have 30 s."""
both = pytest.mark.parametrize("window", ["clip", "full"])


@pytest.fixture
def whisper(checkpoint: Callable[[str], Path]) -> Callable[..., PretrainedSpeech]:
    return lambda **more: encoder(checkpoint("whisper"), **more)


def of_transformers(folder: Path, wave: NDArray[np.float32], samples: int) -> NDArray[np.float32]:
    """Frames by transformers' own forward, its window set to ``samples``."""
    from transformers import AutoFeatureExtractor, AutoModel

    model = AutoModel.from_pretrained(folder).eval().get_encoder()
    model.config.max_source_positions = samples // HOP
    model.embed_positions = nn.Embedding.from_pretrained(model.embed_positions.weight[: samples // HOP])
    mel = AutoFeatureExtractor.from_pretrained(folder)(
        wave, sampling_rate=RATE, max_length=samples, return_tensors="pt"
    )
    with torch.inference_mode():
        frames: NDArray[np.float32] = model(**mel).last_hidden_state[0].numpy()
    return frames[: -(-len(wave) // HOP)]


@pytest.mark.parametrize(
    ("window", "seconds", "padded"), [("clip", 1.3, 2), ("clip", 2.0, 2), ("clip", 3.1, 4), ("full", 1.3, 6)]
)
def test_a_clip_has_silence_up_to_the_next_length_alone(
    checkpoint: Callable[[str], Path], window: str, seconds: float, padded: int
) -> None:
    folder = checkpoint("whisper")
    (wave,) = waves(seconds)
    (ours,) = encoder(folder, window=window).encode([wave])
    assert error(ours, of_transformers(folder, wave, padded * RATE)) < CLOSE


@both
def test_frames_do_not_depend_on_the_batch(whisper: Callable[..., PretrainedSpeech], window: str) -> None:
    """Lengths that share a batch, lengths that do not, and a recording in windows."""
    model = whisper(window=window, layer="weighted")
    clips = waves(1.1, 3.3, 1.9, 0.01, 2.0, 14.0, 5.9, 2.7)
    alone = [model.encode([clip])[0] for clip in clips]
    sizes: list[int] = []
    bodies = model._bodies
    model._bodies = lambda features: sizes.append(len(features)) or bodies(features)  # type: ignore
    model._batches = lambda lengths: plan(lengths, 10**6, model.pads)  # type: ignore[method-assign]
    for order in (range(len(clips)), range(len(clips))[::-1]):
        together = model.encode([clips[i] for i in order])
        assert max(error(a, alone[i]) for a, i in zip(together, order, strict=True)) < CLOSE
    assert max(sizes) >= 4, "they were batched"


@both
def test_a_clip_has_the_frames_of_its_own_length(
    whisper: Callable[..., PretrainedSpeech], window: str
) -> None:
    model = whisper(window=window)
    for samples in (1, HOP - 1, HOP, HOP + 1, 2 * RATE, 2 * RATE + 1, 4 * RATE, FULL - 1, FULL, FULL + 1):
        (frames,) = model.encode([np.full(samples, 0.01, np.float32)])
        assert len(frames) == -(-samples // HOP)
        assert model.clock.centre(len(frames) - 1) < samples / RATE
    assert (model.clock.hop, model.clock.offset) == (0.02, 0.0)


@both
@pytest.mark.parametrize(("seconds", "at"), [(1.5, 0.9), (3.2, 0.031), (4.0, 3.97), (14.0, 9.77)])
def test_a_click_moves_the_frames_around_its_time(
    whisper: Callable[..., PretrainedSpeech], window: str, seconds: float, at: float
) -> None:
    """Two convolutions and a spectrum of 25 ms: a frame depends on 32.5 ms to either side of its centre."""
    model = whisper(window=window, layer=0)
    (wave,) = waves(seconds)
    moved = wave.copy()
    moved[round(at * RATE)] += 0.2
    (before,), (after,) = model.encode([wave]), model.encode([moved])
    changed = np.flatnonzero(np.abs(after - before).max(1) > 1e-6)
    centres = np.array([model.clock.centre(i) for i in range(len(before))])
    near = np.flatnonzero(np.abs(centres - at) < 0.0325)
    assert set(changed) <= set(near)
    assert np.argmin(np.abs(centres - at)) in changed


@both
def test_a_step_of_level_is_at_its_time(whisper: Callable[..., PretrainedSpeech], window: str) -> None:
    model = whisper(window=window, layer=0)
    (wave,) = waves(3.0)
    wave[: round(1.3 * RATE)] *= 0.01
    (frames,) = model.encode([wave])
    (steady,) = model.encode([np.zeros(3 * RATE, np.float32)])
    level = (frames - steady).mean(1)  # without the positions
    edge = int(np.abs(np.subtract(*(level[k : len(level) - 4 + k] for k in (4, 0)))).argmax()) + 2
    assert abs(model.clock.centre(edge) - 1.3) <= 0.04


def test_the_window_is_part_of_the_identity(whisper: Callable[..., PretrainedSpeech]) -> None:
    clip, full = whisper(), whisper(window="full")
    assert clip.config.window == "clip" and clip.identity != full.identity
    for model in (clip, full):
        assert build(SpeechConfig.parse(model.config.plain())).identity == model.identity  # type: ignore


def test_the_lengths_are_those_below_the_networks_own(whisper: Callable[..., PretrainedSpeech]) -> None:
    assert whisper().lengths == (2 * RATE, 4 * RATE, FULL)
    assert whisper(window="full").lengths == (FULL,)
    assert list(LENGTHS) == sorted(set(LENGTHS)) and LENGTHS[-1] < 30


def test_no_other_network_has_a_window(checkpoint: Callable[[str], Path]) -> None:
    with pytest.raises(ConfigError, match="window = 'full' is for Whisper"):
        encoder(checkpoint("wavlm"), window="full")
    with pytest.raises(ConfigError, match="window"):
        encoder(checkpoint("whisper"), window="half")


def _frames_of(model: PretrainedSpeech, wave: Any) -> NDArray[np.float32]:
    return model.encode([wave])[0]


@both
def test_any_layer_is_one_of_all_layers(whisper: Callable[..., PretrainedSpeech], window: str) -> None:
    (wave,) = waves(2.4)
    layers = _frames_of(whisper(window=window, layer="weighted"), wave)
    assert layers.shape == (4, 120, 32)
    for layer, expected in ((0, layers[0]), (1, layers[1]), (2, layers[2]), ("last", layers[3])):
        assert error(_frames_of(whisper(window=window, layer=layer), wave), expected) < CLOSE
