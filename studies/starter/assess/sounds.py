"""Generated sounds that are not speech: a model of speech should give them no label.

None of these generators is used in any training. Each kind varies from sound to sound in level, length,
pitch and colour; laughter is a caricature of laughter, and its score is to be read as such.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from studies.starter.assess.worse import drawn
from undertone.audio import RATE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from undertone.types import Wave

__all__ = ["KINDS", "sounds"]


def sounds(kind: str, count: int, seed: int = 0) -> Iterator[tuple[str, Wave]]:
    """``count`` sounds of a kind, named, 1 to 5 seconds long, between -45 and -6 dB of full scale."""
    for index in range(count):
        name = f"{kind}-{index:03}"
        random = drawn("sound", seed, name)
        wave = KINDS[kind](random, round(random.uniform(1.0, 5.0) * RATE))
        loudest = float(np.abs(wave).max())
        level = 10 ** (random.uniform(-45.0, -6.0) / 20)
        yield name, (wave * (level / loudest if kind != "silence" and loudest else 1.0)).astype(np.float32)


def _silence(random: np.random.Generator, size: int) -> NDArray[np.float64]:
    """Digital zero, the last bit's noise, or a recorder's hiss at -80 to -65 dB."""
    floor = random.choice([0.0, 2.0**-15, 10 ** (random.uniform(-80.0, -65.0) / 20)])
    return np.asarray(floor * random.standard_normal(size))


def _noise(random: np.random.Generator, size: int) -> NDArray[np.float64]:
    """Noise whose power falls by 0 to 12 dB an octave, steady or in gusts, now and then humming."""
    spectrum = np.fft.rfft(random.standard_normal(size))
    hertz = np.fft.rfftfreq(size, 1 / RATE)
    slope = random.uniform(0.0, 2.0)
    wave = np.fft.irfft(spectrum * np.maximum(hertz, 20.0) ** -slope, size)
    wave /= np.abs(wave).max()
    if random.random() < 0.4:
        wave *= _wavering(random, size, speed=random.uniform(0.3, 3.0))
    if random.random() < 0.3:
        wave += 0.2 * np.sin(2 * np.pi * float(random.choice([50.0, 60.0])) * _time(size))
    return np.asarray(wave)


def _tones(random: np.random.Generator, size: int) -> NDArray[np.float64]:
    """One to three steady, gliding or beeping tones with few partials."""
    wave = np.zeros(size)
    for _ in range(int(random.integers(1, 4))):
        start = float(np.exp(random.uniform(np.log(80.0), np.log(4000.0))))
        stop = start * float(random.choice([1.0, 1.0, random.uniform(0.5, 2.0)]))
        partials = int(random.integers(1, 5))
        wave += random.uniform(0.3, 1.0) * _sung(np.geomspace(start, stop, size), partials, random)
    if random.random() < 0.4:  # beeps
        wave *= (_time(size) * random.uniform(1.0, 6.0)) % 1.0 < 0.5
    return wave


def _music(random: np.random.Generator, size: int) -> NDArray[np.float64]:
    """A melody over chords in equal temperament, plucked or bowed, often with a drum."""
    beat = round(RATE * 60 / random.uniform(70.0, 160.0))
    root, scale = random.uniform(45.0, 62.0), np.array([0, 2, 4, 5, 7, 9, 11, 12])
    partials, bowed = int(random.integers(3, 9)), bool(random.random() < 0.4)
    wave = np.zeros(size + beat)
    for start in range(0, size, beat):
        chord = root + int(random.choice([0, 5, 7, 9])) + np.array([0, 4, 7])
        tune = root + 12 + random.choice(scale, int(random.choice([1, 2])))
        for place, note in [*((0, n) for n in chord), *((i, n) for i, n in enumerate(tune))]:
            length = beat if note in chord else beat // len(tune)
            at = start + place * (beat // len(tune)) * (note not in chord)
            loud = 0.4 if note in chord else 1.0
            wave[at : at + length] += loud * _note(float(note), length, partials, bowed, random)
        if random.random() < 0.7:
            wave[start : start + beat] += _drum(beat, random)
    return wave[:size]


def _laughter(random: np.random.Generator, size: int) -> NDArray[np.float64]:
    """Voiced puffs, four to six a second, falling in pitch and fading, breath between: ha ha ha."""
    wave = np.zeros(size)
    pitch, at = random.uniform(180.0, 450.0), 0
    while at < size:
        for puff in range(int(random.integers(3, 9))):
            length = round(RATE / random.uniform(4.0, 6.0))
            voiced = round(length * random.uniform(0.35, 0.6))
            glide = pitch * 0.96**puff * np.linspace(1.08, 0.92, voiced)
            burst = np.zeros(length)
            burst[:voiced] = _vowel(_sung(glide, 20, random), random) * np.hanning(voiced)
            burst += 0.05 * random.standard_normal(length) * np.hanning(length)
            part = wave[at : at + length]
            part += 0.9**puff * burst[: len(part)]
            at += length
        at += round(RATE * random.uniform(0.2, 0.8))  # a breath
    return wave


KINDS: dict[str, Callable[[np.random.Generator, int], NDArray[np.float64]]] = {
    "silence": _silence,
    "noise": _noise,
    "tones": _tones,
    "music": _music,
    "laughter": _laughter,
}
"""Every kind and what makes it."""


def _time(size: int) -> NDArray[np.float64]:
    return np.arange(size) / RATE


def _sung(hertz: NDArray[np.float64], partials: int, random: np.random.Generator) -> NDArray[np.float64]:
    """A tone along a pitch, its partials falling off as 1/k, those above the band left out."""
    phase = 2 * np.pi * np.cumsum(hertz) / RATE
    return np.asarray(
        sum(
            np.sin(k * phase + random.uniform(0, 6.28)) / k * (k * hertz < 0.45 * RATE)
            for k in range(1, partials + 1)
        )
    )


def _note(
    midi: float, length: int, partials: int, bowed: bool, random: np.random.Generator
) -> NDArray[np.float64]:
    tone = _sung(np.full(length, 440.0 * 2 ** ((midi - 69) / 12)), partials, random)
    shape = np.hanning(length) ** 0.3 if bowed else np.exp(-_time(length) * random.uniform(2.0, 8.0))
    shape[: min(80, length)] *= np.linspace(0.0, 1.0, min(80, length))
    return np.asarray(tone * shape)


def _drum(length: int, random: np.random.Generator) -> NDArray[np.float64]:
    decay = np.exp(-_time(length) * random.uniform(15.0, 60.0))
    return np.asarray(random.uniform(0.5, 2.0) * random.standard_normal(length) * decay)


def _vowel(wave: NDArray[np.float64], random: np.random.Generator) -> NDArray[np.float64]:
    """The wave through two resonances, about those of an open vowel."""
    from scipy.signal import lfilter

    for centre, width in ((random.uniform(700.0, 1000.0), 120.0), (random.uniform(1150.0, 1500.0), 150.0)):
        radius = np.exp(-np.pi * width / RATE)
        poles = [1.0, -2 * radius * np.cos(2 * np.pi * centre / RATE), radius**2]
        wave = lfilter([1 - radius], poles, wave)
    return np.asarray(wave / (np.abs(wave).max() + 1e-9))


def _wavering(random: np.random.Generator, size: int, speed: float) -> NDArray[np.float64]:
    """A slow random factor between 0.1 and 1."""
    knots = random.uniform(0.1, 1.0, max(2, int(size / RATE * speed) + 2))
    return np.interp(np.arange(size), np.linspace(0, size, len(knots)), knots)
