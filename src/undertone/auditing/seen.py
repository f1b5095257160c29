"""How many tested texts also occur in the other parts of the split, word for word or nearly."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from undertone.auditing.words import near_twins, same_words
from undertone.splits import Fold
from undertone.types import Utterance

__all__ = ["Seen", "seen_texts"]

LEAST = 4
"""Texts of fewer words ("oh, okay") repeat in any corpus and are only counted."""


@dataclass
class Seen:
    """Counts over the tested utterances of one kind (``scripted``, ``improvised``, plain) that have words."""

    kind: str
    where: str
    """What they were compared with."""
    least: int = LEAST
    total: int = 0
    exact: int = 0
    near: int = 0
    """Nearly or exactly."""
    verbatim: int = 0
    """Of the exact ones: those with the same case and punctuation too."""
    labelled: int = 0
    """Of the exact ones: those that have a label and a twin with one."""
    copied: int = 0
    """Of the labelled ones: those whose most frequent twin label is their own."""
    short: int = 0
    """Repeated ones of fewer than ``least`` words."""
    examples: list[str] = field(default_factory=list)


def seen_texts(utterances: Sequence[Utterance], folds: Iterable[Fold] = ()) -> list[Seen]:
    """Counts for each kind of utterance that has text; none for a corpus without."""
    by_id = {u.id: u for u in utterances if u.text and same_words(u.text)}
    if not by_id:
        return []
    words = {i: same_words(u.text or "") for i, u in by_id.items()}
    nearby = _neighbours(sorted({w for w in words.values() if len(w.split()) >= LEAST}))
    counts: dict[str, Seen] = {}
    for where, tested, others in _comparisons(by_id, list(folds)):
        elsewhere: dict[str, list[Utterance]] = defaultdict(list)
        for i in others:
            elsewhere[words[i]].append(by_id[i])
        for i in tested:
            seen = counts.setdefault(kind := _kind(by_id[i]), Seen(kind, where))
            _count(by_id[i], words[i], elsewhere, nearby, seen)
    return [counts[kind] for kind in sorted(counts) if counts[kind].total]


def _count(
    utterance: Utterance,
    words: str,
    elsewhere: dict[str, list[Utterance]],
    nearby: dict[str, list[str]],
    seen: Seen,
) -> None:
    twins = [u for u in elsewhere.get(words, ()) if u.id != utterance.id]
    if len(words.split()) < LEAST:
        seen.short += bool(twins)
        return
    seen.total += 1
    similar = [u for other in nearby.get(words, ()) for u in elsewhere.get(other, ())]
    seen.near += bool(twins or similar)
    seen.exact += bool(twins)
    seen.verbatim += any(u.text == utterance.text for u in twins)
    labels = Counter(u.label for u in sorted(twins, key=lambda u: u.id) if u.label is not None)
    if labels and utterance.label is not None:
        seen.labelled += 1
        seen.copied += labels.most_common(1)[0][0] == utterance.label
    if twins:
        seen.examples.append(f"{utterance.id} = {twins[0].id}: {utterance.text}")


def _comparisons(
    by_id: dict[str, Utterance], folds: list[Fold]
) -> Iterator[tuple[str, list[str], list[str]]]:
    """(where the others are, who is tested, who the others are)."""
    for fold in folds:
        others = [i for i in (*fold.train, *fold.validation) if i in by_id]
        yield "in another part of the split", [i for i in fold.test if i in by_id], others
    if folds:
        return
    sessions: dict[str | None, list[str]] = defaultdict(list)
    for i, utterance in by_id.items():
        sessions[utterance.session].append(i)
    if None in sessions or len(sessions) < 2:
        yield "elsewhere in the manifest", list(by_id), list(by_id)
        return
    for session, ids in sessions.items():
        yield "in another session", ids, [i for i in by_id if by_id[i].session != session]


def _kind(utterance: Utterance) -> str:
    scripted = utterance.extra.get("scripted")
    return "utterances" if scripted is None else f"{'scripted' if scripted else 'improvised'} utterances"


def _neighbours(texts: list[str]) -> dict[str, list[str]]:
    nearby: dict[str, list[str]] = defaultdict(list)
    for i, j, _ in near_twins(texts):
        nearby[texts[i]].append(texts[j])
        nearby[texts[j]].append(texts[i])
    return nearby
