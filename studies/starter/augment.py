"""Variants of recordings: another pace, a room, a narrow line, noise.

Everything is drawn from the generator that is handed in, so that a seed and a clip always give the same
variant. The level stays: the features do not depend on it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from pydantic import Field

from undertone.audio import RATE, resample
from undertone.audio.noise import active_span, mixed
from undertone.config import Config

if TYPE_CHECKING:
    from undertone.types import Wave

__all__ = [
    "AugmentConfig",
    "Colour",
    "coloured",
    "room",
    "through_band",
    "trimmed",
    "vary",
]

Colour = Literal["white", "pink", "brown", "blue"]
SLOPES: dict[Colour, float] = {"white": 0.0, "pink": -0.5, "brown": -1.0, "blue": 0.5}
"""Exponent of the frequency by which amplitudes go."""


class AugmentConfig(Config):
    """How often each thing happens, and how much of it."""

    speed: float = Field(0.12, ge=0.0, le=0.5)
    """Pace and pitch change together by up to this share, either way."""
    speed_share: float = Field(0.8, ge=0.0, le=1.0)
    room_share: float = Field(0.25, ge=0.0, le=1.0)
    reverberation: tuple[float, float] = (0.1, 0.6)
    """Seconds until an echo has fallen by 60 dB."""
    band_share: float = Field(0.25, ge=0.0, le=1.0)
    """How often the clip goes through a line of telephone width."""
    noise_share: float = Field(0.4, ge=0.0, le=1.0)
    snr: tuple[float, float] = (3.0, 30.0)
    """Decibels of active speech over noise."""
    colours: tuple[Colour, ...] = get_args(Colour)
    """One of them is drawn for each noise; one that is named twice comes twice as often."""
    cut_share: float = Field(0.2, ge=0.0, le=1.0)
    """How often only a stretch of the speech is kept."""
    cut: tuple[float, float] = (1.0, 2.0)
    """Its seconds."""
    margin: float = Field(0.5, ge=0.0, le=2.0)
    """Seconds of the recording's own silence that stay before and after the speech, at most."""


def vary(wave: Wave, config: AugmentConfig, rng: np.random.Generator) -> Wave:
    """A random variant of the clip ``(N,)``; its length changes with the pace and the margins."""
    if rng.random() < config.cut_share:
        wave = _stretch(wave, rng.uniform(*config.cut), rng)
    else:
        wave = trimmed(wave, *rng.uniform(0.0, config.margin, 2))
    if rng.random() < config.speed_share:
        wave = _paced(wave, rng.uniform(1.0 - config.speed, 1.0 + config.speed))
    if rng.random() < config.room_share:
        wave = room(wave, rng.uniform(*config.reverberation), rng)
    if rng.random() < config.band_share:
        wave = through_band(wave, rng.uniform(150.0, 400.0), rng.uniform(2800.0, 4000.0))
    if rng.random() < config.noise_share:
        colour = config.colours[rng.integers(len(config.colours))]
        wave = mixed(wave, coloured(len(wave), colour, rng), rng.uniform(*config.snr), RATE)
    return wave


def trimmed(wave: Wave, before: float = 0.1, after: float = 0.1) -> Wave:
    """What is active, with so many seconds around it where the recording has them."""
    first, last = active_span(wave, RATE)
    return wave[max(0, first - round(before * RATE)) : last + round(after * RATE)]


def _stretch(wave: Wave, seconds: float, rng: np.random.Generator) -> Wave:
    """So many seconds from within what is active."""
    first, last = active_span(wave, RATE)
    size = min(last - first, round(seconds * RATE))
    at = int(rng.integers(first, last - size + 1))
    return wave[at : at + size]


def _paced(wave: Wave, pace: float) -> Wave:
    return resample(wave, round(RATE * pace), RATE)


def room(wave: Wave, seconds: float, rng: np.random.Generator) -> Wave:
    """The wave in a room whose echo falls by 60 dB in so many seconds; the same length and energy."""
    from scipy.signal import fftconvolve

    times = np.arange(round(seconds * RATE)) / RATE
    echo = rng.normal(size=len(times)) * 10 ** (-3 * times / seconds) * rng.uniform(0.05, 0.3)
    echo[0] = 1.0 * np.sqrt(max(1, len(times)) / 100)
    return _same_energy(fftconvolve(wave, echo)[: len(wave)], wave)


def through_band(wave: Wave, low: float, high: float) -> Wave:
    """Only what lies between two frequencies in Hz, edges as steep as a telephone line's."""
    from scipy.signal import butter, sosfiltfilt

    sections = butter(4, [low, high], "bandpass", fs=RATE, output="sos")
    return _same_energy(sosfiltfilt(sections, wave, padlen=min(len(wave) - 1, 100)), wave)


def coloured(count: int, colour: Colour, rng: np.random.Generator) -> Wave:
    """Noise of ``count`` samples whose power goes by a power of the frequency; mean square 1."""
    spectrum = np.fft.rfft(rng.normal(size=count))
    shape = np.arange(1, len(spectrum) + 1) ** SLOPES[colour]
    noise = np.fft.irfft(spectrum * shape, count)
    scaled: Wave = (noise / max(float(noise.std()), 1e-9)).astype(np.float32)
    return scaled


def _same_energy(changed: Wave, wave: Wave) -> Wave:
    """``changed`` at the energy of ``wave``."""
    gain = np.sqrt(np.square(wave).sum() / max(float(np.square(changed).sum()), 1e-12))
    scaled: Wave = (changed * gain).astype(np.float32)
    return scaled
