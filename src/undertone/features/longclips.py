"""Long clips in overlapping windows, so that memory is bounded and nothing is cut off silently.

frames   |----------------------- T -----------------------|
windows  |=====size=====|
                   |=====size=====|
                             |=====size=====|      neighbours share ``overlap`` frames;
kept     |------------|--------|--------------|    each keeps up to the middle of what is shared
"""

from __future__ import annotations

from itertools import pairwise

from pydantic import Field, model_validator

from undertone.config import Config
from undertone.types import Seconds

__all__ = ["LongClips", "windows"]


class LongClips(Config):
    """When attention gives up on seeing a whole clip at once. Part of every key."""

    above: Seconds = Field(60.0, gt=1.0)
    """Clips longer than this are windowed: another computation, whose frames differ a little."""
    window: Seconds = Field(30.0, gt=1.0)
    """Length of a window."""
    overlap: Seconds = Field(5.0, ge=0.0)
    """What neighbouring windows share."""

    @model_validator(mode="after")
    def _fits(self) -> LongClips:
        if not 2 * self.overlap < self.window <= self.above:
            raise ValueError("long clips need 2 · overlap < window ≤ above")
        return self


def windows(total: int, size: int, overlap: int) -> list[tuple[range, range]]:
    """For each window over ``total`` items: what it sees, and what is kept of it.

    What is kept covers every item once, in order; the last window is moved back to be full.

    >>> windows(10, 6, 2)
    [(range(0, 6), range(0, 5)), (range(4, 10), range(5, 10))]
    """
    assert 0 <= overlap < size
    if total <= size:
        return [(range(total), range(total))]
    starts = [*range(0, total - size, size - overlap), total - size]
    cuts = [0, *((b + a + size) // 2 for a, b in pairwise(starts)), total]
    seen = [range(start, start + size) for start in starts]
    return [(see, range(a, b)) for see, (a, b) in zip(seen, pairwise(cuts), strict=True)]
