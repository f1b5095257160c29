"""How work is divided: clips of nearly equal length share a batch, one long clip is cut into windows.

frames   |----------------------- T -----------------------|
windows  |=====size=====|
                   |=====size=====|
                             |=====size=====|      neighbours share ``overlap`` frames;
kept     |------------|--------|--------------|    each keeps up to the middle of the overlap
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from undertone.types import Wave

__all__ = ["at_level", "of_lengths", "plan", "windows"]


def plan(lengths: Sequence[int], budget: int, pads: bool) -> list[list[int]]:
    """Indices of each batch, longest first; a batch's padded size stays within ``budget`` frames.

    Without ``pads`` only equal lengths meet. A clip beyond the budget is a batch of its own.

    >>> plan([5, 9, 5, 8], budget=18, pads=True)
    [[1, 3], [0, 2]]
    >>> plan([5, 9, 5, 8], budget=18, pads=False)
    [[1], [3], [0, 2]]
    """
    batches: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        if batches:
            longest = lengths[batches[-1][0]]
            fits = longest * (len(batches[-1]) + 1) <= budget
            if fits and (pads or lengths[index] == longest):
                batches[-1].append(index)
                continue
        batches.append([index])
    return batches


def windows(total: int, size: int, overlap: int) -> list[tuple[range, range]]:
    """For each window over ``total`` items: its items, and those of them that are kept.

    The kept ones cover every item once, in order; the last window is moved back to be full.

    >>> windows(10, 6, 2)
    [(range(0, 6), range(0, 5)), (range(4, 10), range(5, 10))]
    """
    assert 0 <= overlap < size
    if total <= size:
        return [(range(total), range(total))]
    starts = [*range(0, total - size, size - overlap), total - size]
    cuts = [0, *((b + a + size) // 2 for a, b in pairwise(starts)), total]
    kept = [range(a, b) for a, b in pairwise(cuts)]
    return [(range(start, start + size), keep) for start, keep in zip(starts, kept, strict=True)]


def of_lengths(wave: Wave, lengths: Sequence[int], hop: int, overlap: int) -> list[tuple[Wave, slice]]:
    """The wave, or windows over a longer one, with silence up to the next of ``lengths``; and which frames of
    each are kept, one every ``hop`` samples, as ``overlap`` is counted.

    >>> [(len(part), kept) for part, kept in of_lengths(np.ones(50), [20, 40], hop=2, overlap=4)]
    [(40, slice(0, 12, None)), (40, slice(7, 20, None))]
    """
    size = lengths[-1] // hop
    parts = []
    for window, keep in windows(-(-len(wave) // hop), size, min(overlap, (size - 1) // 2)):
        part = wave[window.start * hop : window.stop * hop]
        length = next(n for n in lengths if n >= len(part))
        kept = slice(keep.start - window.start, keep.stop - window.start)
        parts.append((np.pad(part, (0, length - len(part))), kept))
    return parts


def at_level(wave: Wave, decibels: float | None) -> Wave:
    """The wave with that mean power, in decibels of full scale; as it is where there is no wish or silence.

    >>> float(np.abs(at_level(np.array([0.5, -0.5], np.float32), -20.0)).max().round(3))
    0.1
    """
    power = float(np.square(wave, dtype=np.float64).mean())
    if decibels is None or power < SILENCE:
        return wave
    return (wave * np.float32(10 ** (decibels / 20) / power**0.5)).astype(np.float32)


SILENCE = 1e-10
"""Mean power of what is no sound at all."""
