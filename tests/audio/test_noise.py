"""Noise at a stated level below the active speech, by cases made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from undertone.audio.noise import active, active_span, levels, mixed

RATE = 1000
"""A frame of 10 ms is ten samples."""


def _clip() -> np.ndarray:
    """100 silent samples, 200 of power 4, a pause of 100, 100 of power 1, 100 silent samples."""
    signs = np.where(np.arange(600) % 2, 1.0, -1.0)
    return (signs * np.repeat([0, 2, 0, 1, 0], [100, 200, 100, 100, 100])).astype(np.float32)


def test_frames_within_30_decibels_of_the_loud_ones_are_active() -> None:
    wave = _clip()
    wave[:100] = 2 * 10 ** (-31 / 20)  # 31 dB below the loud frames
    wave[300:310] = 2 * 10 ** (-29 / 20)
    want = np.repeat([False, True, True, False, True, False], [100, 200, 10, 90, 100, 100])
    assert np.array_equal(active(wave, RATE), want)
    assert active_span(wave, RATE) == (100, 500)


def test_the_level_of_a_frame_is_its_mean_power_also_of_a_shorter_last_one() -> None:
    assert levels(np.full(25, 0.1, np.float32), RATE) == pytest.approx([-20.0] * 3, abs=1e-4)


@pytest.mark.parametrize("snr", [-5.0, 0.0, 10.0])
def test_noise_is_below_the_active_speech_and_not_below_the_pauses(snr: float) -> None:
    """The active speech has a mean power of (200 · 4 + 100 · 1) / 300 = 3."""
    noise = 7.0 * np.random.default_rng(0).standard_normal(600)
    added = mixed(_clip(), noise, snr, RATE) - _clip()
    assert np.square(added).mean() == pytest.approx(3.0 / 10 ** (snr / 10), rel=1e-4)
    assert np.corrcoef(added, noise)[0, 1] == pytest.approx(1.0)


def test_silence_before_and_after_changes_nothing() -> None:
    wave, silence = _clip()[100:500], np.zeros(900, np.float32)
    noise = np.ones(400)
    added = mixed(wave, noise, 10.0, RATE) - wave
    longer = mixed(np.concatenate([silence, wave, silence]), np.ones(2200), 10.0, RATE)
    assert longer[0] == pytest.approx(added[0], rel=1e-4)


def test_a_silent_wave_is_active_everywhere_and_gets_no_noise() -> None:
    silence = np.zeros(55, np.float32)
    assert active(silence, RATE).all() and len(active(silence, RATE)) == 55
    assert not mixed(silence, np.ones(55), 10.0, RATE).any()
    assert np.array_equal(mixed(_clip(), np.zeros(600), 10.0, RATE), _clip())
