"""Whether the channels of a recording hold different sounds, as two parties of a call, or copies of one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from undertone.audio.reading import opened
from undertone.audio.sound import OpenSound
from undertone.audio.source import Source, locate

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from undertone.types import Wave

__all__ = ["channels_differ", "differ"]

PIECES, PIECE = 20, 15.0
"""Of a long recording this many pieces are read, each of so many seconds, spread over all of it."""

OWN = 0.05
"""A channel differs if more than this share of its energy cannot be had by scaling the strongest channel:
lossy codecs make copies differ by less."""

AUDIBLE = 1e-4
"""A channel with less than this share of the strongest one's energy is silent."""


def channels_differ(ref: str | Path | bytes) -> bool:
    """Whether the channels of a recording differ: one that is a louder or softer copy, or silent, does not.

    A copy with the opposite sign differs: the mean of both would be silence.
    """
    source = Source("upload", ref) if isinstance(ref, bytes) else locate(ref)
    with opened(source) as sound:
        return differ(sound)


def differ(sound: OpenSound) -> bool:
    """As ``channels_differ``, of an open recording, which is read to its end."""
    return sound.channels > 1 and _differ(_covariance(sound))


def _differ(covariance: NDArray[np.float64]) -> bool:
    energy = covariance.diagonal()
    strongest = int(energy.argmax())
    gains = (covariance[strongest] / max(energy[strongest], 1e-30)).clip(0.0)
    own = energy - 2 * gains * covariance[strongest] + gains**2 * energy[strongest]
    audible = energy > AUDIBLE * energy[strongest]
    return bool((own[audible] > OWN * energy[audible]).any())


def _covariance(sound: OpenSound) -> NDArray[np.float64]:
    """``(C, C)``: without the means, so that an offset is no sound."""
    import numpy as np

    size = sound.channels
    count, sums, products = 0, np.zeros(size), np.zeros((size, size))
    for frames in _pieces(sound):
        exact = np.nan_to_num(frames.astype(np.float64), posinf=0.0, neginf=0.0)
        count += len(exact)
        sums += exact.sum(axis=0)
        products += exact.T @ exact
    mean = sums / max(count, 1)
    covariance: NDArray[np.float64] = products / max(count, 1) - np.outer(mean, mean)
    return covariance


def _pieces(sound: OpenSound) -> Iterator[Wave]:
    """Pieces from all over a recording; of one whose length is not known, every second one to its end."""
    size = round(PIECE * sound.rate)
    step = 2 * size if sound.claimed is None else max(size, -(-sound.claimed // PIECES))
    while len(frames := sound.read(size)):
        yield frames
        sound.skip(sound.place - len(frames) + step)
