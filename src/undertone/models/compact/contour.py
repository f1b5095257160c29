"""How the voice goes and what it is like: contours over the clip, stretches of voice, quality where voiced.

    quality   brightness, spread, tilt, effort, the two lowest resonances, how fast levels rise and fall,
              harmonicity, loudness: where voiced, where not, and how they change
    contours  of loudness, pitch, voicing, brightness, tilt and effort: cosine moments over the clip's time
    stretches of voice: how long, how pitch and loudness go within, the first one, the last one, the gaps

What a phonetician would call jitter of the glottis is not here: frames are 20 ms apart.
"""

from __future__ import annotations

import math
from functools import cache
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional as F

from undertone.models.batch import mask_from
from undertone.models.compact.spectrum import SPREAD, Spectrum
from undertone.models.compact.statistics import correlation, moments, quantiles, slopes
from undertone.models.layers import masked_mean

__all__ = ["contour"]

LOWEST, HIGHEST = 50.0, 7_600.0
"""Hertz between which the mel bands lie."""
OCTAVES = (0.0, 500.0, 1_000.0, 2_000.0, 4_000.0, 8_000.0)
"""Hertz of the edges of broad bands."""
SHORTEST = 3
"""Frames from which a stretch of voice is told of."""
RANGES = ((1, 3), (3, 6), (6, 10), (10, 16), (16, 26))
"""Of the spectrum of pitch over 128 frames: 0.39 Hz a place."""


def contour(found: Spectrum) -> Tensor:
    """(B, n) figures of each clip."""
    mask = mask_from(found.lengths, found.mel.shape[1])
    energy, pitch, _, voicing = found.prosody.unbind(-1)
    voiced = mask & (voicing > 0.5)
    names = _quality(found.mel, energy, voicing, mask)
    quality = torch.stack(list(names.values()), -1)
    sung = _bridged(pitch, voiced)
    sung = (sung - masked_mean(sung[..., None], mask)) * mask
    courses = ((energy, 8), (sung, 8), (voicing, 6), *((names[n], 6) for n in ("bright", "tilt", "effort")))
    together = (("tilt", energy), ("tilt", pitch), ("effort", pitch), ("harmonic", energy), ("bright", pitch))
    parts = [
        *moments(torch.cat([quality, _shares(found.mel)], -1), voiced),
        quantiles(quality, voiced),
        *moments(quality, mask & ~voiced),
        *moments(slopes(quality, mask).abs(), voiced[:, 1:] & voiced[:, :-1]),
        *(_course(x, found.lengths, mask, count) for x, count in courses),
        correlation(energy, pitch, voiced)[:, None],
        *(correlation(names[n], x, voiced)[:, None] for n, x in together),
        *_stretches(energy, pitch, voiced),
        *_gaps(mask & ~voiced, found.lengths),
        _waves(sung, found.lengths),
    ]
    return torch.cat([part.flatten(1) for part in parts], 1)


@cache
def _between(bands: int, low: float, high: float) -> slice:
    """The mel bands whose centres lie between so many hertz, at least one."""
    lowest, highest = (math.log1p(hertz / 700.0) for hertz in (LOWEST, HIGHEST))
    step = (highest - lowest) / (bands + 1)
    hertz = [700.0 * math.expm1(lowest + step * (place + 1)) for place in range(bands)]
    first = min(sum(centre < low for centre in hertz), bands - 1)
    return slice(first, max(first + 1, sum(centre < high for centre in hertz)))


def _quality(mel: Tensor, energy: Tensor, voicing: Tensor, mask: Tensor) -> dict[str, Tensor]:
    """(B, T) each: what a frame's spectrum is like."""
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
    shown = voicing.clamp(0.01, 0.99)
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
        "harmonic": (shown / (1.0 - shown)).log() / SPREAD,
        "loud": energy,
    }


def _shares(mel: Tensor) -> Tensor:
    """(B, T, 5): how much of the power is in each broad band."""
    power = (SPREAD * mel).exp() - 0.999
    whole = power.sum(-1)
    parts = [power[..., _between(mel.shape[2], low, high)].sum(-1) for low, high in pairwise(OCTAVES)]
    return torch.stack([_log(part / whole) for part in parts], -1)


def _log(x: Tensor) -> Tensor:
    return x.clamp(1e-5, 1e5).log() / SPREAD


def _bridged(pitch: Tensor, voiced: Tensor) -> Tensor:
    """(B, T): pitch where voiced, in a straight line from one voiced frame to the next, level beyond them."""
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
    """(B, T): 1 in the first stretch of True, 2 in the second …, 0 outside; and how many there may be."""
    begins = inside & ~F.pad(inside, (1, 0))[:, :-1]
    numbers = begins.long().cumsum(1) * inside
    return numbers, max(1, int(numbers.max()))


def _stretches(energy: Tensor, pitch: Tensor, voiced: Tensor) -> list[Tensor]:
    """Of the stretches of voice: moments over them, the first and the last one."""
    numbers, most = _numbered(voiced)
    rows = torch.arange(len(pitch), device=pitch.device)

    def total(x: Tensor) -> Tensor:
        """(B, most) sums over each stretch."""
        return x.new_zeros(len(x), most + 1).scatter_add(1, numbers, x * voiced)[:, 1:]

    frames = total(voiced.to(pitch.dtype))
    count = frames.clamp(min=1)
    seconds = (torch.arange(pitch.shape[1], device=pitch.device) / 50.0).expand_as(pitch)

    def apart(x: Tensor) -> Tensor:
        """Less its mean over its stretch."""
        return (x - F.pad(total(x) / count, (1, 0)).gather(1, numbers)) * voiced

    time, tune = apart(seconds), apart(pitch)
    reach = total(time.square()) + 1e-3
    slope = total(time * tune) / reach
    told = torch.stack(
        [
            count.log(),
            slope,
            slope.abs(),
            total(time * apart(energy)) / reach,
            (total(tune.square()) / count).clamp(min=1e-6).sqrt(),
            total(pitch) / count,
            total(energy) / count,
        ],
        -1,
    )
    long = frames >= SHORTEST
    first = long.long().argmax(1)
    last = most - 1 - long.flip(1).long().argmax(1)
    ends = [told[rows, place] * long.any(1)[:, None] for place in (first, last)]
    return [*moments(told, long), *ends]


def _gaps(silent: Tensor, lengths: Tensor) -> list[Tensor]:
    """Of the gaps in the voice: mean and deviation of their log frames, the longest, how many a second."""
    numbers, most = _numbered(silent)
    frames = silent.new_zeros(len(silent), most + 1, dtype=torch.float).scatter_add(
        1, numbers, silent.to(torch.float)
    )[:, 1:]
    there = frames > 0
    logs = frames.clamp(min=1).log()
    rate = there.sum(1, keepdim=True) * 50.0 / lengths.clamp(min=1)[:, None]
    return [*moments(logs[..., None], there), logs.amax(1, keepdim=True), rate]


def _waves(sung: Tensor, lengths: Tensor) -> Tensor:
    """(B, 5): how much of the pitch's ups and downs are of each range."""
    strength = torch.fft.rfft(sung[:, :128].float(), 128, dim=1)
    size = (strength.real.square() + strength.imag.square() + 1e-12).sqrt()
    size = size / lengths.clamp(min=1).sqrt()[:, None]
    return torch.stack([size[:, low:high].mean(1) for low, high in RANGES], 1)
