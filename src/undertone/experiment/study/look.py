"""What the clips hold, in numbers; and what in them lets no result be trusted, with the way out."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from pathlib import PurePosixPath
from typing import Any

from undertone import manifest as manifests
from undertone import splits
from undertone.auditing.words import same_words
from undertone.errors import LabelError, ProtocolError
from undertone.features.english import not_english
from undertone.labels import in_order
from undertone.manifest import Manifest
from undertone.splits import BY_VOICES
from undertone.types import Utterance

__all__ = ["FEW", "Survey", "refuse", "survey"]

FEWEST, EACH = 20, 4
"""Clips, and clips of a class, below which nothing is measured."""
FEW = 150
"""Clips below which large networks are not worth their time."""
SPEAKERS = 3
"""One to test, one to choose, one to train."""
FIXED = 0.8
"""Where so many clips have a sentence that another class has too, the words are read from a list."""
ENGLISH = 0.8
SAMPLE = 300
"""Sentences whose language is looked at."""


@dataclass(frozen=True)
class Survey:
    """Counts of clips that have labels."""

    clips: int
    seconds: float
    classes: Mapping[str, int]
    speakers: Mapping[str, int]
    groups: int
    """Speakers who share no dialogue or recording with each other."""
    by_voice: bool
    """The speakers are clusters of voices."""
    worded: int
    """Clips with words."""
    sentences: int
    language: str
    """``en``, another code, ``not en``; empty where there are no words."""
    fixed: bool
    """The same sentences are spoken in every class, so that words say nothing of it."""
    timed: int
    """Clips whose words have times."""

    def plain(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)

    @property
    def no_words(self) -> str:
        """Why words are of no use here; empty where they are."""
        if self.worded < self.clips / 2:
            return f"{self.worded} of {self.clips} clips have words (--asr recognises English)"
        if self.fixed:
            which = "one sentence is" if self.sentences == 1 else f"same {self.sentences} sentences are"
            return f"the {which} spoken in every class"
        if self.language != "en":
            return "the text encoder in the box reads English, these words are of another language"
        return ""

    def lines(self) -> Iterator[str]:
        """What a person wants to know of it."""
        yield f"{self.clips} clips with labels, {self.seconds / 60:.1f} minutes"
        yield "classes: " + " · ".join(f"{name} {n}" for name, n in self.classes.items())
        kind = "speakers (clusters of voices)" if self.by_voice else "speakers"
        least, most = min(self.speakers.values()), max(self.speakers.values())
        each = f"{least}" if least == most else f"{least} to {most}"
        yield f"{kind}: {len(self.speakers)}, {each} clips each"
        language = {"en": "English", "not en": "not English"}.get(self.language, self.language)
        words = f"{self.sentences} sentences in {self.worded} clips, {language}" if self.worded else "none"
        yield f"words: {words}" + (f"; {self.timed} clips have their times" if self.timed else "")


def survey(manifest: Manifest) -> Survey:
    """The survey of a manifest's labelled utterances; headers of recordings are opened for their lengths."""
    kept = [u for u in manifest.resolved() if u.label is not None]
    counted = manifests.statistics(Manifest(manifest.path, tuple(kept), manifest.meta))
    labels = Counter(str(u.label) for u in kept)
    words = [(same_words(u.text), str(u.label)) for u in kept if u.text]
    return Survey(
        clips=len(kept),
        seconds=counted.seconds,
        classes={name: labels[name] for name in in_order(labels)},
        speakers=counted.speakers,
        groups=splits.count_groups(kept) if counted.speakers else 0,
        by_voice=any(u.extra.get(BY_VOICES) for u in kept),
        worded=len(words),
        sentences=len({text for text, _ in words}),
        language=_language(kept),
        fixed=_fixed(words),
        timed=counted.tiers["word"],
    )


