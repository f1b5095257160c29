"""What an answer holds beside its label: turns, speakers, shares of the speech, moments, change."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np

from undertone.judging.timeline import merged, segment
from undertone.judging.windows import RATE
from undertone.types import SpeakerSummary, TimelineSegment, Turn

if TYPE_CHECKING:
    from undertone.judging.regions import Region
    from undertone.judging.settings import Segmenting

__all__ = ["cells_of", "change", "mean", "moments", "shares", "speakers", "turns"]

MOMENTS = 5
"""So many stretches are named as the surest."""
THIRD = 1 / 3


def mean(weighted: Sequence[tuple[float, Mapping[str, Any]]]) -> dict[str, Any]:
    """The weighted mean of numbers in nested mappings; of each key over those that have it."""
    means: dict[str, Any] = {}
    for key in dict.fromkeys(key for _, values in weighted for key in values):
        own = [(weight, values[key]) for weight, values in weighted if key in values]
        if isinstance(own[0][1], Mapping):
            means[key] = mean(own)
        else:
            total = sum(weight for weight, _ in own)
            means[key] = float(sum(weight * value for weight, value in own) / total)
    return means


def cells_of(regions: Iterable[Region], least: float) -> list[TimelineSegment]:
    """Each region as one cell: where there is no timeline."""
    return [
        replace(
            segment(r.start / RATE, r.end / RATE, r.judged.probabilities, least, r.speaker),
            dimensions=r.judged.extra.get("dimensions", {}),
        )
        for r in regions
        if r.judged.modalities
    ]


def turns(regions: Sequence[Region], least: float, settings: Segmenting) -> tuple[Turn, ...]:
    """The regions as turns: those of one given turn, else neighbours of one speaker with short pauses.

    A label from the confidence ``least`` on. A turn begins and ends with its speech, without breath before
    and after it.
    """
    groups: list[list[Region]] = []
    for region in sorted(regions, key=lambda r: (r.start, r.end)):
        last = groups[-1][-1] if groups else None
        if last is not None and _same_turn(last, region, settings.turn_gap):
            groups[-1].append(region)
        else:
            groups.append([region])
    made = [_turn(group, least) for group in groups]
    return tuple(replace(turn, overlap=_overlap(turn, made)) for turn in made)


def _same_turn(last: Region, region: Region, gap: float) -> bool:
    if last.turn is not None or region.turn is not None:
        return last.turn == region.turn and last.speaker == region.speaker
    return last.speaker == region.speaker and region.start - last.end <= gap * RATE


def _turn(group: Sequence[Region], least: float) -> Turn:
    posterior = mean([(r.end - r.start, r.judged.probabilities) for r in group])
    label = max(posterior, key=posterior.__getitem__)
    unjudged = not any(r.judged.modalities for r in group)
    first, last = (region.sound or (region.start, region.end) for region in (group[0], group[-1]))
    start, end = group[0].turn or (first[0] / RATE, last[1] / RATE)
    return Turn(
        start,
        end,
        group[0].speaker,
        None if posterior[label] < least or unjudged else label,
        posterior[label],
        posterior,
        " ".join(r.excerpt.words.text for r in group if r.excerpt) or None,
        sum(r.end - r.start for r in group) / RATE,
    )


def _overlap(turn: Turn, among: Sequence[Turn]) -> float:
    """Seconds of the turn within which somebody else speaks."""
    others = [(t.start, t.end) for t in among if t.speaker != turn.speaker]
    seconds, at = 0.0, turn.start
    for start, end in sorted(others):
        first, last = max(at, start), min(turn.end, end)
        if last > first:
            seconds, at = seconds + last - first, last
    return seconds


def shares(cells: Sequence[TimelineSegment]) -> dict[str, float]:
    """Each label's share of the time, by the most probable label of each cell; largest first.

    Cells in which no label is more probable than another, as in silence, do not count.
    """
    seconds: dict[str, float] = {}
    for cell in cells:
        if min(cell.probabilities.values()) == max(cell.probabilities.values()):
            continue
        label = max(cell.probabilities, key=cell.probabilities.__getitem__)
        seconds[label] = seconds.get(label, 0.0) + cell.end - cell.start
    total = sum(seconds.values())
    return {label: seconds[label] / total for label in sorted(seconds, key=seconds.__getitem__, reverse=True)}


def moments(cells: Sequence[TimelineSegment]) -> tuple[TimelineSegment, ...]:
    """The surest stretches that have a label; ``neutral`` ones only after all others."""
    by_speaker = sorted(cells, key=lambda c: (c.speaker or "", c.start))
    runs = [run for _, own in groupby(by_speaker, lambda c: c.speaker) for run in merged(list(own))]
    labelled = [run for run in runs if run.label is not None]
    return tuple(sorted(labelled, key=lambda run: (run.label == "neutral", -run.confidence))[:MOMENTS])


def change(cells: Sequence[TimelineSegment]) -> dict[str, float]:
    """Mean probabilities of the last third of the speech less those of the first."""
    if len(cells) < 3:
        return {}
    ordered = sorted(cells, key=lambda c: c.start)
    lengths = np.array([c.end - c.start for c in ordered])
    values = np.array([list(c.probabilities.values()) for c in ordered])
    ends = np.cumsum(lengths) / lengths.sum()
    starts = np.concatenate([[0.0], ends[:-1]])
    first = np.clip(np.minimum(ends, THIRD) - starts, 0.0, None)
    last = np.clip(ends - np.maximum(starts, 1 - THIRD), 0.0, None)
    moved = last @ values / last.sum() - first @ values / first.sum()
    return dict(zip(ordered[0].probabilities, (float(x) for x in moved), strict=True))


def speakers(
    regions: Sequence[Region], made: Sequence[Turn], cells: Sequence[TimelineSegment], least: float
) -> dict[str, SpeakerSummary]:
    """Each speaker by name, in the order in which they first speak."""
    names = dict.fromkeys(turn.speaker for turn in made if turn.speaker is not None)
    summaries = {}
    for name in names:
        own = [r for r in regions if r.speaker == name]
        posterior = mean([(r.end - r.start, r.judged.probabilities) for r in own])
        label = max(posterior, key=posterior.__getitem__)
        parts = [c for c in cells if c.speaker == name]
        summaries[name] = SpeakerSummary(
            label if posterior[label] >= least else None,
            posterior[label],
            posterior,
            sum(r.end - r.start for r in own) / RATE,
            sum(turn.speaker == name for turn in made),
            shares(parts),
            change(parts),
        )
    return summaries
