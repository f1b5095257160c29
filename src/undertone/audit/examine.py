"""The audit: a manifest, and a split where there is one, looked through for whatever leaks."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from undertone.audit.seen import Seen, seen_texts
from undertone.audit.sounds import Twins, twins
from undertone.splits import SIDES, Fold, Split
from undertone.types import Utterance

__all__ = ["Audit", "Finding", "examine"]

EXAMPLES = 5


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing a reader of the results must know."""

    kind: str
    """``speaker``, ``dialogue``, ``recording``, ``audio``, ``text``, ``label``."""
    level: Literal["leak", "warning", "note"]
    """A *leak* breaks the protocol, a *warning* is known to flatter a result, a *note* informs."""
    says: str
    examples: tuple[str, ...] = ()
    numbers: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Audit:
    """Everything that was found, worst first, and who is where."""

    utterances: int
    protocol: str | None
    split: str | None
    """The hash of the folds."""
    stamps: tuple[str, ...]
    findings: tuple[Finding, ...]
    balance: Mapping[str, Mapping[str, Mapping[str, int]]]
    """Fold → side → label → utterances."""

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
    watch: Callable[[], None] | None = None,
) -> Audit:
    """Look through utterances whose audio paths are absolute.

    Without a split, texts are compared between sessions where the corpus has them. ``recordings=False``
    leaves the audio unopened; ``watch`` is called after each recording.
    """
    folds = split.folds if split else ()
    found: list[Finding] = []
    if split:
        split.check(u.id for u in utterances)
        found += _crossings(utterances, split)
    if recordings:
        found += _audio(utterances, folds, twins(utterances, jobs=jobs, watch=watch))
    found += [_text(seen) for seen in seen_texts(utterances, folds)]
    balance = _balance(utterances, folds)
    found += _gaps(balance)
    order = ("leak", "warning", "note")
    return Audit(
        utterances=len(utterances),
        protocol=split.protocol if split else None,
        split=split.hash if split else None,
        stamps=split.stamps if split else (),
        findings=tuple(sorted(found, key=lambda f: order.index(f.level))),
        balance=balance,
    )


def _crossings(utterances: Sequence[Utterance], split: Split) -> list[Finding]:
    """Speakers, dialogues and recordings on two sides of a fold."""
    level: Literal["leak", "warning"] = "warning" if split.protocol in ("fixed", "lospo") else "leak"
    found = []
    for kind, attribute in (("speaker", "speaker"), ("dialogue", "dialogue"), ("recording", "audio")):
        names = {u.id: getattr(u, attribute) for u in utterances if getattr(u, attribute)}
        crossing: dict[tuple[str, str], set[str]] = defaultdict(set)
        for fold in split.folds:
            sides = {side: {names[i] for i in fold.side(side) if i in names} for side in SIDES}
            for one, two in (("train", "validation"), ("train", "test"), ("validation", "test")):
                crossing[one, two] |= sides[one] & sides[two]
        for (one, two), shared in crossing.items():
            if shared:
                says = f"{_count(len(shared), kind)} on both the {one} and the {two} side of a fold"
                found.append(Finding(kind, level, says, _some(sorted(shared)), {"count": len(shared)}))
    return found


def _audio(utterances: Sequence[Utterance], folds: Iterable[Fold], found: Twins) -> list[Finding]:
    sides = [{i: side for side in SIDES for i in fold.side(side)} for fold in folds]
    by_id = {u.id: u for u in utterances}

    def finding(groups: list[list[str]], how: str) -> Finding:
        crossing = [g for g in groups if any(len({s[i] for i in g if i in s}) > 1 for s in sides)]
        quarrel = [g for g in groups if len({by_id[i].label for i in g}) > 1]
        says = f"{_count(len(groups), 'group')} of {how} audio"
        says += f", {len(crossing)} on two sides of a fold" if sides else ""
        says += f", {len(quarrel)} with different labels" if quarrel else ""
        numbers = {"groups": len(groups), "crossing": len(crossing), "different_labels": len(quarrel)}
        examples = _some([" = ".join(g) for g in (crossing or groups)])
        return Finding("audio", "leak" if crossing else "warning", says, examples, numbers)

    findings = []
    if found.identical:
        findings.append(finding(found.identical, "identical"))
    if found.near:
        findings.append(finding([[a, b] for a, b, _ in found.near], "nearly identical"))
    if found.unread:
        says = f"{_count(len(found.unread), 'recording')} could not be read"
        findings.append(Finding("audio", "warning", says, _some(sorted(found.unread.values()))))
    return findings


def _text(seen: Seen) -> Finding:
    """What part of one kind of utterances says what also stands elsewhere."""
    says = (
        f"{seen.exact / seen.total:.1%} of {seen.total:,} {seen.kind} of at least {seen.least} words "
        f"stand word for word {seen.where}, {seen.near / seen.total:.1%} at least nearly"
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
        fold.name: {side: Counter(label[i] for i in fold.side(side) if i in label) for side in SIDES}
        for fold in folds
    }
    return {
        name: {side: {c: count[c] for c in order} for side, count in sides.items()}
        for name, sides in counts.items()
    }


def _gaps(balance: Mapping[str, Mapping[str, Mapping[str, int]]]) -> list[Finding]:
    """Classes that a side lacks: nothing is learnt, chosen or measured of them there."""
    gaps = [
        f"{label} is missing from the {side} side of {name}"
        for name, sides in balance.items()
        for side, counts in sides.items()
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
