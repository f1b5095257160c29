"""The audit: what leaks in a manifest, and in a split of it where there is one."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from statistics import median
from typing import Any, Literal

from undertone.auditing.seen import Seen, seen_texts
from undertone.auditing.sounds import Twins, twins
from undertone.progress import Watch
from undertone.splits import PARTS, Fold, Split
from undertone.types import Utterance

__all__ = ["Audit", "Finding", "examine"]

EXAMPLES = 5
STILL = 1.0
"""Seconds of silence around a recording's sound, in the median, above which a reader is warned."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing a reader of the results must know."""

    kind: str
    """``speaker``, ``dialogue``, ``recording``, ``audio``, ``silence``, ``text``, ``label``."""
    level: Literal["leak", "warning", "note"]
    """A *leak* breaks the protocol, a *warning* is known to flatter a result, a *note* informs."""
    says: str
    examples: tuple[str, ...] = ()
    numbers: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Audit:
    """All findings, worst first, and how many utterances of each label every part of a fold has."""

    utterances: int
    protocol: str | None
    split: str | None
    """The hash of the folds."""
    stamps: tuple[str, ...]
    findings: tuple[Finding, ...]
    balance: Mapping[str, Mapping[str, Mapping[str, int]]]
    """Fold → part → label → utterances."""

    @property
    def leaks(self) -> tuple[Finding, ...]:
        return tuple(f for f in self.findings if f.level == "leak")

    @property
    def lines(self) -> tuple[str, ...]:
        """One line a finding, for a protocol card."""
        return tuple(f"{f.level}: {f.says}" for f in self.findings)

    def plain(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)


def examine(
    utterances: Sequence[Utterance],
    split: Split | None = None,
    *,
    recordings: bool = True,
    jobs: int = 1,
    watch: Watch | None = None,
) -> Audit:
    """The findings about utterances whose audio paths are absolute.

    Without a split, texts are compared between sessions where the corpus has them. ``recordings=False``
    leaves the audio unopened; ``watch`` is called after each recording.
    """
    folds = split.folds if split else ()
    balance = _balance(utterances, folds)
    # where epochs are chosen on the test part, the two are one part: it is not compared with itself
    folds = tuple(replace(f, validation=()) if f.validation == f.test else f for f in folds)
    findings: list[Finding] = []
    if split:
        split.check(u.id for u in utterances)
        findings += _crossings(utterances, replace(split, folds=folds))
    if recordings:
        findings += _audio(utterances, folds, twins(utterances, jobs=jobs, watch=watch))
    findings += [_text(counts) for counts in seen_texts(utterances, folds)]
    findings += _gaps(balance)
    order = ("leak", "warning", "note")
    return Audit(
        utterances=len(utterances),
        protocol=split.protocol if split else None,
        split=split.hash if split else None,
        stamps=split.stamps if split else (),
        findings=tuple(sorted(findings, key=lambda f: order.index(f.level))),
        balance=balance,
    )


def _crossings(utterances: Sequence[Utterance], split: Split) -> list[Finding]:
    """Speakers, dialogues and recordings that two parts of a fold share."""
    level: Literal["leak", "warning"] = (
        "warning" if split.protocol in ("emobox", "fixed", "lospo") else "leak"
    )
    findings = []
    for kind, attribute in (("speaker", "speaker"), ("dialogue", "dialogue"), ("recording", "audio")):
        names = {u.id: getattr(u, attribute) for u in utterances if getattr(u, attribute)}
        crossing: dict[tuple[str, str], set[str]] = defaultdict(set)
        for fold in split.folds:
            inside = {part: {names[i] for i in fold.part(part) if i in names} for part in PARTS}
            for one, two in (("train", "validation"), ("train", "test"), ("validation", "test")):
                crossing[one, two] |= inside[one] & inside[two]
        for (one, two), shared in crossing.items():
            if shared:
                says = f"{_count(len(shared), kind)} in both the {one} and the {two} part of a fold"
                findings.append(Finding(kind, level, says, _some(sorted(shared)), {"count": len(shared)}))
    return findings