def _language(utterances: Sequence[Utterance]) -> str:
    spoken = [u for u in utterances if u.text]
    if not spoken:
        return ""
    named = Counter((u.language or "").lower()[:2] for u in spoken)
    if (code := named.most_common(1)[0][0]) and named[code] > len(spoken) / 2:
        return code
    texts = sorted({str(u.text) for u in spoken})
    some = texts[:: max(1, len(texts) // SAMPLE)]
    return "en" if sum(not_english(text) is None for text in some) >= ENGLISH * len(some) else "not en"


def _fixed(words: Sequence[tuple[str, str]]) -> bool:
    classes: dict[str, set[str]] = defaultdict(set)
    for text, label in words:
        classes[text].add(label)
    return bool(words) and sum(len(classes[text]) > 1 for text, _ in words) >= FIXED * len(words)


# ---- what cannot be trusted -----------------------------------------------------------------------------


def refuse(manifest: Manifest) -> None:
    """An error that names what keeps any result on these clips from being trusted, and what can be done."""
    kept = [u for u in manifest.utterances if u.label is not None]
    labels = Counter(str(u.label) for u in kept)
    strange = {label: what for label, what in manifests.unknown_labels(manifest).items() if label in labels}
    if strange:
        label, what = next(iter(strange.items()))
        raise LabelError(f"{what}; --label-map {label}=OTHER renames it, --label-map {label}= leaves it out")
    if len(labels) < 2:
        raise LabelError(
            f"{len(labels)} class{'' if len(labels) == 1 else 'es'} ({', '.join(labels) or 'no labels'}): at "
            "least two are needed; --label-from says where they are"
        )
    if rare := [name for name in labels if labels[name] < EACH]:
        clips = "1 clip" if labels[rare[0]] == 1 else f"{labels[rare[0]]} clips"
        near = get_close_matches(rare[0], sorted(set(labels) - set(rare)), n=1)
        raise LabelError(
            f"class '{rare[0]}' has {clips}, at least {EACH} are needed: --label-map "
            f"{rare[0]}={(*near, 'OTHER')[0]} joins it to another, --label-map {rare[0]}= leaves it out"
        )
    if len(kept) < FEWEST:
        raise ProtocolError(f"{len(kept)} clips with labels: below {FEWEST} no figure means anything")
    _refuse_speakers(kept)


def _refuse_speakers(kept: Sequence[Utterance]) -> None:
    lacking = [u for u in kept if not u.speaker]
    if lacking:
        raise ProtocolError(
            f"{len(lacking)} of {len(kept)} clips have no speaker, first '{lacking[0].id}': tested on "
            f"speakers that it was trained on, a model looks better than it is. {_ways(kept)}"
        )
    if (number := splits.count_groups(kept)) < SPEAKERS:
        raise ProtocolError(
            f"{number} speaker{'' if number == 1 else 's'} who share no dialogue or recording: {SPEAKERS} "
            "are needed, to train, to choose and to test on different ones; --speaker-from names them anew"
        )
    classes: dict[str, set[str]] = defaultdict(set)
    for utterance in kept:
        classes[str(utterance.speaker)].add(str(utterance.label))
    if all(len(each) == 1 for each in classes.values()):
        raise ProtocolError(
            "each speaker has clips of one class alone: a model would learn who speaks, not how; is "
            "--speaker-from right?"
        )


def _ways(kept: Sequence[Utterance]) -> str:
    tries = [f"--speaker-from '{option}' would give {number}" for option, number in _candidates(kept)]
    own = "; ".join(tries[:2])
    return (
        (f"{own}. " if own else "")
        + "--speaker-from takes a column, 'folder', or a REGEX over paths; --speaker-from voices makes "
        "clusters of like voices, which every figure then states"
    )


def _candidates(kept: Sequence[Utterance]) -> Iterator[tuple[str, int]]:
    """Options that would give a plausible number of speakers: columns, then parts of the names."""
    for column in sorted({name for u in kept for name in u.extra}):
        values = [str(u.extra.get(column, "")) for u in kept]
        if _plausible(values, kept):
            yield column, len(set(values))
    stems = [PurePosixPath(u.audio).stem for u in kept]
    for mark in ("_", "-", ".", " "):
        pieces = [stem.split(mark) for stem in stems]
        for place in range(min(map(len, pieces))):
            values = [piece[place] for piece in pieces]
            if len(pieces[0]) > 1 and _plausible(values, kept):
                before = f"(?:[^{mark}/]+{re.escape(mark)}){{{place}}}" if place else ""
                yield f"(?:^|/){before}([^{mark}/]+)[^/]*$", len(set(values))


def _plausible(values: Sequence[str], kept: Sequence[Utterance]) -> bool:
    """As of speakers: several, with several clips and classes each."""
    classes: dict[str, set[str]] = defaultdict(set)
    for value, utterance in zip(values, kept, strict=True):
        classes[value].add(str(utterance.label))
    several = sum(len(each) > 1 for each in classes.values())
    return SPEAKERS <= len(classes) <= len(kept) / 5 and several >= 0.8 * len(classes)
