"""From overlapping windows to a timeline: cells of one hop, each the mean of the windows that overlap it.

The mean is taken of log-probabilities, weighted by how much of the cell a window covers; that is all the
smoothing there is. A cell is final as soon as the window that starts with it has been judged, or its
region has ended; the window that covers a region's end counts for the cells that are open by then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from undertone.judging.settings import Segmenting
from undertone.judging.windows import RATE, Window
from undertone.types import TimelineSegment

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Timeline", "merged", "overall"]

_FLOOR = 1e-9
"""Probabilities below this count as this: one certain window must not veto its neighbours."""


@dataclass(frozen=True)
class _Judged:
    start: int
    end: int
    logs: NDArray[np.float64]


class Timeline:
    """Judged windows in, final cells out."""

    def __init__(self, settings: Segmenting | None = None) -> None:
        self._settings = settings or Segmenting()
        self._hop = round(self._settings.hop * RATE)
        self._judged: list[_Judged] = []  # of the region under way, those that can still matter
        self._cell = 0  # start of the next cell
        self._region: int | None = None

    def add(self, window: Window, probabilities: Mapping[str, float] | None) -> list[TimelineSegment]:
        """The cells that this window makes final; ``probabilities`` None for a window with no samples."""
        if self._region != window.region:
            self._region, self._cell, self._judged = window.region, window.region, []
        if probabilities is not None:
            logs = np.log(np.maximum(np.fromiter(probabilities.values(), np.float64), _FLOOR))
            self._judged.append(_Judged(window.start, window.end, logs))
            self._labels = tuple(probabilities)
        cells = []
        while window.region_end is None and self._cell <= window.start:
            cells.append(self._close_cell(self._cell + self._hop))
        while window.region_end is not None and self._cell < window.region_end:
            short = window.region_end - self._cell < 1.5 * self._hop  # what is left makes one cell
            cells.append(self._close_cell(window.region_end if short else self._cell + self._hop))
        self._judged = [judged for judged in self._judged if judged.end > self._cell]
        return cells

    def _close_cell(self, end: int) -> TimelineSegment:
        inside = [(one, min(one.end, end) - max(one.start, self._cell)) for one in self._judged]
        total = sum(overlap * one.logs for one, overlap in inside if overlap > 0)
        weight = sum(overlap for _, overlap in inside if overlap > 0)
        scores = np.exp(np.asarray(total) / weight)
        cell = _segment(
            self._cell / RATE, end / RATE, dict(zip(self._labels, scores / scores.sum(), strict=True))
        )
        self._cell = end
        return cell


def _segment(start: float, end: float, probabilities: Mapping[str, float]) -> TimelineSegment:
    plain = {label: float(p) for label, p in probabilities.items()}
    label = max(plain, key=plain.__getitem__)
    return TimelineSegment(start, end, label, plain[label], plain)


def overall(cells: Sequence[TimelineSegment]) -> dict[str, float]:
    """One posterior for a recording: the mean over its speech, each second counting the same."""
    weights = np.array([cell.end - cell.start for cell in cells])
    values = np.array([list(cell.probabilities.values()) for cell in cells])
    mean = weights @ values / weights.sum()
    return dict(zip(cells[0].probabilities, (float(p) for p in mean), strict=True))


def merged(cells: Sequence[TimelineSegment], gap: float = 0.25) -> list[TimelineSegment]:
    """Neighbouring cells of one label as one, for captions; a silence longer than ``gap`` parts them."""
    runs: list[list[TimelineSegment]] = []
    for cell in cells:
        last = runs[-1][-1] if runs else None
        if last and last.label == cell.label and cell.start - last.end <= gap:
            runs[-1].append(cell)
        else:
            runs.append([cell])
    return [_run(run) for run in runs]


def _run(run: Sequence[TimelineSegment]) -> TimelineSegment:
    probabilities = overall(run)
    label = run[0].label
    return TimelineSegment(run[0].start, run[-1].end, label, probabilities[label], probabilities)
