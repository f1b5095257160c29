"""Every clip's acoustic frames, as it is and in several variants, computed once and kept on disk.

All folds draw from the same variants: a variant depends on its clip, its number and the seed, and on no
other clip.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from studies.starter.augment import AugmentConfig, vary
from studies.starter.nonspeech import sound
from undertone import audio
from undertone.config import fingerprint
from undertone.features.acoustic import acoustic_frames
from undertone.features.config import AcousticConfig
from undertone.files import write_json

if TYPE_CHECKING:
    from studies.starter.clips import Spoken
    from undertone.types import Wave

__all__ = ["Variants", "clip_variants", "sound_variants"]

VERSION = 3
"""Raised with every change that changes the numbers."""
Tell = Callable[[int, int], None]


@dataclass(frozen=True)
class Variants:
    """Frames of many items in several variants each, read from disk when they are used."""

    frames: NDArray[np.float16]
    """(all frames, D)"""
    edges: NDArray[np.int64]
    """(items, variants + 1): where in ``frames`` each variant begins, and the last one ends."""
    folder: Path
    """Where they are kept, and what is made of them may be kept too."""

    def get(self, item: int, variant: int) -> NDArray[np.float32]:
        """(T, D); variant 0 is the clip as it was recorded."""
        first, last = self.edges[item, variant : variant + 2]
        return self.frames[first:last].astype(np.float32)

    @property
    def count(self) -> int:
        """Variants of each item."""
        return int(self.edges.shape[1]) - 1


def clip_variants(
    clips: Sequence[Spoken],
    acoustic: AcousticConfig,
    augment: AugmentConfig,
    count: int,
    seed: int,
    folder: Path,
    tell: Tell | None = None,
) -> Variants:
    """The clips as they are and ``count - 1`` times varied, from ``folder`` if they are there."""
    mark = fingerprint([VERSION, [c.id for c in clips], acoustic.plain(), augment.plain(), count, seed])

    def waves(item: int) -> list[Wave]:
        wave = audio.load(clips[item].path)
        key = zlib.crc32(f"{clips[item].corpus}/{clips[item].id}".encode())
        return [wave, *(vary(wave, augment, np.random.default_rng([seed, key, k])) for k in range(1, count))]

    return _kept(folder / f"clips-{mark}", len(clips), waves, acoustic, tell)


def sound_variants(count: int, acoustic: AcousticConfig, seed: int, folder: Path) -> Variants:
    """Sounds that nobody speaks, one variant each."""
    mark = fingerprint([VERSION, acoustic.plain(), count, seed])
    return _kept(
        folder / f"sounds-{mark}", count, lambda i: [sound(np.random.default_rng([seed, 7, i]))], acoustic
    )


def _kept(
    folder: Path,
    items: int,
    waves: Callable[[int], list[Wave]],
    acoustic: AcousticConfig,
    tell: Tell | None = None,
) -> Variants:
    """Frames of all items' waves, computed unless the folder has them whole."""
    whole = folder / "whole.json"
    if not whole.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        parts: list[NDArray[np.float16]] = []
        lengths: list[list[int]] = []
        for item in range(items):
            made = [acoustic_frames(wave, acoustic).astype(np.float16) for wave in waves(item)]
            parts += made
            lengths.append([len(frames) for frames in made])
            if tell is not None:
                tell(item + 1, items)
        ends = np.cumsum(np.concatenate(lengths)).reshape(items, -1)
        starts = ends - np.array(lengths)
        np.save(folder / "edges.npy", np.concatenate([starts, ends[:, -1:]], 1))
        np.save(folder / "frames.npy", np.concatenate(parts))
        write_json(whole, {"items": items})
    return Variants(np.load(folder / "frames.npy", mmap_mode="r"), np.load(folder / "edges.npy"), folder)
