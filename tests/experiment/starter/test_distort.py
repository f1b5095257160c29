"""Frames that are bent keep what they are."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from undertone.experiment.starter.distort import DistortConfig, distorted

STILL = DistortConfig(pace=0.0, tract=0.0, microphone=0.0, floor=0.0, bands=0, gaps=0, cut=0.0)


@given(size=st.integers(2, 200), seed=st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_bent_frames_are_finite_and_as_wide(size: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    frames = rng.normal(size=(size, 67)).astype(np.float32)
    bent = distorted(frames, DistortConfig(), rng)
    assert bent.dtype == np.float32 and bent.shape[1] == 67 and len(bent) >= 2
    assert np.isfinite(bent).all()


def test_with_everything_off_nothing_changes() -> None:
    frames = np.random.default_rng(0).normal(size=(50, 67)).astype(np.float32)
    for seed in range(10):
        np.testing.assert_allclose(distorted(frames, STILL, np.random.default_rng(seed)), frames, atol=1e-6)


def test_the_original_is_left_alone_and_pitch_stays_pitch() -> None:
    frames = np.random.default_rng(0).normal(size=(100, 67)).astype(np.float32)
    before = frames.copy()
    loud = STILL.model_copy(update={"microphone": 1.0, "bands": 20, "gaps": 20, "floor": 1.0})
    bent = distorted(frames, loud, np.random.default_rng(1))
    assert np.array_equal(frames, before)
    np.testing.assert_allclose(bent[:, 64:], frames[:, 64:], atol=1e-6)
    assert not np.allclose(bent[:, :64], frames[:, :64])
