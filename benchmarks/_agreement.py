"""Boundaries of an aligner against those that people marked in a sample of TIMIT."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from undertone import audio
from undertone.alignment.boundaries import LATENESS, Lateness, kind
from undertone.types import Alignment, Segment

NEAR = 0.05
"""Seconds: a boundary within them counts as right."""
SHRINK = 20
"""Observations' worth of pull of a pair of kinds towards the median of all."""


@dataclass
class Clip:
    """One utterance with the words and phones that people marked: start, end and name."""

    name: str
    speaker: str
    text: str
    wave: Any
    words: list[tuple[float, float]]
    phones: list[tuple[float, float, str]]
    damaged: bool
    """Whether samples are shifted by a byte: see ``shifted_from``."""


def clips(folder: Path, every: int) -> list[Clip]:
    """The utterances of the hand-labelled sample, every ``every``-th."""
    rows: dict[str, list[tuple[float, float, str]]] = defaultdict(list)
    for table, column in (("words.csv", "word"), ("phones.csv", "phone")):
        with (folder / table).open(encoding="utf-8") as file:
            for row in csv.DictReader(file):
                rows[table + row["path"]].append((float(row["start_s"]), float(row["end_s"]), row[column]))
    with (folder / "manifest.csv").open(encoding="utf-8") as file:
        listed = list(csv.DictReader(file))[::every]
    return [
        Clip(
            m["path"],
            m["speaker"],
            m["transcript"],
            audio.load(folder / m["path"]),
            [(a, b) for a, b, _ in rows["words.csv" + m["path"]]],
            rows["phones.csv" + m["path"]],
            shifted_from(folder / m["path"]) is not None,
        )
        for m in listed
    ]


