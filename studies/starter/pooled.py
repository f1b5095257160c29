"""Every clip's hidden states, pooled: as it is and in several variants, computed once and kept on disk.

A clip is cut into regions of speech as ``judging`` cuts every recording, and each region is pooled alone.
All parts draw from the same variants: one depends on its clip, its number and the seed, and on no other clip.
"""

from __future__ import annotations

import logging
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from studies.starter.augment import AugmentConfig, among_voices, vary
from studies.starter.clips import background
from studies.starter.nonspeech import sound
from undertone import audio
from undertone.config import Config, fingerprint
from undertone.features.config import SpeechConfig
from undertone.features.speech import build
from undertone.files import one_thread, spawned_pool, whole

if TYPE_CHECKING:
    from studies.starter.clips import Spoken
    from undertone.types import SpeechEncoder, Wave

__all__ = ["Hearing", "Pooled", "clips", "pool", "regions", "sounds"]

VERSION = 3
"""Raised with every change that changes the numbers."""
CHUNK = 250
"""Clips that are kept together: a killed run goes on after the last whole chunk."""

log = logging.getLogger(__name__)


class Hearing(Config):
    """What is made of a recording."""

    encoder: SpeechConfig = SpeechConfig(name="whisper-base", layer="2-3", level=-20.0)
    """All regions at one level: Whisper's states say how loud a recording is, and corpora differ in that."""
    variants: int = 2
    """Of each clip, the recording as it is not counted."""
    augment: AugmentConfig = AugmentConfig()
    noisy: int = 2
    """Further variants, in noise and nothing else."""
    voices: int = 1
    """And with voices in the background."""
    noise: AugmentConfig = AugmentConfig.noise_alone()
    sounds: int = 600
    """Generated sounds that nobody speaks."""
    seed: int = 0


@dataclass(frozen=True)
class Pooled:
    """Regions of clips in their variants."""

    rows: NDArray[np.float16]
    """(regions, 2 K D): means of the K states, and their deviations."""
    clip: NDArray[np.int64]
    """(regions,): the clip of each."""
    variant: NDArray[np.int64]
    """(regions,): 0 is the recording as it is, then the variants, those in noise, those among voices."""
    samples: NDArray[np.int64]
    """(regions,): how long each is."""

    def of(self, chosen: Sequence[int], variant: int | None = None) -> NDArray[np.bool_]:
        """Which regions are of these clips, and of this variant."""
        inside = np.isin(self.clip, np.asarray(chosen))
        return inside if variant is None else inside & (self.variant == variant)

    def sorts(self, hearing: Hearing) -> NDArray[np.int64]:
        """(regions,): 0 as recorded, 1 a variant of every sort, 2 in noise alone, 3 among voices."""
        last = np.cumsum([0, hearing.variants, hearing.noisy])
        return np.searchsorted(last, self.variant).astype(np.int64)


def pool(frames: NDArray[np.float32]) -> NDArray[np.float32]:
    """(2 K D,) of frames (K, T, D) or (T, D), as ``models.inputs.Moments`` pools them."""
    frames = frames.reshape(-1, *frames.shape[-2:])
    mean = frames.mean(1, dtype=np.float64)
    deviation = np.sqrt(frames.var(1, dtype=np.float64) + 1e-6)
    return np.concatenate([mean.ravel(), deviation.ravel()]).astype(np.float32)


def regions(wave: Wave) -> list[Wave]:
    """The stretches of speech of a recording; all of it where there is none."""
    from undertone.judging.windows import Segmenter

    cut = Segmenter()
    windows = [*cut.feed(wave), *cut.close()]
    return [w.region_wave for w in windows if w.region_wave is not None] or [wave]


