"""Every problem of a manifest, with the utterance it concerns."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from undertone import audio
from undertone.errors import AudioError
from undertone.manifest.files import Manifest
from undertone.types import TIERS, Alignment, Seconds, Segment, Tier, Utterance

__all__ = ["Problem", "validate"]

ROUNDING: Seconds = 0.001
"""Times are often written with three places: what is nearer than this is taken as equal."""

FRAME: Seconds = 0.03
"""How far a boundary may lie behind the recording's end: aligners pad to whole analysis windows."""


Kind = Literal["id", "audio", "time", "label", "alignment"]


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with one utterance."""

    id: str
    what: str
    kind: Kind

    def __str__(self) -> str:
        return f"{self.id}: {self.what}"


def validate(manifest: Manifest, *, recordings: bool = True) -> list[Problem]:
    """Every problem, in the order of the lines; ``recordings=False`` leaves the audio unopened."""
    return list(_problems(manifest, recordings))


def _problems(manifest: Manifest, recordings: bool) -> Iterator[Problem]:
    times = Counter(u.id for u in manifest.utterances)
    repeated = {name for name, n in times.items() if n > 1}
    lengths: dict[str, Seconds | AudioError] = {}
    for utterance in manifest.resolved():
        if utterance.id in repeated:
            yield Problem(utterance.id, f"the id stands {times[utterance.id]} times", "id")
            repeated.remove(utterance.id)
        length = _length(utterance.audio, lengths) if recordings else None
        if isinstance(length, AudioError):
            yield Problem(utterance.id, str(length), "audio")
            length = None
        for kind, problems in _wrong(utterance, length, manifest.meta.classes):
            yield from (Problem(utterance.id, what, kind) for what in problems)


def _length(ref: str, known: dict[str, Seconds | AudioError]) -> Seconds | AudioError:
    """The duration of a recording, read once however many utterances are cut from it."""
    if ref not in known:
        try:
            known[ref] = audio.check(ref).duration
        except AudioError as error:
            known[ref] = error
    return known[ref]


def _wrong(
    utterance: Utterance, length: Seconds | None, classes: tuple[str, ...]
) -> Iterator[tuple[Kind, Iterator[str]]]:
    yield "time", _wrong_times(utterance, length)
    yield "label", _wrong_labels(utterance, classes)
    if utterance.alignment is not None:
        end = utterance.duration
        if end is None and length is not None:
            end = length - (utterance.start or 0.0)
        yield "alignment", _wrong_tiers(utterance.alignment, end, utterance.text)


def _wrong_times(utterance: Utterance, length: Seconds | None) -> Iterator[str]:
    start, end = utterance.start or 0.0, utterance.end
    if start < 0:
        yield f"starts before its recording, at {start:g} s"
    if end is not None and end <= start:
        yield f"ends at {end:g} s, not after its start at {start:g} s"
    if length is None:
        return
    if start >= length:
        yield f"starts at {start:g} s, after the end of the recording at {length:.3f} s"
    elif end is not None and end > length + audio.SLACK:
        yield f"ends at {end:g} s, after the end of the recording at {length:.3f} s"


def _wrong_labels(utterance: Utterance, classes: tuple[str, ...]) -> Iterator[str]:
    named = [utterance.label] if utterance.label is not None else []
    for label in [*named, *utterance.votes] if classes else []:
        if label not in classes:
            yield f"unknown label '{label}'; the manifest's labels are {', '.join(classes)}"


def _wrong_tiers(alignment: Alignment, end: Seconds | None, text: str | None) -> Iterator[str]:
    for tier in alignment.tiers:
        yield from _wrong_segments(tier, alignment.tier(tier), end, text)
    present = [tier for tier in TIERS if alignment.tier(tier)]
    for coarse, fine in pairwise(present):
        yield from _not_nested(coarse, alignment.tier(coarse), fine, alignment.tier(fine))


def _wrong_segments(
    tier: Tier, segments: tuple[Segment, ...], end: Seconds | None, text: str | None
) -> Iterator[str]:
    for i, segment in enumerate(segments):
        name = f"{tier} {i} '{segment.text}'"
        if segment.end <= segment.start:
            yield f"{name} ends at {segment.end:g} s, not after its start at {segment.start:g} s"
        if segment.start < 0:
            yield f"{name} starts before the utterance, at {segment.start:g} s"
        if end is not None and segment.end > end + FRAME:
            yield f"{name} ends at {segment.end:g} s, after the utterance's end at {end:.3f} s"
        if i and segment.start < segments[i - 1].end - ROUNDING:
            yield f"{name} overlaps the {tier} before it, '{segments[i - 1].text}'"
        if segment.chars is not None and text is not None:
            first, last = segment.chars
            if not 0 <= first <= last <= len(text):
                yield f"{name} points at characters {first} to {last} of a text of {len(text)}"


def _not_nested(
    coarse: Tier, outer: tuple[Segment, ...], fine: Tier, inner: tuple[Segment, ...]
) -> Iterator[str]:
    """Segments of the finer tier that reach out of the coarser one's, or lie between them."""
    ordered = sorted(outer, key=lambda segment: segment.start)
    starts = [segment.start for segment in ordered]
    for i, segment in enumerate(inner):
        at = bisect_right(starts, segment.start + ROUNDING) - 1
        if at < 0 or segment.end > ordered[at].end + ROUNDING:
            yield f"{fine} {i} '{segment.text}' lies in no {coarse}"
