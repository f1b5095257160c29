"""Variants of recordings: another pace, microphone and room, noise, a narrow line, a codec, another level.

Everything is drawn from the generator that is handed in, so that a seed and a clip always give the same
variant. Voices in the background are those that are handed in.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, Self, get_args

import numpy as np
from pydantic import Field

from studies.starter.tonal import tonal
from undertone.audio import RATE, resample
from undertone.audio.noise import active_span, mixed
from undertone.config import Config

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from undertone.types import Wave

__all__ = [
    "AugmentConfig",
    "Colour",
    "coded",
    "coloured",
    "room",
    "through_band",
    "among_voices",
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
    microphone_share: float = Field(0.3, ge=0.0, le=1.0)
    """How often its spectrum gets a smooth random curve."""
    codec_share: float = Field(0.35, ge=0.0, le=1.0)
    """How often it is coded: Opus, MP3, GSM or mu-law."""
    noise_share: float = Field(0.5, ge=0.0, le=1.0)
    """How often there is noise, or music in one of five such clips."""
    snr: tuple[float, float] = (4.0, 25.0)
    """Decibels of active speech over it."""
    colours: tuple[Colour, ...] = get_args(Colour)
    """One of them is drawn for each noise; one that is named twice comes twice as often."""
    cut_share: float = Field(0.2, ge=0.0, le=1.0)
    """How often only a stretch of the speech is kept."""
    cut: tuple[float, float] = (1.0, 2.0)
    """Its seconds."""
    margin: float = Field(0.5, ge=0.0, le=2.0)
    """Seconds of the recording's own silence that stay before and after the speech, at most."""
    gain: tuple[float, float] = (-12.0, 6.0)
    """Decibels that the level changes by; what is then beyond full scale is cut off."""

    @classmethod
    def noise_alone(cls) -> Self:
        """Noise, white as often as all other colours together, and nothing else."""
        shares = ("speed", "room", "band", "microphone", "codec", "cut")
        colours = ("white", "white", "pink", "blue")
        values = {f"{name}_share": 0.0 for name in shares}
        rest = {"noise_share": 1.0, "colours": colours, "snr": (3.0, 20.0), "gain": (0.0, 0.0)}
        return cls.parse({**values, **rest})


def vary(wave: Wave, config: AugmentConfig, rng: np.random.Generator) -> Wave:
    """A random variant of the clip ``(N,)``; its length changes with the pace and the margins."""
    if rng.random() < config.cut_share:
        wave = _stretch(wave, rng.uniform(*config.cut), rng)
    else:
        wave = trimmed(wave, *rng.uniform(0.0, config.margin, 2))
    if rng.random() < config.speed_share:
        wave = _paced(wave, rng.uniform(1.0 - config.speed, 1.0 + config.speed))
    if rng.random() < config.microphone_share:
        wave = _microphone(wave, rng)
    if rng.random() < config.room_share:
        wave = room(wave, rng.uniform(*config.reverberation), rng)
    if rng.random() < config.noise_share:
        wave = mixed(wave, _background(len(wave), config, rng), rng.uniform(*config.snr), RATE)
    if rng.random() < config.band_share:
        wave = through_band(wave, rng.uniform(150.0, 400.0), rng.uniform(2800.0, 4000.0))
    if rng.random() < config.codec_share:
        wave = coded(wave, list(CODECS)[rng.integers(len(CODECS))], rng.uniform(0.85, 1.0))
    louder: Wave = np.clip(wave * 10 ** (rng.uniform(*config.gain) / 20), -1.0, 1.0).astype(np.float32)
    return louder


def among_voices(wave: Wave, others: Sequence[Wave], rng: np.random.Generator) -> Wave:
    """The clip and, 3 to 20 dB below it, one to three of the other recordings, as long as it lasts."""
    background = np.zeros(len(wave))
    for index in rng.choice(len(others), min(int(rng.integers(1, 4)), len(others)), replace=False):
        background += np.roll(np.resize(others[index], len(wave)), int(rng.integers(len(wave))))
    return mixed(wave, background, rng.uniform(3.0, 20.0), RATE)


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


def _background(count: int, config: AugmentConfig, rng: np.random.Generator) -> NDArray[np.floating[Any]]:
    if rng.random() < 0.2:
        return tonal(count, rng)
    return coloured(count, config.colours[rng.integers(len(config.colours))], rng)


def _microphone(wave: Wave, rng: np.random.Generator) -> Wave:
    """The wave with a smooth random curve over its spectrum, 4 dB of deviation at eight places."""
    hertz = np.fft.rfftfreq(len(wave), 1 / RATE)
    places = np.linspace(np.log(50.0), np.log(RATE / 2), 8)
    decibels = np.interp(np.log(hertz + 50.0), places, rng.normal(0.0, 4.0, 8))
    curved = np.fft.irfft(np.fft.rfft(wave) * 10 ** (decibels / 20), len(wave))
    return _same_energy(curved.astype(np.float32), wave)


CODECS = {
    "opus": ("OGG", "OPUS", RATE),
    "mp3": ("MP3", "MPEG_LAYER_III", RATE),
    "gsm": ("WAV", "GSM610", 8_000),
    "mu-law": ("WAV", "ULAW", 8_000),
}
"""libsndfile's names of a codec, and its rate."""


def coded(wave: Wave, codec: str, compression: float) -> Wave:
    """The wave after a codec of ``CODECS``; of Opus and MP3 more or less of it is left (0 … 1: least)."""
    import soundfile

    container, kind, rate = CODECS[codec]
    file = io.BytesIO()
    level = {"compression_level": compression} if codec in ("opus", "mp3") else {}
    given = wave if rate == RATE else resample(wave, RATE, rate)
    soundfile.write(file, np.clip(given, -1.0, 1.0), rate, format=container, subtype=kind, **level)
    file.seek(0)
    heard, rate = soundfile.read(file, dtype="float32")
    back: Wave = heard if rate == RATE else resample(heard, rate, RATE)
    return back


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
