"""Waves made worse: by how much, where, and the same each time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studies.starter.assess.worse import (
    CONDITIONS,
    beside_voices,
    drawn,
    gained,
    joined,
    noisy,
    one_second,
)
from undertone.audio.noise import active, active_span, telephone

RATE = 16_000


def spoken(before: float = 1.0, speech: float = 2.0, after: float = 1.0, floor: float = 1e-4) -> np.ndarray:
    """Something loud between two stretches of a quiet floor."""
    random = np.random.default_rng(0)
    loud = 0.2 * np.sin(2 * np.pi * 300 * np.arange(round(speech * RATE)) / RATE)
    wave = np.concatenate([np.zeros(round(before * RATE)), loud, np.zeros(round(after * RATE))])
    return (wave + floor * random.standard_normal(len(wave))).astype(np.float32)


def power(wave: np.ndarray) -> float:
    return float(np.mean(np.square(wave, dtype=np.float64)))


def test_speech_is_found_between_its_silences() -> None:
    first, last = active_span(spoken(), RATE)
    assert first == pytest.approx(RATE, abs=160)
    assert last == pytest.approx(3 * RATE, abs=160)
    assert active(np.zeros(500, np.float32), RATE).all()


@pytest.mark.parametrize("silence", [0.0, 1.0, 6.0])
def test_noise_is_measured_against_the_speech_not_the_silence_around_it(silence: float) -> None:
    wave = spoken(silence, 2.0, silence)
    noise = noisy(wave, "a", RATE, 10.0) - wave
    speech = power(spoken(0.0, 2.0, 0.0))
    assert 10 * np.log10(speech / power(noise)) == pytest.approx(10.0, abs=0.3)


def test_what_is_drawn_depends_on_the_name_alone() -> None:
    wave = spoken()
    assert np.array_equal(noisy(wave, "a", RATE), noisy(wave, "a", RATE))
    assert not np.array_equal(noisy(wave, "a", RATE), noisy(wave, "b", RATE))
    assert drawn("a", 1).random() != drawn("a1").random()


def test_voices_in_the_background_are_ten_decibels_below_the_speech() -> None:
    wave = spoken()
    change = beside_voices([spoken(0.0, n / 10, 0.0) for n in range(5, 10)])
    voices = change(wave, "a", RATE) - wave
    speech = power(spoken(0.0, 2.0, 0.0))
    assert 10 * np.log10(speech / power(voices)) == pytest.approx(10.0, abs=0.3)
    assert np.array_equal(change(wave, "a", RATE), change(wave, "a", RATE))
    assert not np.array_equal(change(wave, "a", RATE), change(wave, "b", RATE))


def test_gain_stays_within_its_bounds_and_the_files_range() -> None:
    wave = spoken()
    gains = [20 * np.log10(np.std(gained(wave, str(i))) / np.std(wave)) for i in range(200)]
    assert min(gains) >= -12.01
    assert max(gains) <= 12.01
    assert max(gains) - min(gains) > 20
    assert np.abs(gained(wave * 4, "x")).max() <= 1.0


def test_a_telephone_takes_what_is_low_and_high() -> None:
    t = np.arange(RATE) / RATE
    kept = {
        hertz: power(telephone(np.sin(2 * np.pi * hertz * t).astype(np.float32), RATE)[2000:])
        for hertz in (80, 1000, 6500)
    }
    assert kept[1000] == pytest.approx(0.5, rel=0.02)
    assert kept[80] < 0.001
    assert kept[6500] < 0.001


@settings(max_examples=40, deadline=None)
@given(
    before=st.floats(0.0, 1.5), speech=st.floats(0.3, 3.0), after=st.floats(0.0, 1.5), draw=st.integers(0, 4)
)
def test_a_second_comes_from_inside_the_speech(before: float, speech: float, after: float, draw: int) -> None:
    wave = spoken(before, speech, after)
    cut = one_second(wave, "clip", draw, RATE)
    assert len(cut) == min(RATE, len(wave))
    inside = active(wave, RATE)
    places = np.lib.stride_tricks.sliding_window_view(wave, len(cut))
    start = int(np.flatnonzero((places == cut).all(axis=1))[0])
    heard = inside[start : start + len(cut)].sum()
    assert heard >= min(RATE, inside.sum()) - 400 or start + RATE > len(wave) - 1


@pytest.mark.parametrize("codec", ["opus", "mp3-32"])
def test_codecs_leave_the_length_and_about_the_sound(codec: str) -> None:
    wave = spoken()
    heard = CONDITIONS[codec](wave, "a", RATE)
    assert abs(len(heard) - len(wave)) <= 1200
    assert power(heard) == pytest.approx(power(wave), rel=0.2)


def test_joined_recordings_stand_a_second_apart() -> None:
    one, other = np.full(RATE, 0.5, np.float32), np.full(2 * RATE, -0.5, np.float32)
    wave = joined(one, other, "a", RATE)
    assert len(wave) == 5 * RATE
    assert np.abs(wave[RATE + RATE // 2 : 2 * RATE + RATE // 2]).max() < 0.001
    assert (wave[RATE // 2 : RATE + RATE // 2] == 0.5).all()
