"""Three views of a clip, each a vector of functionals: of its bands, its modulations, its contours.

    bands       mean, deviation and quantiles of bands, how fast they change, the cepstrum, voiced and
                unvoiced spectrum, the rhythm of loudness, level, range, unrest and trend of pitch
    modulation  ripples over bands and time (Gabor filters), rising or falling, by rate and by fineness
    contour     the course of loudness, pitch and voice quality over the clip; stretches of voice and gaps

Speakers differ in where their formants are. How fast the spectrum moves and which way depends less on the
speaker (the filters follow Chi, Ru, Shamma 2005). Jitter of the glottis is not measured: frames are 20 ms
apart.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from undertone.models.batch import mask_from
from undertone.models.compact.spectrum import (
    SPREAD,
    Spectrum,
    correlation,
    moments,
    quantiles,
    slopes,
    trend,
)
from undertone.models.layers import masked_mean

__all__ = ["VIEWS", "View"]

CEPSTRA = 20
GROUP = 4
"""Mel columns to a band."""
RHYTHM = 128
"""Frames over which rhythm is measured: at 50 frames a second 0.39 Hz a place of its spectrum."""
RANGES = ((1, 3), (3, 6), (6, 10), (10, 16), (16, 26), (26, 45))
"""Of the spectrum of rhythm, in places."""

FRAMES = 50.0
"""A second."""
RATES = (2.0, 4.0, 8.0, 16.0)
"""Hertz of modulations."""
STANDING = 1.0
"""Hertz below which a ripple counts as standing."""
RIPPLES = (8 / 3, 16 / 3, 32 / 3)
"""Over the whole spectrum."""
PLACES = 8
"""Of the spectrum, evenly spaced, at which each filter is centred."""
TAIL = 64
"""Frames after which the slowest filter has decayed: six of its deviations."""

LOWEST, HIGHEST = 50.0, 7_600.0
"""Hertz between which the mel bands lie."""
OCTAVES = (0.0, 500.0, 1_000.0, 2_000.0, 4_000.0, 8_000.0)
"""Hertz of the edges of broad bands."""
SHORTEST = 3
"""Frames of the shortest stretch of voice that counts."""

# ---- bands -------------------------------------------------------------------------------------------


def _bands(clips: Spectrum) -> Tensor:
    """(B, n) of each clip as a whole."""
    mel, prosody, lengths = clips.mel, clips.prosody, clips.lengths
    mask = mask_from(lengths, mel.shape[1])
    energy, pitch, voicing = prosody[..., 0], prosody[..., 1], prosody[..., 3]
    voiced = mask & (voicing > 0.5)
    broad = F.avg_pool1d(mel, min(GROUP, mel.shape[2]), ceil_mode=True)
    cepstra = mel @ _cosines(mel.shape[2], mel)
    moves, bends = slopes(mel, mask), slopes(cepstra, mask)
    inner = mask[:, 1:] & mask[:, :-1]
    onsets = (voiced[:, 1:] & ~voiced[:, :-1]).sum(1)
    parts = [
        *moments(mel, mask),
        masked_mean(moves.abs(), inner),
        quantiles(broad, mask),
        *moments(cepstra, mask),
        masked_mean(bends.abs(), inner),
        masked_mean(broad, voiced),
        masked_mean(broad, mask & ~voiced),
        _rhythm(torch.cat([energy[..., None], F.adaptive_avg_pool1d(mel, 4)], -1), mask),
        *_thirds(torch.cat([broad, energy[..., None], pitch[..., None]], -1), lengths),
        _melody(pitch, voiced),
        *moments(torch.stack([energy, voicing], -1), mask),
        quantiles(energy[..., None], mask),
        masked_mean(slopes(energy[..., None], mask).abs(), inner),
        trend(energy, mask)[:, None],
        masked_mean(voiced[..., None].to(mel.dtype), mask),
        (onsets * 50.0 / lengths.clamp(min=1))[:, None],
        lengths[:, None].to(mel.dtype) / 100.0,
        lengths[:, None].clamp(min=1).to(mel.dtype).log(),
    ]
    return torch.cat([part.flatten(1) for part in parts], 1)


def _cosines(size: int, like: Tensor) -> Tensor:
    """(size, CEPSTRA): the cosine transform."""
    places = torch.arange(size, device=like.device) + 0.5
    orders = torch.arange(min(CEPSTRA, size), device=like.device)
    return (math.pi / size * places[:, None] * orders).cos().to(like.dtype) * math.sqrt(2.0 / size)


def _rhythm(x: Tensor, mask: Tensor) -> Tensor:
    """(B, 6, D): the strength of each column's changes in each range."""
    mean = masked_mean(x, mask)
    centred = ((x - mean[:, None]) * mask[..., None])[:, :RHYTHM]
    strength = (
        torch.fft.rfft(centred.float(), RHYTHM, dim=1).abs() / mask.sum(1).clamp(min=1).sqrt()[:, None, None]
    )
    return torch.stack([strength[:, low:high].mean(1) for low, high in RANGES], 1)


