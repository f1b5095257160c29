"""What is in a manifest, in numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from undertone import audio
from undertone.errors import AudioError
from undertone.labels import in_order
from undertone.manifest.files import Manifest
from undertone.types import TIERS, Seconds, Utterance

__all__ = ["Statistics", "statistics"]


@dataclass(frozen=True)
class Statistics:
    """Counts of a manifest; each mapping goes from a name to a number of utterances."""

    utterances: int
    seconds: Seconds
    """Summed over the utterances whose length is known."""
    timed: int
    """How many those are: a recording that cannot be read has no length."""
    recordings: int
    dialogues: int
    speakers: Mapping[str, int]
    sessions: Mapping[str, int]
    labels: Mapping[str, int]
    """In the order of the label space."""
    unlabelled: int
    text_sources: Mapping[str, int]
    languages: Mapping[str, int]
    tiers: Mapping[str, int]
    """For each tier, the utterances that have it."""
    segments: Mapping[str, int]
    """For each tier, its segments."""

    def plain(self) -> dict[str, Any]:
        return asdict(self)


def statistics(manifest: Manifest) -> Statistics:
    """Counts of a manifest; opens the headers of recordings whose utterances have no end."""
    utterances = manifest.resolved()
    durations = [d for d in _durations(utterances) if d is not None]
    labels = Counter(u.label for u in utterances if u.label is not None)
    order = manifest.meta.classes or in_order(labels)
    return Statistics(
        utterances=len(utterances),
        seconds=round(sum(durations), 3),
        timed=len(durations),
        recordings=len({u.audio for u in utterances}),
        dialogues=len({u.dialogue for u in utterances if u.dialogue is not None}),
        speakers=_counts(u.speaker for u in utterances),
        sessions=_counts(u.session for u in utterances),
        labels={name: labels[name] for name in (*order, *sorted(set(labels) - set(order)))},
        unlabelled=sum(u.label is None for u in utterances),
        text_sources=_counts(u.text_source or "unknown" for u in utterances if u.text),
        languages=_counts(u.language for u in utterances),
        tiers={t: sum(bool(u.alignment and u.alignment.tier(t)) for u in utterances) for t in TIERS},
        segments={t: sum(len(u.alignment.tier(t)) for u in utterances if u.alignment) for t in TIERS},
    )


def _counts(values: Iterable[str | None]) -> dict[str, int]:
    counts = Counter(value for value in values if value is not None)
    return {name: counts[name] for name in sorted(counts)}


def _durations(utterances: Iterable[Utterance]) -> Iterable[Seconds | None]:
    known: dict[str, Seconds | None] = {}
    for utterance in utterances:
        if utterance.duration is not None:
            yield utterance.duration
            continue
        if utterance.audio not in known:
            known[utterance.audio] = _length(utterance.audio)
        length = known[utterance.audio]
        yield None if length is None else max(0.0, length - (utterance.start or 0.0))


def _length(ref: str) -> Seconds | None:
    try:
        return audio.info(ref).duration
    except AudioError:
        return None
