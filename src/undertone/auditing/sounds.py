"""Which recordings are the same, or nearly: samples compared exactly, and by a fingerprint.

*Identical* means that the decoded samples are the same, whatever the container. *Nearly identical*
means that a fingerprint, a small log spectrogram of the part that is not silent, without level and
colour of the channel, is almost the same: a copy that was made louder, trimmed, filtered or compressed,
but not a second take of the same sentence by the same speaker.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from undertone import audio
from undertone.errors import AudioError
from undertone.progress import Watch
from undertone.types import Utterance

if TYPE_CHECKING:
    from undertone.types import Wave

__all__ = ["Twins", "fingerprint", "twins"]

RATE = 16000
FRAME, HOP = 512, 160
BANDS, STEPS = 24, 48
NEAR = 0.95
"""Least cosine of two fingerprints of the same sound; two takes by one speaker reach 0.91."""
EDGE = 0.01
"""Part of the energy before the audible part begins, and after it ends."""
STRETCH = 0.03
"""How much the lengths of the audible parts may differ."""

Print: TypeAlias = NDArray[np.float32]


@dataclass(frozen=True)
class Twins:
    """Recordings that are the same, in groups and pairs of ids; what could not be read, with the reason."""

    identical: list[list[str]]
    near: list[tuple[str, str, float]]
    unread: dict[str, str]
    silent: tuple[str, ...] = ()
    """Those that hold no sound at all."""
    still: tuple[float, ...] = ()
    """Seconds before and after the audible part of each of the others."""


@dataclass(frozen=True, slots=True)
class _Sound:
    digest: str
    length: int
    shape: Print
    still: float


def twins(utterances: Sequence[Utterance], *, jobs: int = 1, watch: Watch | None = None) -> Twins:
    """Compare all recordings (absolute paths) with each other; ``watch`` is called after each.

    An utterance without audio of its own is passed over; silence alone has no twin.
    """
    recorded = [u for u in utterances if u.audio]
    sounds: dict[str, _Sound] = {}
    unread: dict[str, str] = {}
    with ThreadPoolExecutor(max(1, jobs)) as pool:  # decoding and the FFT release the interpreter's lock
        for done, (utterance, sound) in enumerate(zip(recorded, pool.map(_read, recorded), strict=True), 1):
            if isinstance(sound, _Sound):
                sounds[utterance.id] = sound
            else:
                unread[utterance.id] = sound
            if watch is not None:
                watch(done, len(recorded))
    groups: dict[str, list[str]] = defaultdict(list)
    for name, sound in sounds.items():
        groups[sound.digest].append(name)
    identical = [sorted(group) for group in groups.values() if len(group) > 1]
    firsts = {group[0]: sounds[group[0]] for group in groups.values()}
    silent = tuple(sorted(name for name, sound in sounds.items() if not sound.length))
    still = tuple(sound.still for sound in sounds.values() if sound.length)
    return Twins(sorted(identical), _near(firsts), unread, silent, still)


def _read(utterance: Utterance) -> _Sound | str:
    """The sound of an utterance, or why it cannot be read."""
    try:
        wave = audio.load(utterance.audio, utterance.start, utterance.end, rate=RATE)
    except AudioError as error:
        return str(error)
    length, shape = fingerprint(wave)
    still = (len(wave) - length * HOP) / RATE
    return _Sound(hashlib.sha256(wave.tobytes()).hexdigest(), length, shape, still)


def fingerprint(wave: Wave) -> tuple[int, Print]:
    """(frames of the audible part, ``BANDS × STEPS`` unit vector); all zeros for silence."""
    nothing = np.zeros(BANDS * STEPS, np.float32)
    if len(wave) < FRAME:
        return 0, nothing
    frames = np.lib.stride_tricks.sliding_window_view(wave, FRAME)[::HOP]
    power = np.abs(np.fft.rfft(frames * np.hanning(FRAME).astype(np.float32), axis=1)) ** 2
    bands = power @ _filters()
    energy = np.cumsum(bands.sum(axis=1))
    if energy[-1] <= 0:
        return 0, nothing
    first, last = np.interp([EDGE * energy[-1], (1 - EDGE) * energy[-1]], energy, np.arange(len(energy)))
    spectrogram = np.log(bands + 1e-3 * bands.mean(axis=0))  # the floor hides added noise
    steps = np.array([spectrogram[_cell(first, last, step)].mean(axis=0) for step in range(STEPS)])
    steps -= steps.mean(axis=0)  # takes out level and the channel's colour
    norm = np.linalg.norm(steps)
    return round(last - first) + 1, (steps / norm if norm > 0 else steps).astype(np.float32).ravel()


def _cell(first: float, last: float, step: int) -> slice:
    """The frames of one of ``STEPS`` equal stretches between two (fractional) frames; at least one."""
    width = (last - first) / STEPS
    start = round(first + step * width)
    return slice(start, max(start + 1, round(first + (step + 1) * width)))


def _filters() -> Print:
    """``(FRAME // 2 + 1, BANDS)``: which bin belongs to which band, evenly in log frequency, 100-3800 Hz."""
    edges = np.geomspace(100, 3800, BANDS + 1) / RATE * FRAME
    bins = np.arange(FRAME // 2 + 1)[:, None]
    inside = np.clip(np.minimum(bins + 0.5, edges[1:]) - np.maximum(bins - 0.5, edges[:-1]), 0, None)
    return np.asarray(inside, np.float32)


def _near(sounds: dict[str, _Sound]) -> list[tuple[str, str, float]]:
    """Pairs with like fingerprints; only recordings of about the same length are compared."""
    names = sorted((n for n, sound in sounds.items() if sound.length), key=lambda n: sounds[n].length)
    if not names:
        return []
    lengths = np.array([sounds[n].length for n in names])
    shapes = np.stack([sounds[n].shape for n in names])
    pairs = []
    for start in range(0, len(names), 256):
        block = slice(start, min(start + 256, len(names)))
        end = int(np.searchsorted(lengths, lengths[block][-1] * (1 + STRETCH) + 2, side="right"))
        cosine = shapes[block] @ shapes[start:end].T
        for i, j in np.argwhere(np.triu(cosine, k=1) >= NEAR):
            if lengths[start + j] <= lengths[start + i] * (1 + STRETCH) + 2:
                pairs.append((names[start + i], names[start + j], float(cosine[i, j])))
    return sorted((min(a, b), max(a, b), similarity) for a, b, similarity in pairs)