def _audio(utterances: Sequence[Utterance], folds: Iterable[Fold], same: Twins) -> list[Finding]:
    parts = [{i: part for part in PARTS for i in fold.part(part)} for fold in folds]
    by_id = {u.id: u for u in utterances}

    def finding(groups: list[list[str]], how: str) -> Finding:
        crossing = [g for g in groups if any(len({p[i] for i in g if i in p}) > 1 for p in parts)]
        differing = [g for g in groups if len({by_id[i].label for i in g}) > 1]
        says = f"{_count(len(groups), 'group')} of {how} audio"
        says += f", {len(crossing)} in two parts of a fold" if parts else ""
        says += f", {len(differing)} with different labels" if differing else ""
        numbers = {"groups": len(groups), "crossing": len(crossing), "different_labels": len(differing)}
        examples = _some([" = ".join(g) for g in (crossing or groups)])
        return Finding("audio", "leak" if crossing else "warning", says, examples, numbers)

    findings = []
    if same.identical:
        findings.append(finding(same.identical, "identical"))
    if same.near:
        findings.append(finding([[a, b] for a, b, _ in same.near], "nearly identical"))
    if same.unread:
        says = f"{_count(len(same.unread), 'recording')} could not be read"
        findings.append(Finding("audio", "warning", says, _some(sorted(same.unread.values()))))
    if same.silent:
        says = f"{_count(len(same.silent), 'recording')} of silence alone"
        findings.append(Finding("audio", "warning", says, _some(same.silent)))
    if (still := median(same.still or [0.0])) > STILL:
        says = f"half of the recordings hold {still:.1f} s or more of silence around their sound, which"
        says += " `predict` does not judge: `prepare --spoken` leaves it out of training too"
        findings.append(Finding("silence", "warning", says, numbers={"still": still}))
    return findings


def _text(seen: Seen) -> Finding:
    """What share of one kind of utterances has words that occur elsewhere too."""
    says = (
        f"{seen.exact / seen.total:.1%} of {seen.total:,} {seen.kind} of at least {seen.least} words "
        f"occur word for word {seen.where}, {seen.near / seen.total:.1%} at least nearly"
    )
    if seen.labelled:
        says += f"; copying the twin's label is right {seen.copied / seen.labelled:.0%} of the time"
    if seen.short:
        says += f" ({seen.short:,} shorter ones repeat too)"
    numbers = {**asdict(seen), "exact_share": seen.exact / seen.total, "near_share": seen.near / seen.total}
    numbers.pop("examples")
    level: Literal["warning", "note"] = "warning" if seen.near else "note"
    return Finding("text", level, says, _some(seen.examples), numbers)


def _balance(utterances: Sequence[Utterance], folds: Iterable[Fold]) -> dict[str, dict[str, dict[str, int]]]:
    label = {u.id: u.label for u in utterances if u.label is not None}
    order = sorted(set(label.values()))
    counts = {
        fold.name: {part: Counter(label[i] for i in fold.part(part) if i in label) for part in PARTS}
        for fold in folds
    }
    return {
        name: {part: {c: count[c] for c in order} for part, count in parts.items()}
        for name, parts in counts.items()
    }


def _gaps(balance: Mapping[str, Mapping[str, Mapping[str, int]]]) -> list[Finding]:
    """Classes that a part lacks: there nothing is learnt, chosen or measured of them."""
    gaps = [
        f"{label} is missing from the {part} part of {name}"
        for name, parts in balance.items()
        for part, counts in parts.items()
        for label, count in counts.items()
        if not count
    ]
    return (
        [Finding("label", "warning", f"{_count(len(gaps), 'gap')} in the classes", _some(gaps))]
        if gaps
        else []
    )


def _some(names: Sequence[str]) -> tuple[str, ...]:
    more = [f"… and {len(names) - EXAMPLES:,} more"] if len(names) > EXAMPLES else []
    return (*names[:EXAMPLES], *more)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