def shifted_from(path: Path, block: int = 512) -> float | None:
    """The second from which the samples are shifted by one byte; None where they are sound.

    The published sample has such files: a byte is lost, and from there on each sample is made of halves of
    two, a loud noise that is much smoother when it is read one byte later.
    """
    import soundfile

    samples, rate = soundfile.read(path, dtype="int16")
    raw = samples.astype("<i2").tobytes()
    later = np.frombuffer(raw[1:-1], "<i2")

    def rough(values: Any) -> Any:
        whole = values[: len(values) // block * block].astype(float).reshape(-1, block)
        return np.abs(np.diff(whole, axis=1)).mean(axis=1)

    before, after = rough(samples[: len(later)]), rough(later)
    shifted = after < 0.5 * before
    return float(np.argmax(shifted) * block / rate) if shifted.any() else None


FOLD = {
    "ao": "aa", "ax": "ah", "ax-h": "ah", "axr": "er", "hv": "hh", "ix": "ih", "el": "l", "em": "m",
    "en": "n", "nx": "n", "eng": "ng", "zh": "sh", "ux": "uw", "dx": "t", "h#": "", "pau": "",
    "epi": "", "q": "",
}  # fmt: skip
"""61 phones to 39 (Lee & Hon 1989), silence and glottal stop left out; a flap is the dictionary's t."""


def fold(phone: str) -> str:
    """The phone's name among the 39."""
    bare = phone.lower().rstrip("012")
    return FOLD.get(bare, bare)


def joined(rows: Sequence[tuple[float, float, str]]) -> list[Segment]:
    """The folded phones, a closure and its release in one; an unreleased closure is its stop."""
    result: list[Segment] = []
    pending = False
    for start, end, phone in rows:
        if phone.endswith("cl"):
            result.append(Segment(phone[0], start, end))
            pending = True
            continue
        name = fold(phone)
        if pending and (result[-1].text, name) in {*((s, s) for s in "pbtdkg"), ("t", "ch"), ("d", "jh")}:
            result[-1] = Segment(name, result[-1].start, end)
        elif name:
            result.append(Segment(name, start, end))
        pending = False
    return result


def matches(reference: Sequence[str], aligned: Sequence[str]) -> list[tuple[int, int]]:
    """Index pairs along the cheapest edit path."""
    cost = np.zeros((len(reference) + 1, len(aligned) + 1), int)
    cost[:, 0], cost[0] = np.arange(len(cost)), np.arange(cost.shape[1])
    for i, r in enumerate(reference):
        for j, a in enumerate(aligned):
            cost[i + 1, j + 1] = min(cost[i, j] + (r != a), cost[i, j + 1] + 1, cost[i + 1, j] + 1)
    pairs, i, j = [], len(reference), len(aligned)
    while i and j:
        if cost[i, j] == cost[i - 1, j - 1] + (reference[i - 1] != aligned[j - 1]):
            i, j = i - 1, j - 1
            pairs.append((i, j))
        elif cost[i, j] == cost[i - 1, j] + 1:
            i -= 1
        else:
            j -= 1
    return pairs[::-1]


def word_errors(clip: Clip, alignment: Alignment) -> list[float]:
    """Signed errors of both edges of every word, seconds."""
    return [e for w, (a, b) in zip(alignment.word, clip.words, strict=True) for e in (w.start - a, w.end - b)]


def phone_errors(clip: Clip, alignment: Alignment) -> tuple[list[float], int, int, int]:
    """Signed errors of both edges of matching phones, and the numbers of phones, deletions, insertions."""
    truth = joined(clip.phones)
    names = [fold(p.text) for p in alignment.phone]
    pairs = matches([t.text for t in truth], names)
    same = [(truth[i], alignment.phone[j]) for i, j in pairs if truth[i].text == names[j]]
    errors = [e for t, p in same for e in (p.start - t.start, p.end - t.end)]
    return errors, len(truth), len(truth) - len(pairs), len(names) - len(pairs)


def share(errors: Sequence[float]) -> float:
    """The share of boundaries within ``NEAR``."""
    return float((np.abs(errors) <= NEAR).mean())


def median_ms(errors: Sequence[float]) -> float:
    """The median absolute error in milliseconds."""
    return float(np.median(np.abs(errors)) * 1000)


# ---- the table of offsets ----------------------------------------------------------------------------


def observations(clip: Clip, alignment: Alignment) -> Iterator[tuple[str, str, float]]:
    """Kinds left and right of every boundary that people marked, and how late the aligner's is."""
    phones = alignment.phone
    around = ["SIL", *(p.text for p in phones), "SIL"]
    after_pause = {i + 1 for i, (p, n) in enumerate(pairwise(phones)) if p.end != n.start}

    def around_phone(j: int) -> tuple[str, str]:
        left = "SIL" if j in after_pause else around[j]
        right = "SIL" if j + 1 in after_pause else around[j + 2]
        return kind(left), kind(right)

    truth = joined(clip.phones)
    names = [fold(p.text) for p in phones]
    for i, j in matches([t.text for t in truth], names):
        if truth[i].text == names[j]:
            left, right = around_phone(j)
            yield left, kind(phones[j].text), phones[j].start - truth[i].start
            yield kind(phones[j].text), right, phones[j].end - truth[i].end
    for w, (a, b) in zip(alignment.word, clip.words, strict=True):
        own = [j for j, p in enumerate(phones) if w.start <= p.start and p.end <= w.end]
        yield around_phone(own[0])[0], kind(phones[own[0]].text), w.start - a
        yield kind(phones[own[-1]].text), around_phone(own[-1])[1], w.end - b


def fitted(rows: Sequence[tuple[str, str, float]]) -> Lateness:
    """The table of offsets, milliseconds."""
    by_pair = defaultdict(list)
    for left, right, late in rows:
        by_pair[left, right].append(late * 1000)
    common = float(np.median([late * 1000 for *_, late in rows]))

    def pull(values: list[float]) -> float:
        return (float(np.median(values)) * len(values) + common * SHRINK) / (len(values) + SHRINK)

    return {a: {b: pull(by_pair[a, b]) if (a, b) in by_pair else common for b in LATENESS} for a in LATENESS}