def _thirds(x: Tensor, lengths: Tensor) -> list[Tensor]:
    """The mean (B, D) of the first, the middle and the last third."""
    places = torch.arange(x.shape[1], device=x.device)[None]
    part = places * 3 // lengths.clamp(min=1)[:, None]
    return [masked_mean(x, (part == third) & (places < lengths[:, None])) for third in range(3)]


def _melody(pitch: Tensor, voiced: Tensor) -> Tensor:
    """(B, 12) of pitch where voiced: level, range, unrest and trend."""
    column = pitch[..., None]
    mean, spread = moments(column, voiced)
    spots = quantiles(column, voiced)[..., 0]
    both = voiced[:, 1:] & voiced[:, :-1]
    steps = pitch[:, 1:] - pitch[:, :-1]
    unrest, uneven = moments(steps[..., None].abs(), both)
    reach = (spots[:, 4] - spots[:, 0])[:, None]
    return torch.cat([mean, spread, spots, reach, unrest, uneven, trend(pitch, voiced)[:, None]], 1)


# ---- modulation --------------------------------------------------------------------------------------


def _modulation(clips: Spectrum) -> Tensor:
    """(B, n): mean and deviation of the size of each complex filter's output, in each place."""
    mel, mask = clips.mel, mask_from(clips.lengths, clips.mel.shape[1])
    smooth, ripples = (torch.from_numpy(x).to(mel.device) for x in _over_bands(mel.shape[2]))
    size = 1 << (mel.shape[1] + TAIL - 1).bit_length()
    rates = torch.from_numpy(_over_time(size)).to(mel.device)
    centred = (mel - masked_mean(mel, mask)[:, None]) * mask[..., None]
    shape = (mel - mel.mean(-1, keepdim=True)) * mask[..., None]
    # smoothed levels are real: rising and falling are equal for them, and the standing part is their mean
    parts = (
        _outputs(centred @ smooth, rates[1 : 1 + len(RATES)]),
        _outputs(shape.to(ripples.dtype) @ ripples, rates),
    )
    sizes = torch.cat([part[:, : mask.shape[1]] for part in parts], -1) * mask[..., None]
    return torch.cat(moments(sizes, mask), 1)


def _outputs(levels: Tensor, rates: Tensor) -> Tensor:
    """(B, size, R F): the size of each rate's output for each column of ``levels (B, T, F)``."""
    waves = torch.fft.fft(levels, rates.shape[1], dim=1)[:, :, None] * rates.T[..., None]  # (B, size, R, F)
    output = torch.fft.ifft(waves, dim=1)
    # |x|, with a gradient where it is 0
    size: Tensor = (output.real.square() + output.imag.square() + 1e-12).sqrt()
    return size.flatten(2)


@cache
def _over_bands(bands: int) -> tuple[np.ndarray, np.ndarray]:
    """A bell in every place (bands, PLACES), and ripples under bells (bands, RIPPLES PLACES)."""
    apart = bands / PLACES
    centres = (np.arange(PLACES) + 0.5) * apart - 0.5
    distance = np.arange(bands)[:, None] - centres[None]
    bell = np.exp(-0.5 * (distance / (0.8 * apart)) ** 2)
    smooth, waves = bell / bell.sum(0), []
    for ripple in RIPPLES:
        bell = np.exp(-0.5 * (distance / (0.5 * bands / ripple)) ** 2)
        bell /= bell.sum(0)
        wave = bell * np.exp(2j * np.pi * ripple / bands * distance)
        waves.append(wave - bell * wave.sum(0))  # level alone is no ripple
    return smooth.astype(np.float32), np.concatenate(waves, 1).astype(np.complex64)


@cache
def _over_time(size: int) -> np.ndarray:
    """(1 + 2 RATES, size): the gain at each frequency; standing, then rising in time, then falling."""
    hertz = np.fft.fftfreq(size, 1 / FRAMES) + FRAMES * np.arange(-1, 2)[:, None]

    def bell(centre: float, width: float) -> np.ndarray:
        """Over frequency, which is periodic with ``FRAMES`` hertz."""
        return np.asarray(np.exp(-0.5 * ((hertz - centre) / width) ** 2).sum(0))

    moving = [bell(sign * rate, 0.4 * rate) for sign in (1.0, -1.0) for rate in RATES]
    return np.stack([bell(0.0, STANDING), *moving]).astype(np.float32)


