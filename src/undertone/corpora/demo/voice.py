"""Recordings of the demo corpus: a line of the script, synthesised with exact boundaries.

espeak-ng synthesises the words with the planned pitch, spread and tempo. Level, brightness, loudness of the
stressed word and background noise are applied to its signal, which moves no boundary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from undertone import espeak
from undertone.corpora.demo.script import Line
from undertone.types import Alignment, Segment

if TYPE_CHECKING:
    from undertone.corpora.demo.prosody import Prosody
    from undertone.types import Wave

__all__ = ["RATE", "Stress", "Take", "speak"]

RATE = 16000
_PLAIN_RATE = 200.0
"""Words a minute of the plain voice."""
_PLAIN_LEVEL = -40.0
"""Decibels below full scale of the plain voice, stress not counted."""
_PLAIN_BREATH = -24.0
"""Decibels of breath below the voice."""
_PLAIN_PAUSE = 0.025
_SNR = (15.0, 35.0)
_SILENCE = (0.10, 0.30)
_RAMP = 0.015
"""Seconds over which a stressed word gets louder, and softer again."""
_ONSETS = frozenset(
    """P B T D K G CH JH F V TH DH S Z SH HH M N L R Y W
    P.L P.R B.L B.R T.R T.W D.R D.W K.L K.R K.W G.L G.R G.W F.L F.R TH.R TH.W SH.R
    S.P S.T S.K S.F S.M S.N S.L S.W S.P.L S.P.R S.T.R S.K.R S.K.W
    P.Y B.Y K.Y F.Y V.Y M.Y HH.Y""".split()
)
"""Consonants that may begin a syllable."""


@dataclass(frozen=True, slots=True)
class Stress:
    """How the stressed word differs from its neighbours."""

    pitch: float = 5.0
    """Semitones"""
    length: float = 1.5
    """Factor"""
    level: float = 7.0
    """Decibels"""


@dataclass(frozen=True, slots=True)
class Take:
    """One recording."""

    wave: Wave
    """``(N,)`` at 16 kHz"""
    alignment: Alignment
    snr: float
    """Decibels of speech, stress not counted, over background."""


def speak(line: Line, voice: str, habit: Prosody, rng: np.random.Generator) -> Take:
    """Record one line in a voice; ``rng`` draws the stress' strength, the silences and the noise."""
    prosody = line.prosody + habit
    stress = _stress(rng)
    speech = espeak.synthesise(_spoken(line, prosody, stress), voice, _PLAIN_PAUSE * 2**prosody.pause)
    stressed = speech.alignment.word[line.stressed]
    wave = _filtered(speech.wave, prosody.tilt)
    wave += _breath(wave, rng) * 10 ** ((_PLAIN_BREATH + prosody.breath) / 20)
    wave *= 10 ** ((_PLAIN_LEVEL + prosody.level) / 20) / np.sqrt(np.mean(wave**2))
    snr = float(rng.uniform(*_SNR))
    noise_level = np.sqrt(np.mean(wave**2)) * 10 ** (-snr / 20)
    wave *= _swell(len(wave), stressed, stress.level)
    lead, tail = (round(s * RATE) for s in rng.uniform(*_SILENCE, size=2))
    whole = np.concatenate([np.zeros(lead), wave, np.zeros(tail)])
    whole += noise_level * _noise(len(whole), rng)
    alignment = _with_syllables(_later(speech.alignment, lead / RATE))
    return Take(np.clip(whole, -1.0, 1.0).astype(np.float32), alignment, round(snr, 2))


def _stress(rng: np.random.Generator) -> Stress:
    """A random stress; none is weak."""
    plain = Stress()
    return Stress(
        plain.pitch + rng.uniform(-1, 1),
        plain.length * rng.uniform(0.9, 1.1),
        plain.level + rng.uniform(-1, 1),
    )


def _spoken(line: Line, prosody: Prosody, stress: Stress) -> list[espeak.Spoken]:
    """The words with their pitch on a straight line from first to last, the stressed one above it."""
    last = len(line.words) - 1
    tempo = _PLAIN_RATE * 2**prosody.tempo
    return [
        espeak.Spoken(
            word,
            pitch=prosody.pitch + prosody.slope * (at / last - 0.5) + stress.pitch * (at == line.stressed),
            spread=0.8 * 2**prosody.spread,
            rate=tempo / stress.length if at == line.stressed else tempo,
        )
        for at, word in enumerate(line.words)
    ]


def _filtered(wave: Wave, tilt: float) -> NDArray[np.float64]:
    """The wave at our rate, ``tilt`` decibels brighter above 1 kHz."""
    step = espeak.RATE // np.gcd(espeak.RATE, RATE)
    size = -(-len(wave) // step) * step
    spectrum = np.fft.rfft(wave, size)
    target = size * RATE // espeak.RATE
    kept = spectrum[: target // 2 + 1]
    frequency = np.arange(len(kept)) * RATE / target
    weight = frequency**2 / (frequency**2 + 1000.0**2)
    kept = kept * 10 ** (tilt * weight / 20)
    filtered: NDArray[np.float64] = np.fft.irfft(kept, target) * (target / size)
    return filtered


def _breath(wave: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Noise with the voice's own envelope (over 20 ms)."""
    window = np.hanning(round(0.02 * RATE))
    envelope = np.sqrt(np.maximum(np.convolve(wave**2, window / window.sum(), "same"), 0.0))
    return envelope * rng.normal(size=len(wave))


def _swell(size: int, word: Segment, decibels: float) -> NDArray[np.float64]:
    """Gain over time: 1, and ``decibels`` higher on one word, by ramps inside the word."""
    times = np.arange(size) / RATE
    inside = np.minimum(times - word.start, word.end - times) / _RAMP
    gain: NDArray[np.float64] = 10 ** (decibels / 20 * np.clip(inside, 0.0, 1.0))
    return gain


def _noise(size: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """``(size,)`` background noise: power falls with frequency, mean square 1."""
    spectrum = np.fft.rfft(rng.normal(size=size))
    frequency = np.arange(len(spectrum)) * RATE / size
    noise = np.fft.irfft(spectrum / np.sqrt(frequency + 100.0), size)
    noise /= np.sqrt(np.mean(noise**2))
    return noise


def _later(alignment: Alignment, delay: float) -> Alignment:
    def move(tier: Sequence[Segment]) -> tuple[Segment, ...]:
        return tuple(
            Segment(s.text, round(s.start + delay, 5), round(s.end + delay, 5), chars=s.chars) for s in tier
        )

    return Alignment(move(alignment.word), move(alignment.syllable), move(alignment.phone))


def _with_syllables(alignment: Alignment) -> Alignment:
    """The alignment with syllables: phones joined by ``-``, onsets as long as ``_ONSETS`` allows."""
    syllables: list[Segment] = []
    for word in alignment.word:
        own = [p for p in alignment.phone if word.start <= p.start < word.end]
        syllables += [
            Segment("-".join(p.text for p in part), part[0].start, part[-1].end) for part in _syllables(own)
        ]
    return Alignment(alignment.word, tuple(syllables), alignment.phone)


def _syllables(phones: Sequence[Segment]) -> list[Sequence[Segment]]:
    nuclei = [i for i, phone in enumerate(phones) if phone.text[-1].isdigit()]
    starts = [0]
    for left, right in pairwise(nuclei):
        begin = left + 1
        while begin < right and ".".join(p.text for p in phones[begin:right]) not in _ONSETS:
            begin += 1
        starts.append(begin)
    return [phones[a:b] for a, b in zip(starts, [*starts[1:], len(phones)], strict=True)]