def clips(known: Sequence[Spoken], hearing: Hearing, folder: Path, jobs: int = 1) -> Pooled:
    """All clips' regions, from ``folder`` what is there."""
    mark = fingerprint([VERSION, hearing.plain(), build(hearing.encoder).identity])
    others = tuple(clip.path for clip in background(known))
    tasks = []
    for first in range(0, len(known), CHUNK):
        part = known[first : first + CHUNK]
        name = f"clips-{mark}-{fingerprint([[c.corpus, c.id] for c in part])}.npz"
        tasks.append((folder / name, first, part, hearing, others))
    _made(tasks, _clips, jobs)
    return _read([task[0] for task in tasks])


def sounds(hearing: Hearing, folder: Path) -> NDArray[np.float16]:
    """(sounds, 2 K D), each judged as it is, as where no speech is found."""
    path = folder / f"sounds-{fingerprint([VERSION, hearing.plain(), build(hearing.encoder).identity])}.npz"
    _made([(path, 0, [], hearing, ())], _sounds, 1)
    return _read([path]).rows


_Task = tuple[Path, int, "Sequence[Spoken]", Hearing, tuple[Path, ...]]
"""The file to make, the number of the first clip, the clips, and the recordings behind them."""


def _made(tasks: Sequence[_Task], make: Callable[[_Task], None], jobs: int) -> None:
    open_ = [task for task in tasks if not task[0].is_file()]
    if not open_:
        return
    open_[0][0].parent.mkdir(parents=True, exist_ok=True)
    if jobs == 1 or len(open_) == 1:
        for task in open_:
            make(task)
        return
    with spawned_pool(jobs) as workers:
        for number, _ in enumerate(workers.map(make, open_), 1):
            log.info("recordings: %d of %d parts", number, len(open_))


def _read(paths: Sequence[Path]) -> Pooled:
    parts = [np.load(path) for path in paths]
    names = ("rows", "clip", "variant", "samples")
    return Pooled(*(np.concatenate([part[name] for part in parts]) for name in names))


def _clips(task: _Task) -> None:
    path, first, part, hearing, others = task
    places: list[tuple[int, int]] = []
    rows = []
    encoder = _encoder(hearing)
    for number, clip in enumerate(part, first):
        wave = audio.load(clip.path)
        key = zlib.crc32(f"{clip.corpus}/{clip.id}".encode())
        for variant in range(1 + hearing.variants + hearing.noisy + hearing.voices):
            dice = np.random.default_rng([hearing.seed, key, variant])
            for region in regions(_changed(wave, variant, hearing, dice, others)):
                places.append((number, variant))
                rows.append((_heard(encoder, region), len(region)))
    _keep(path, rows, places)


def _changed(
    wave: Wave, variant: int, hearing: Hearing, dice: np.random.Generator, others: tuple[Path, ...]
) -> Wave:
    if not variant:
        return wave
    if variant <= hearing.variants:
        return vary(wave, hearing.augment, dice)
    if variant <= hearing.variants + hearing.noisy:
        return vary(wave, hearing.noise, dice)
    return among_voices(wave, _waves(others), dice)


def _sounds(task: _Task) -> None:
    path, _, _, hearing, _ = task
    encoder = _encoder(hearing)
    waves = [sound(np.random.default_rng([hearing.seed, 7, n])) for n in range(hearing.sounds)]
    _keep(path, [(_heard(encoder, wave), len(wave)) for wave in waves], [(n, 0) for n in range(len(waves))])


def _heard(encoder: SpeechEncoder, wave: Wave) -> NDArray[np.float16]:
    (frames,) = encoder.encode([wave])
    return pool(frames).astype(np.float16)


def _keep(path: Path, rows: list[tuple[NDArray[np.float16], int]], places: list[tuple[int, int]]) -> None:
    clip, variant = np.array(places, np.int64).T
    values = {"rows": np.stack([row for row, _ in rows]), "clip": clip, "variant": variant}
    with whole(path) as file:
        np.savez(file, samples=np.array([size for _, size in rows]), **values)


@lru_cache(1)
def _waves(paths: tuple[Path, ...]) -> list[Wave]:
    return [audio.load(path) for path in paths]


@lru_cache(1)
def _encoder(hearing: Hearing) -> SpeechEncoder:
    one_thread()
    return build(hearing.encoder)
