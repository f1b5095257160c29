"""Sounds that are no speech: they are sounds, they vary, and they come again."""

from __future__ import annotations

import numpy as np
import pytest

from studies.starter.assess.sounds import KINDS, RATE, sounds
from studies.starter.assess.worse import drawn


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_gives_finite_sounds_of_the_promised_length_and_level(kind: str) -> None:
    made = dict(sounds(kind, 6))
    assert len(made) == 6
    for wave in made.values():
        assert wave.dtype == np.float32
        assert np.isfinite(wave).all()
        assert RATE <= len(wave) <= 5 * RATE
        assert np.abs(wave).max() <= (0.01 if kind == "silence" else 0.51)
    assert len({len(wave) for wave in made.values()}) > 1


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_makes_the_same_sounds_another_others(kind: str) -> None:
    (_, one), (_, again) = (next(sounds(kind, 1)) for _ in range(2))
    _, other = next(sounds(kind, 1, seed=1))
    assert np.array_equal(one, again)
    assert len(one) != len(other)


def test_music_keeps_to_its_notes_and_laughter_comes_in_puffs() -> None:
    """Planted: energy of a tone lies at few frequencies, laughter's level goes up and down."""
    spread = {}
    for kind in ("silence", "tones"):
        shares = []
        for _, wave in sounds(kind, 9):
            spectrum = np.sort(np.abs(np.fft.rfft(wave + 1e-9 * drawn(kind).standard_normal(len(wave)))) ** 2)
            shares.append(np.searchsorted(np.cumsum(spectrum[::-1]), 0.9 * spectrum.sum()) / len(spectrum))
        spread[kind] = np.median(shares)
    assert spread["tones"] * 10 < spread["silence"]
    _, laugh = next(sounds("laughter", 1))
    levels = np.sqrt(np.add.reduceat(laugh**2, np.arange(0, len(laugh), 320)) / 320)
    assert (np.diff(np.sign(levels - levels.mean())) != 0).sum() / (len(laugh) / RATE) > 4