# ---- contour -----------------------------------------------------------------------------------------


def _contour(clips: Spectrum) -> Tensor:
    """(B, n): voice quality, courses over the clip's time, stretches of voice and the gaps between."""
    mask = mask_from(clips.lengths, clips.mel.shape[1])
    energy, pitch, _, voicing = clips.prosody.unbind(-1)
    voiced = mask & (voicing > 0.5)
    names = _quality(clips.mel, energy, voicing, mask)
    quality = torch.stack(list(names.values()), -1)
    melody = _interpolated(pitch, voiced)
    melody = (melody - masked_mean(melody[..., None], mask)) * mask
    courses = ((energy, 8), (melody, 8), (voicing, 6), *((names[n], 6) for n in ("bright", "tilt", "effort")))
    together = (("tilt", energy), ("tilt", pitch), ("effort", pitch), ("harmonic", energy), ("bright", pitch))
    parts = [
        *moments(torch.cat([quality, _shares(clips.mel)], -1), voiced),
        quantiles(quality, voiced),
        *moments(quality, mask & ~voiced),
        *moments(slopes(quality, mask).abs(), voiced[:, 1:] & voiced[:, :-1]),
        *(_course(x, clips.lengths, mask, count) for x, count in courses),
        correlation(energy, pitch, voiced)[:, None],
        *(correlation(names[n], x, voiced)[:, None] for n, x in together),
        *_stretches(energy, pitch, voiced),
        *_gaps(mask & ~voiced, clips.lengths),
        _waves(melody, clips.lengths),
    ]
    return torch.cat([part.flatten(1) for part in parts], 1)


@cache
def _between(bands: int, low: float, high: float) -> slice:
    """The mel bands whose centres lie between two frequencies in hertz, at least one."""
    lowest, highest = (math.log1p(hertz / 700.0) for hertz in (LOWEST, HIGHEST))
    step = (highest - lowest) / (bands + 1)
    hertz = [700.0 * math.expm1(lowest + step * (place + 1)) for place in range(bands)]
    first = min(sum(centre < low for centre in hertz), bands - 1)
    return slice(first, max(first + 1, sum(centre < high for centre in hertz)))


def _quality(mel: Tensor, energy: Tensor, voicing: Tensor, mask: Tensor) -> dict[str, Tensor]:
    """(B, T) each: brightness, tilt, effort, resonances … of each frame's spectrum."""
    bands = mel.shape[2]
    place = torch.arange(bands, device=mel.device, dtype=mel.dtype) / bands
    power = (SPREAD * mel).exp() - 0.999
    whole = power.sum(-1)
    centre = (power * place).sum(-1) / whole
    spread = ((power * (place - centre[..., None]) ** 2).sum(-1) / whole).clamp(min=1e-6).sqrt()
    soft = mel + 1e-3

    def part(low: float, high: float) -> Tensor:
        return power[..., _between(bands, low, high)]

    def resonance(low: float, high: float) -> Tensor:
        return (part(low, high) * place[_between(bands, low, high)]).sum(-1) / part(low, high).sum(-1)

    change = F.pad(slopes(mel, mask), (0, 0, 1, 0))
    inner = voicing.clamp(0.01, 0.99)
    return {
        "centre": centre,
        "spread": spread,
        "bright": (soft * place).sum(-1) / soft.sum(-1),
        "tilt": ((mel - mel.mean(-1, keepdim=True)) * (place - 0.5)).sum(-1) / (place - 0.5).square().sum(),
        "effort": _log(part(1_000.0, 5_000.0).sum(-1) / part(0.0, 1_000.0).sum(-1)),
        "peaks": _log(part(0.0, 2_000.0).amax(-1) / part(2_000.0, 5_000.0).amax(-1)),
        "first": resonance(200.0, 1_000.0),
        "second": resonance(1_000.0, 3_000.0),
        "rise": change.clamp(min=0).mean(-1),
        "fall": (-change).clamp(min=0).mean(-1),
        "harmonic": (inner / (1.0 - inner)).log() / SPREAD,
        "loud": energy,
    }


def _shares(mel: Tensor) -> Tensor:
    """(B, T, 5): the share of the power in each broad band, as a logarithm."""
    power = (SPREAD * mel).exp() - 0.999
    whole = power.sum(-1)
    parts = [power[..., _between(mel.shape[2], low, high)].sum(-1) for low, high in pairwise(OCTAVES)]
    return torch.stack([_log(part / whole) for part in parts], -1)


def _log(x: Tensor) -> Tensor:
    return x.clamp(1e-5, 1e5).log() / SPREAD


