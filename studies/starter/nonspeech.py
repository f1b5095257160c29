"""Sounds that nobody speaks: trained on, a model learns to give them no label."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from studies.starter.augment import Colour, coloured, through_band
from studies.starter.tonal import COURSES, tonal
from undertone.audio import RATE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from undertone.types import Wave

__all__ = ["KINDS", "sound"]


def sound(rng: np.random.Generator, kind: str | None = None, seconds: float | None = None) -> Wave:
    """One sound ``(N,)`` of a kind of ``KINDS``, of any if none is named; of 1 to 4 s by default."""
    kind = kind or list(KINDS)[rng.integers(len(KINDS))]
    count = round((seconds or rng.uniform(1.0, 4.0)) * RATE)
    made = KINDS[kind](count, rng)
    peak = max(float(np.abs(made).max()), 1e-9)
    level = 1.0 if kind == "silence" else rng.uniform(0.02, 0.8) / peak
    scaled: Wave = (made * level).astype(np.float32)
    return scaled


def _silence(count: int, rng: np.random.Generator) -> Wave:
    level = 0.0 if rng.random() < 0.3 else 10 ** rng.uniform(-6.0, -3.5)
    return level * _any_noise(count, rng)


def _any_noise(count: int, rng: np.random.Generator) -> Wave:
    return coloured(count, get_args(Colour)[rng.integers(4)], rng)


def _band_noise(count: int, rng: np.random.Generator) -> Wave:
    low = rng.uniform(80.0, 2000.0)
    return through_band(_any_noise(count, rng), low, min(7500.0, low * rng.uniform(1.3, 4.0)))


def _gusts(count: int, rng: np.random.Generator) -> Wave:
    """Noise that comes and goes, slowly or many times a second."""
    times = np.arange(count) / RATE
    rate, depth = 10 ** rng.uniform(-0.5, 1.2), rng.uniform(0.3, 1.0)
    swell = 1.0 - depth * (0.5 + 0.5 * np.sin(2 * np.pi * rate * times + rng.uniform(0, 6)))
    return (_any_noise(count, rng) * swell).astype(np.float32)


def _notes(count: int, rng: np.random.Generator) -> Wave:
    """Plucked or blown notes of a scale, one after another, sometimes over a second voice."""
    wave = np.zeros(count, np.float64)
    for _ in range(int(rng.integers(1, 4))):
        length, at = int(rng.uniform(0.1, 0.6) * RATE), 0
        root, rolloff, fall = 110 * 2 ** rng.uniform(0, 2), rng.uniform(0.7, 2.5), rng.uniform(0.5, 8.0)
        while at < count:
            steps = rng.choice([0, 2, 4, 5, 7, 9, 11, 12])
            times = np.arange(min(length, count - at)) / RATE
            pitch = root * 2 ** (steps / 12)
            note = sum(np.sin(2 * np.pi * k * pitch * times) / k**rolloff for k in range(1, 9))
            wave[at : at + len(times)] += note * np.exp(-fall * times) * np.minimum(1, times * 100)
            at += length
    return wave.astype(np.float32)


def _hum(count: int, rng: np.random.Generator) -> Wave:
    """Mains and motors: many harmonics of a low tone that hardly moves, and a little noise."""
    times = np.arange(count) / RATE
    pitch = rng.choice([50.0, 60.0, rng.uniform(30.0, 300.0)])
    phases = rng.uniform(0, 6, 30)
    harmonics = [np.sin(2 * np.pi * pitch * k * times + phases[k]) * rng.random() for k in range(1, 30)]
    return np.asarray(sum(harmonics) + rng.uniform(0.0, 2.0) * _any_noise(count, rng), np.float32)


def _knocks(count: int, rng: np.random.Generator) -> Wave:
    """Clicks, knocks and bursts: decaying noise at random or even times."""
    wave = np.zeros(count, np.float32)
    fall = 10 ** rng.uniform(1.0, 2.3)
    decay = np.exp(-fall * np.arange(round(0.3 * RATE)) / RATE)
    gap = rng.uniform(0.08, 0.7)
    for beat in np.arange(rng.uniform(0, 0.2), count / RATE, gap):
        at = int((beat + rng.uniform(0, 0.3) * gap) * RATE)
        size = min(len(decay), count - at)
        if size > 0:
            wave[at : at + size] += _any_noise(len(decay), rng)[:size] * decay[:size] * rng.uniform(0.3, 1.0)
    return wave + 10 ** rng.uniform(-4, -2) * _any_noise(count, rng)


KINDS: dict[str, Callable[[int, np.random.Generator], NDArray[Any]]] = {
    "silence": _silence,
    "noise": _any_noise,
    "band noise": _band_noise,
    "gusts": _gusts,
    "notes": _notes,
    "hum": _hum,
    "knocks": _knocks,
    **{f"{course} tones": partial(tonal, course=course) for course in COURSES},
    "tones": tonal,
}
"""Each kind of sound by name."""
