"""What the names of folders and files hold: one emotion's word, as it is written there, or a speaker."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from undertone.labels.synonyms import emotions_in

__all__ = ["MOST", "emotions_of", "names_emotions", "names_speakers", "speaker_in"]

MOST = 0.95
"""Share of names that must fit a guess."""
SPEAKER = re.compile(
    r"(?i)(?<![a-z])((?:actor|actress|speaker|spkr?|subject|subj|participant|talker|sprecher|patient|caller)"
    r"(?:[-_ ]?\d+[a-z]?|[-_ ][0-9a-z]+))(?![0-9a-z])"
)
"""A part of a path that names a speaker outright: ``actor_03``, ``spk7``, ``speaker-anna``."""
NUMBER = re.compile(r"(?i)[a-z]{0,2}[-_ ]?\d+[a-z]?")


def emotions_of(names: Sequence[str]) -> list[str | None]:
    """The one emotion word of each name as it is written there; None where there is none, or several.

    A word that every name holds (somebody called Joy) tells none from another, so it does not count.

    >>> emotions_of(["joy_02_ANGRY_take1", "joy_03_sad", "joy_04"])
    ['ANGRY', 'sad', None]
    """
    held = [{word.casefold(): word for word in emotions_in(name)} for name in names]
    common = set.intersection(*map(set, held)) if len(held) > 1 else set()
    own = [[word for key, word in words.items() if key not in common] for words in held]
    return [words[0] if len(words) == 1 else None for words in own]


def names_emotions(names: Iterable[str], share: float = 0.5) -> bool:
    """Whether there are several names, each counted once, and this share of them holds an emotion word."""
    each = sorted(set(names))
    return len(each) > 1 and sum(word is not None for word in emotions_of(each)) >= share * len(each)


def speaker_in(path: str) -> str | None:
    """The part of a path that names its speaker outright, None where there is none."""
    match = SPEAKER.search(path)
    return match[1].casefold() if match else None


def names_speakers(names: Iterable[str]) -> bool:
    """Whether nearly all of the names read as those of speakers: by a word for it, or as bare numbers."""
    each = set(names)
    fits = sum(bool(speaker_in(name) or NUMBER.fullmatch(name)) for name in each)
    return fits >= MOST * len(each)
