"""Which clips share a batch: nearly equal lengths under a budget of frames, or equal lengths only."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["plan"]


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
