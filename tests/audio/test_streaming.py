"""Sound in pieces is the same sound."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from trees.sound import noise
from undertone import audio
from undertone.audio.streaming import Resampler, blocks, channel_blocks


@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_blocks_put_together_are_the_recording(tmp_path: Path, rate: int) -> None:
    noise(tmp_path / "long.wav", 3.3, rate)
    pieces = np.concatenate(list(blocks(tmp_path / "long.wav", seconds=0.7)))
    whole = audio.load(tmp_path / "long.wav")
    assert abs(len(pieces) - len(whole)) <= 1
    size = min(len(pieces), len(whole))
    np.testing.assert_allclose(pieces[:size], whole[:size], atol=2e-3)


def test_chunks_of_any_size_resample_to_the_same(tmp_path: Path) -> None:
    wave = np.random.default_rng(0).standard_normal(44_100).astype(np.float32) * 0.1
    outcomes = []
    for size in (100, 4410, 44_100):
        resample = Resampler(44_100)
        parts = [resample(wave[i : i + size]) for i in range(0, len(wave), size)]
        outcomes.append(np.concatenate([*parts, resample.close()]))
    for other in outcomes[1:]:
        np.testing.assert_allclose(outcomes[0], other, atol=1e-5)


@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_all_channels_come_side_by_side(tmp_path: Path, rate: int) -> None:
    frames = 0.1 * np.random.default_rng(0).standard_normal((2 * rate, 3)).astype(np.float32)
    soundfile.write(tmp_path / "three.wav", frames, rate, subtype="FLOAT")
    together = np.concatenate(list(channel_blocks(tmp_path / "three.wav", seconds=0.3)))
    assert together.shape == (2 * audio.RATE, 3)
    for channel in range(3):
        alone = np.concatenate(list(blocks(tmp_path / "three.wav", seconds=0.7, channel=channel)))
        np.testing.assert_allclose(together[:, channel], alone, atol=1e-5)
