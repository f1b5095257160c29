"""What is done to a recording is what was asked for, and the dice alone decide."""

from __future__ import annotations

import numpy as np
import pytest

from studies.starter.augment import (
    SLOPES,
    AugmentConfig,
    among_voices,
    coloured,
    room,
    through_band,
    trimmed,
    vary,
)
from studies.starter.nonspeech import KINDS, sound
from studies.starter.tonal import COURSES, tonal
from undertone.audio import RATE
from undertone.audio.noise import active_span, mixed


def _speech(seconds: float = 1.0, silence: float = 0.5) -> np.ndarray:
    """Noise between two silences."""
    rng = np.random.default_rng(0)
    quiet = np.zeros(round(silence * RATE), np.float32)
    return np.concatenate([quiet, 0.1 * rng.normal(size=round(seconds * RATE)).astype(np.float32), quiet])


def test_what_is_active_is_found_between_the_silences() -> None:
    first, last = active_span(_speech(), RATE)
    assert abs(first - 0.5 * RATE) <= 400 and abs(last - 1.5 * RATE) <= 400
    assert abs(len(trimmed(_speech(), 0.1, 0.2)) / RATE - 1.3) < 0.06


def test_voices_come_behind_the_whole_clip_3_to_20_db_below_it() -> None:
    drawn = np.random.default_rng(9)
    wave = _speech(silence=0.0)
    others = [drawn.normal(size=size).astype(np.float32) for size in (1000, 700, 900)]
    for seed in range(20):
        added = among_voices(wave, others, np.random.default_rng(seed)) - wave
        below = 10 * np.log10(np.square(wave).mean() / np.square(added).mean())
        assert len(added) == len(wave) and 2.5 < below < 20.5


@pytest.mark.parametrize("snr", [0.0, 10.0, 25.0])
def test_noise_is_so_far_below_the_speech_and_not_below_the_silence(snr: float) -> None:
    wave = _speech(silence=2.0)
    added = mixed(wave, coloured(len(wave), "white", np.random.default_rng(1)), snr, RATE) - wave
    speech = wave[2 * RATE : 3 * RATE]
    assert 10 * np.log10(np.square(speech).mean() / np.square(added).mean()) == pytest.approx(snr, abs=0.3)


@pytest.mark.parametrize("colour", SLOPES)
def test_noise_has_its_colour(colour: str) -> None:
    power = np.abs(np.fft.rfft(coloured(1 << 16, colour, np.random.default_rng(2)))) ** 2
    low, high = power[500:1500].mean(), power[8000:24000].mean()
    assert np.log2(high / low) / np.log2(16_000 / 950) == pytest.approx(2 * SLOPES[colour], abs=0.25)


def test_a_line_lets_through_its_band_and_the_energy_stays() -> None:
    wave = _speech(silence=0.0)
    heard = through_band(wave, 300.0, 3400.0)
    power = np.abs(np.fft.rfft(heard)) ** 2
    assert power[4500:].sum() + power[:150].sum() < 0.02 * power.sum()
    assert np.square(heard).sum() == pytest.approx(np.square(wave).sum(), rel=1e-3)


def test_a_room_rings_on_after_the_speech() -> None:
    wave = _speech(silence=0.5)
    after = slice(round(1.55 * RATE), round(1.65 * RATE))
    heard = room(wave, 0.5, np.random.default_rng(3))
    assert len(heard) == len(wave) and np.abs(wave[after]).max() == 0 < np.abs(heard[after]).mean()


def test_a_seed_and_a_clip_always_give_the_same_variant() -> None:
    one, again, other = (vary(_speech(), AugmentConfig(), np.random.default_rng(s)) for s in (5, 5, 6))
    assert np.array_equal(one, again)
    assert len(one) != len(other) or not np.array_equal(one, other)


def test_variants_are_never_empty_and_always_finite() -> None:
    for seed in range(40):
        varied = vary(_speech(seconds=0.3), AugmentConfig(), np.random.default_rng(seed))
        assert len(varied) > 0.1 * RATE and np.isfinite(varied).all() and varied.dtype == np.float32


def test_a_colour_that_alone_is_named_is_the_one_that_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []
    monkeypatch.setattr(
        "studies.starter.augment.coloured",
        lambda count, colour, rng: drawn.append(colour) or np.ones(count, np.float32),
    )
    config = AugmentConfig(noise_share=1.0, colours=("brown",))
    for seed in range(5):
        vary(_speech(), config, np.random.default_rng(seed))
    assert drawn == ["brown"] * 5


@pytest.mark.parametrize("course", COURSES)
def test_voices_go_as_they_are_told(course: str) -> None:
    """Octaves above the start: none of a steady voice, some of every other."""
    octaves = COURSES[course](2 * RATE, np.random.default_rng(1))
    assert octaves.shape == (2 * RATE,) and np.isfinite(octaves).all()
    assert (np.ptp(octaves) == 0) == (course == "steady")


def test_tones_pause_beat_and_differ() -> None:
    waves = [tonal(2 * RATE, np.random.default_rng(seed)) for seed in range(60)]
    quiet = [np.mean(np.abs(wave) < 1e-3 * np.abs(wave).max()) for wave in waves]
    assert 5 < sum(share > 0.15 for share in quiet) < 50, "some pause, not all"
    assert all(np.abs(wave).max() > 0 for wave in waves)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_sound_is_a_sound(kind: str) -> None:
    for seed in range(4):
        wave = sound(np.random.default_rng(seed), kind, seconds=1.0)
        assert wave.shape == (RATE,) and wave.dtype == np.float32
        assert np.isfinite(wave).all() and np.abs(wave).max() <= 0.8001
        assert kind == "silence" or np.abs(wave).max() > 0.01
