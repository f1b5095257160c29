"""What every encoder checks of its input before it spends time on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from undertone.errors import AudioError, DataError

if TYPE_CHECKING:
    from undertone.types import Wave

__all__ = ["checked_frames", "checked_wave"]


def checked_wave(wave: Wave) -> Wave:
    """The wave, if it is one: mono, float, with samples, all of them numbers."""
    if wave.ndim != 1:
        raise AudioError(f"a wave of shape {wave.shape}: one channel is wanted")
    if not len(wave):
        raise AudioError("no samples")
    if not np.isfinite(wave).all():
        raise AudioError(f"{np.count_nonzero(~np.isfinite(wave))} samples are not numbers (NaN or infinity)")
    return wave.astype(np.float32, copy=False)


def checked_frames(frames: NDArray[np.float32], name: str) -> NDArray[np.float32]:
    """The frames, if all of them are numbers."""
    if not np.isfinite(frames).all():
        raise DataError(f"{name} gave features that are not numbers; try --precision fp32")
    return frames
