"""Tones as machines and instruments make them: voices that stay, glide, waver, step, beat and pause."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from undertone.audio import RATE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Course = NDArray[np.float64]

__all__ = ["COURSES", "tonal"]

LOWEST, HIGHEST = 60.0, 6_000.0
"""Hertz between which voices begin."""


def tonal(count: int, rng: np.random.Generator, course: str | None = None) -> Course:
    """``(count,)``: one to four voices, each on a course of ``COURSES`` (any if none is named)."""
    wave = np.zeros(count)
    for _ in range(int(rng.choice([1, 1, 1, 2, 2, 3, 4]))):
        picked = course or list(COURSES)[rng.integers(len(COURSES))]
        start = np.exp(rng.uniform(np.log(LOWEST), np.log(HIGHEST)))
        hertz = start * 2.0 ** COURSES[picked](count, rng)
        voice = _voice(hertz, rng)
        if rng.random() < 0.25:  # a second one beside it, a little off: the two beat
            voice = voice + _voice(hertz * (1 + rng.uniform(0.001, 0.03)), rng)
        wave += voice * _swell(count, rng) * rng.uniform(0.2, 1.0)
    if rng.random() < 0.45:
        wave *= _pauses(count, rng)
    loudest = max(float(np.abs(wave).max()), 1e-9)
    if rng.random() < 0.4:
        wave += loudest * 10 ** rng.uniform(-3.0, -0.7) * rng.normal(size=count)
    return wave


def _voice(hertz: Course, rng: np.random.Generator) -> Course:
    """Harmonics over a pitch, up to the band's edge: a few or many, all or the odd ones, soft or shrill."""
    phase = 2 * np.pi * np.cumsum(hertz) / RATE
    step, fall = int(rng.choice([1, 1, 1, 2])), rng.uniform(0.3, 3.0)
    orders = range(1, 1 + step * int(rng.choice([1, 1, 2, 3, 5, 8, 14])), step)
    parts = [np.sin(k * phase + rng.uniform(0, 6.3)) * (k * hertz < 0.47 * RATE) / k**fall for k in orders]
    return np.asarray(sum(parts))


# ---- courses: octaves above where the voice begins ---------------------------------------------------


def _steady(count: int, _rng: np.random.Generator) -> Course:
    return np.zeros(count)


def _glide(count: int, rng: np.random.Generator) -> Course:
    """Straight up or down, or bent on the way."""
    return rng.uniform(-2.0, 2.0) * np.linspace(0.0, 1.0, count) ** 10 ** rng.uniform(-0.5, 0.5)


def _waver(count: int, rng: np.random.Generator) -> Course:
    """Vibrato to siren: fast and narrow, or slow and wide."""
    turns = np.arange(count) / RATE * 10 ** rng.uniform(-0.5, 1.0) + rng.random()
    shape = np.sin(2 * np.pi * turns) if rng.random() < 0.6 else 2 * np.abs(2 * (turns % 1.0) - 1) - 1
    return np.asarray(10 ** rng.uniform(-1.8, 0.0) * shape)


def _stepped(count: int, rng: np.random.Generator) -> Course:
    """A few pitches in turn, as of alarms and telephones; or one after another, each new."""
    size = round(10 ** rng.uniform(-1.2, -0.1) * RATE)
    notes = -(-count // size)
    pitches = rng.uniform(-1.0, 1.0, notes if rng.random() < 0.5 else int(rng.integers(2, 5)))
    return np.repeat(np.resize(pitches, notes), size)[:count]


def _wander(count: int, rng: np.random.Generator) -> Course:
    """Through random pitches without a jump, as a whistle or a saw does."""
    knots = max(3, round(count / RATE * 10 ** rng.uniform(0.0, 1.0)) + 2)
    places = np.linspace(0.0, knots - 1, count)
    return np.interp(places, np.arange(knots), rng.uniform(0.05, 0.8) * rng.normal(size=knots))


COURSES: dict[str, Callable[[int, np.random.Generator], Course]] = {
    "steady": _steady,
    "glide": _glide,
    "waver": _waver,
    "stepped": _stepped,
    "wander": _wander,
}
"""How a voice's pitch goes."""


# ---- loudness ----------------------------------------------------------------------------------------


def _swell(count: int, rng: np.random.Generator) -> Course:
    """Steady, trembling, struck again and again, or rising and falling once."""
    times = np.arange(count) / RATE
    kind = int(rng.integers(5))
    if kind == 0:
        return 1 - rng.uniform(0.2, 1.0) * (0.5 + 0.5 * np.sin(2 * np.pi * times * 10 ** rng.uniform(0, 1.3)))
    if kind == 1:
        return np.asarray(np.exp(-rng.uniform(1.0, 20.0) * (times % rng.uniform(0.1, 1.5))))
    if kind == 2:
        ends = rng.uniform(-3.0, 0.0, 3)
        return np.asarray(10 ** np.interp(times, np.linspace(0, times[-1], 3), ends - ends.max()))
    return np.ones(count)


def _pauses(count: int, rng: np.random.Generator) -> Course:
    """Ones and zeros, at even times or not, with edges of some milliseconds."""
    period = 10 ** rng.uniform(-1.0, -0.1)
    part = rng.uniform(0.3, 0.85)
    uneven = rng.uniform(0.0, 0.5) if rng.random() < 0.4 else 0.0
    beats = np.cumsum(period * (1 + uneven * rng.uniform(-1, 1, int(count / RATE / period) * 3 + 4)))
    times = np.arange(count) / RATE + rng.uniform(0, period)
    since = times - np.concatenate([[0.0], beats])[np.searchsorted(beats, times, side="right")]
    edge = max(1, round(rng.uniform(0.001, 0.02) * RATE))
    sounding = (since < part * period).astype(np.float64)
    return np.convolve(sounding, np.ones(edge) / edge, "same")
