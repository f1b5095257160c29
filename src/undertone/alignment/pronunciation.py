"""Pronunciations in ARPABET: from a dictionary, else espeak-ng, else the letters; never an exception.

>>> Lexicon({"cat": [["K", "AE", "T"]]}).variants("Cats")
[['K', 'AE', 'T', 'S']]
"""

from __future__ import annotations

import functools
import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from undertone.alignment.syllables import is_nucleus
from undertone.alignment.transcript import fold
from undertone.errors import UndertoneError

__all__ = ["Lexicon", "UNKNOWN", "bare", "by_letters", "english", "read_dictionary", "stressed"]

_log = logging.getLogger(__name__)
Pronunciation: TypeAlias = list[str]

UNKNOWN = "+SPN+"
"""The model's phone for unintelligible speech; a word without any pronunciation is aligned to it."""


class Lexicon:
    """Pronunciations of words, without stress, best first; it keeps its guesses."""

    def __init__(self, entries: Mapping[str, list[Pronunciation]]) -> None:
        self.entries = entries
        self.guessed: dict[str, Pronunciation] = {}
        """The guessed pronunciations of words that the dictionary does not have."""

    def variants(self, word: str) -> list[Pronunciation]:
        """At least one pronunciation of at least one phone, whatever the word is."""
        if word.endswith("-"):  # a stutter: just its consonants
            return [by_letters(fold(word)) or [UNKNOWN]]
        name = fold(word)
        if listed := self._listed(name):
            return listed
        if word not in self.guessed:
            self.guessed[word] = self._guess(word, name)
        return [self.guessed[word]]

    def _listed(self, name: str) -> list[Pronunciation]:
        """From the dictionary: the word, the word without lengthened letters, or its stem with an ending."""
        for spelling in (name, re.sub(r"(.)\1{2,}", r"\1\1", name), re.sub(r"(.)\1{2,}", r"\1", name)):
            if spelling in self.entries:
                return self.entries[spelling]
        if name.endswith("in") and name + "g" in self.entries:  # goin'
            return [[*p[:-1], "N"] if p[-1] == "NG" else p for p in self.entries[name + "g"]]
        for ending in ("'s", "s'", "s"):
            stem = name.removesuffix(ending)
            if stem != name and stem in self.entries:
                return [[*p, *_plural(p[-1])] for p in self.entries[stem]]
        return []

    def _guess(self, word: str, name: str) -> Pronunciation:
        spoken = [bare(phone) for phone in _espeak(word)]
        return spoken or by_letters(name) or [UNKNOWN]


def _plural(last: str) -> list[str]:
    if last in {"S", "Z", "SH", "ZH", "CH", "JH"}:
        return ["IH", "Z"]
    return ["S"] if last in {"P", "T", "K", "F", "TH"} else ["Z"]


def bare(phone: str) -> str:
    """A phone without its stress."""
    return phone.rstrip("012")


@functools.lru_cache(maxsize=65536)
def _espeak(word: str) -> tuple[str, ...]:
    """espeak-ng's phones with stress; none, and one warning, where it is not installed."""
    try:
        from undertone.espeak import pronounce

        return tuple(pronounce(word))
    except UndertoneError as error:
        _warn_once(str(error))
        return ()


@functools.cache
def _warn_once(reason: str) -> None:
    _log.warning("words outside the dictionary are pronounced letter by letter: %s", reason)


def stressed(word: str, phones: Sequence[str]) -> Pronunciation:
    """The phones with espeak-ng's stress on their vowels; unchanged where it has another number of vowels.

    The dictionary itself has no stress.
    """
    theirs = [phone[-1] for phone in _espeak(word) if phone[-1] in "012"]
    vowels = [i for i, phone in enumerate(phones) if is_nucleus(phone)]
    if len(theirs) != len(vowels):
        return list(phones)
    result = list(phones)
    for i, digit in zip(vowels, theirs, strict=True):
        result[i] += digit
    return result


def read_dictionary(path: Path) -> dict[str, list[Pronunciation]]:
    """CMU's format: a word, spaces, phones; ``word(2)`` is another pronunciation of ``word``."""
    entries: dict[str, list[Pronunciation]] = {}
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            word, *phones = line.split()
            name = re.sub(r"\(\d+\)$", "", word).strip("'")
            spoken = [bare(p) for p in phones]
            if phones and spoken not in entries.setdefault(name, []):
                entries[name].append(spoken)
    return entries


@functools.cache
def english() -> Lexicon:
    """The dictionary that comes with pocketsphinx, read once a process."""
    from undertone.alignment.sphinx.hmm import model_folder

    return Lexicon(read_dictionary(model_folder() / "cmudict-en-us.dict"))


# longer spellings first; good enough to place a word in time, not to teach its pronunciation
_LETTERS = {
    "tch": "CH", "sch": "SH", "igh": "AY", "ough": "AO", "tion": "SH AH N", "sion": "ZH AH N",
    "ch": "CH", "sh": "SH", "th": "TH", "ph": "F", "wh": "W", "ck": "K", "qu": "K W", "ng": "NG",
    "gh": "G", "kn": "N", "wr": "R", "ee": "IY", "ea": "IY", "oo": "UW", "ou": "AW", "ow": "OW",
    "oi": "OY", "oy": "OY", "ai": "EY", "ay": "EY", "au": "AO", "aw": "AO", "ie": "IY", "ei": "EY",
    "er": "ER", "ir": "ER", "ur": "ER", "ar": "AA R", "or": "AO R", "a": "AE", "b": "B", "c": "K",
    "d": "D", "e": "EH", "f": "F", "g": "G", "h": "HH", "i": "IH", "j": "JH", "k": "K", "l": "L",
    "m": "M", "n": "N", "o": "AA", "p": "P", "q": "K", "r": "R", "s": "S", "t": "T", "u": "AH",
    "v": "V", "w": "W", "x": "K S", "y": "IY", "z": "Z",
}  # fmt: skip


def by_letters(word: str) -> Pronunciation:
    """A guess from the spelling alone.

    >>> by_letters("shook")
    ['SH', 'UW', 'K']
    """
    phones: list[str] = []
    letters = re.sub(r"(?<=[^aeiou'])e$", "", word) or word
    letters = re.sub(r"([b-df-hj-np-tv-z])\1", r"\1", letters)
    at = 0
    while at < len(letters):
        size = next((n for n in (4, 3, 2, 1) if letters[at : at + n] in _LETTERS), 0)
        if size:
            phones.extend(_LETTERS[letters[at : at + size]].split())
        at += size or 1
    return phones