def _interpolated(pitch: Tensor, voiced: Tensor) -> Tensor:
    """(B, T): pitch where voiced, linear between voiced frames, constant before and after them."""
    size = pitch.shape[1]
    places = torch.arange(size, device=pitch.device).expand_as(pitch)
    left = torch.where(voiced, places, -1).cummax(1).values
    right = torch.where(voiced, places, size).flip(1).cummin(1).values.flip(1)
    first = torch.where(left >= 0, left, right).clamp(0, size - 1)
    last = torch.where(right < size, right, left).clamp(0, size - 1)
    part = (places - first) / (last - first).clamp(min=1)
    line: Tensor = pitch.gather(1, first) * (1 - part) + pitch.gather(1, last) * part
    return line * voiced.any(1, keepdim=True)


def _course(x: Tensor, lengths: Tensor, mask: Tensor, count: int) -> Tensor:
    """(B, count): moments of ``x (B, T)`` with cosines over the clip's own time."""
    size = lengths.clamp(min=1)[:, None]
    time = (torch.arange(x.shape[1], device=x.device) + 0.5) / size
    orders = torch.arange(count, device=x.device)[None, :, None]
    cosines = (math.pi * orders * time[:, None]).cos() * mask[:, None]
    return torch.einsum("bkt,bt->bk", cosines, x) / size * 2


def _numbered(inside: Tensor) -> tuple[Tensor, int]:
    """(B, T): 1 in the first stretch of True, 2 in the second …, 0 outside; and the largest number."""
    begins = inside & ~F.pad(inside, (1, 0))[:, :-1]
    numbers = begins.long().cumsum(1) * inside
    return numbers, max(1, int(numbers.max()))


def _stretches(energy: Tensor, pitch: Tensor, voiced: Tensor) -> list[Tensor]:
    """Seven values of each stretch of voice: their moments, those of the first and those of the last."""
    numbers, most = _numbered(voiced)
    rows = torch.arange(len(pitch), device=pitch.device)

    def total(x: Tensor) -> Tensor:
        """(B, most) sums over each stretch."""
        return x.new_zeros(len(x), most + 1).scatter_add(1, numbers, x * voiced)[:, 1:]

    frames = total(voiced.to(pitch.dtype))
    count = frames.clamp(min=1)
    seconds = (torch.arange(pitch.shape[1], device=pitch.device) / 50.0).expand_as(pitch)

    def centred(x: Tensor) -> Tensor:
        """Less its mean over its stretch."""
        return (x - F.pad(total(x) / count, (1, 0)).gather(1, numbers)) * voiced

    time, tune = centred(seconds), centred(pitch)
    reach = total(time.square()) + 1e-3
    slope = total(time * tune) / reach
    values = torch.stack(
        [
            count.log(),
            slope,
            slope.abs(),
            total(time * centred(energy)) / reach,
            (total(tune.square()) / count).clamp(min=1e-6).sqrt(),
            total(pitch) / count,
            total(energy) / count,
        ],
        -1,
    )
    long = frames >= SHORTEST
    first = long.long().argmax(1)
    last = most - 1 - long.flip(1).long().argmax(1)
    ends = [values[rows, place] * long.any(1)[:, None] for place in (first, last)]
    return [*moments(values, long), *ends]


def _gaps(silent: Tensor, lengths: Tensor) -> list[Tensor]:
    """Of the gaps in the voice: mean and deviation of their log frames, the longest, how many a second."""
    numbers, most = _numbered(silent)
    frames = silent.new_zeros(len(silent), most + 1, dtype=torch.float).scatter_add(
        1, numbers, silent.to(torch.float)
    )[:, 1:]
    some = frames > 0
    logs = frames.clamp(min=1).log()
    rate = some.sum(1, keepdim=True) * 50.0 / lengths.clamp(min=1)[:, None]
    return [*moments(logs[..., None], some), logs.amax(1, keepdim=True), rate]


def _waves(melody: Tensor, lengths: Tensor) -> Tensor:
    """(B, 5): the strength of the pitch's changes in each of the first five ranges."""
    strength = torch.fft.rfft(melody[:, :RHYTHM].float(), RHYTHM, dim=1)
    size = (strength.real.square() + strength.imag.square() + 1e-12).sqrt()
    size = size / lengths.clamp(min=1).sqrt()[:, None]
    return torch.stack([size[:, low:high].mean(1) for low, high in RANGES[:5]], 1)


View = Literal["bands", "modulation", "contour"]
VIEWS: dict[View, Callable[[Spectrum], Tensor]] = {
    "bands": _bands,
    "modulation": _modulation,
    "contour": _contour,
}
"""Each view's functionals of a batch of clips, (B, n)."""
