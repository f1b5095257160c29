"""From overlapping windows to a timeline: cells of one hop, each the mean of the windows that overlap it.

The mean is taken of log-probabilities, weighted by how much of the cell a window covers; that is all the
smoothing there is. A cell is final as soon as the window that starts with it has been judged, or its
region has ended; the window that covers a region's end counts for the cells that are open by then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from undertone.judging.settings import Segmenting
from undertone.judging.windows import RATE, Window
from undertone.types import TimelineSegment

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Timeline", "mean_dimensions", "merged", "overall", "segment"]

_FLOOR = 1e-9
"""Probabilities below this count as this: one certain window must not veto its neighbours."""


@dataclass(frozen=True)
class _Judged:
    start: int
    end: int
    logs: NDArray[np.float64]
    dimensions: Mapping[str, float]


class Timeline:
    """Judged windows in, final cells out; ``threshold``: a cell below it gets no label."""

    def __init__(
        self, settings: Segmenting | None = None, threshold: float = 0.0, speaker: str | None = None
    ) -> None:
        self._settings = settings or Segmenting()
        self._threshold, self._speaker = threshold, speaker
        self._hop = round(self._settings.hop * RATE)
        self._judged: list[_Judged] = []  # of the region under way, those that can still matter
        self._cell = 0  # start of the next cell
        self._region: int | None = None

    def add(
        self,
        window: Window,
        probabilities: Mapping[str, float] | None,
        dimensions: Mapping[str, float] | None = None,
    ) -> list[TimelineSegment]:
        """The cells that this window makes final; ``probabilities`` None for a window with no samples."""
        if self._region != window.region:
            self._region, self._cell, self._judged = window.region, window.region, []
        if probabilities is not None:
            logs = np.log(np.maximum(np.fromiter(probabilities.values(), np.float64), _FLOOR))
            self._judged.append(_Judged(window.start, window.end, logs, dimensions or {}))
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
        named = {name: float(p) for name, p in zip(self._labels, scores / scores.sum(), strict=True)}
        cell = segment(self._cell / RATE, end / RATE, named, self._threshold, self._speaker)
        dimensions = mean_dimensions([(overlap, one.dimensions) for one, overlap in inside if overlap > 0])
        self._cell = end
        return replace(cell, dimensions=dimensions)


def segment(
    start: float, end: float, probabilities: Mapping[str, float], threshold: float, speaker: str | None
) -> TimelineSegment:
    """A stretch with its most probable label, or without one below ``threshold``."""
    label = max(probabilities, key=probabilities.__getitem__)
    sure = probabilities[label]
    return TimelineSegment(start, end, label if sure >= threshold else None, sure, probabilities, speaker)


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
        alike = last and (last.label, last.speaker) == (cell.label, cell.speaker)
        if last and alike and cell.start - last.end <= gap:
            runs[-1].append(cell)
        else:
            runs.append([cell])
    return [_run(run) for run in runs]


def _run(run: Sequence[TimelineSegment]) -> TimelineSegment:
    probabilities = overall(run)
    label = run[0].label
    sure = max(probabilities.values()) if label is None else probabilities[label]
    dimensions = mean_dimensions([(cell.end - cell.start, cell.dimensions) for cell in run])
    return TimelineSegment(run[0].start, run[-1].end, label, sure, probabilities, run[0].speaker, dimensions)


def mean_dimensions(weighted: Sequence[tuple[float, Mapping[str, float]]]) -> dict[str, float]:
    """The weighted mean of each dimension; empty where there are none."""
    total = sum(weight for weight, _ in weighted)
    names = weighted[0][1] if weighted else {}
    return {name: float(sum(weight * values[name] for weight, values in weighted) / total) for name in names}
