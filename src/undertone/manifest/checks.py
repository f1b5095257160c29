"""Every problem of a manifest, with the utterance it concerns."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import pairwise
from typing import Literal

from undertone import audio
from undertone.errors import AudioError, nearest
from undertone.labels import LABEL_SETS
from undertone.manifest.files import Manifest
from undertone.types import TIERS, Alignment, Seconds, Segment, Tier, Utterance

__all__ = ["Problem", "unknown_labels", "validate"]

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
    strange = unknown_labels(manifest)
    for utterance in manifest.resolved():
        if utterance.id in repeated:
            yield Problem(utterance.id, f"the id stands {times[utterance.id]} times", "id")
            repeated.remove(utterance.id)
        length = _length(utterance.audio, lengths) if recordings else None
        if isinstance(length, AudioError):
            yield Problem(utterance.id, str(length), "audio")
            length = None
        for kind, problems in _wrong(utterance, length, strange):
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
    utterance: Utterance, length: Seconds | None, strange: Mapping[str, str]
) -> Iterator[tuple[Kind, Iterator[str]]]:
    yield "time", _wrong_times(utterance, length)
    named = [utterance.label] if utterance.label is not None else []
    yield "label", (strange[label] for label in [*named, *utterance.votes] if label in strange)
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


def unknown_labels(manifest: Manifest) -> dict[str, str]:
    """Label → what is wrong with it: one that the manifest's set does not know, or a typing error.

    Labels of the user's own come from the utterances, and so do typing errors among them: a rare one that is
    nearly a frequent one is taken for one. A set that is named in the sidecar is believed.
    """
    meta, utterances = manifest.meta, manifest.utterances
    shipped = LABEL_SETS.get(meta.label_set or "")
    classes = meta.classes or (shipped.classes if shipped else ())
    counts = Counter(u.label for u in utterances if u.label is not None)
    used = dict.fromkeys([*counts, *(vote for u in utterances for vote in u.votes)])
    strange = {
        label: f"unknown label '{label}'{nearest(label, classes)}"
        for label in used
        if classes and label not in classes
    }
    if meta.label_set is None:
        strange |= {
            label: what for label in counts if label not in strange and (what := _typo(label, counts))
        }
    return strange


def _typo(label: str, counts: Counter[str]) -> str:
    """What is wrong with a label that is used once or hardly, and is nearly one that is used often."""
    for other, often in counts.items():
        rare = counts[label] * 20 <= often or (counts[label] == 1 and often >= 3)
        if label.casefold() == other.casefold() and (often, other) > (counts[label], label):
            return f"label '{label}' ({counts[label]}) and '{other}' ({often}) differ in capitals alone"
        if rare and SequenceMatcher(None, label.lower(), other.lower()).ratio() > 0.85:
            return (
                f"label '{label}' ({counts[label]}): did you mean '{other}' ({often})? "
                'Where both are meant, give the sidecar a "label_set" and "classes"'
            )
    return ""


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
