"""The spoken words of a transcript, and which characters each word came from.

>>> [(w.text, w.chars) for w in normalise("I can't pay $2.50 [laughter]")]
[('i', (0, 1)), ("can't", (2, 7)), ('pay', (8, 11)), ('two', (12, 17)), ('dollars', (12, 17)),
 ('and', (12, 17)), ('fifty', (12, 17)), ('cents', (12, 17))]

A hyphenated word gives its parts, each with its own characters; a number gives the words it
is read as, which share the number's characters. Tags, emoji and punctuation give nothing.
Spelled abbreviations give letters. No text is an error: what is not understood is left out.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher

from undertone.alignment.readings import LATIN, READERS
from undertone.types import Segment

__all__ = ["SpokenWord", "attach", "fold", "normalise"]


@dataclass(frozen=True, slots=True)
class SpokenWord:
    """One word to align: lower-case, letters and inner apostrophes; a stutter ends in ``-``."""

    text: str
    chars: tuple[int, int]
    """``transcript[a:b]`` is what it came from, never empty."""


def normalise(text: str, language: str | None = "en") -> tuple[SpokenWord, ...]:
    """The spoken words in order; numbers and abbreviations are read in English, else left out.

    In another ``language`` the rules for words are the same and numbers keep their digits.
    """
    english = language is None or language.lower().startswith("en")
    plain = _TAG.sub(lambda m: " " * len(m[0]), "".join(_PLAIN.get(c, c) for c in text))
    words: list[SpokenWord] = []
    for match in _TOKEN.finditer(plain):
        words.extend(_speak(match, plain, english))
    return tuple(words)


# ---- characters -------------------------------------------------------------------------------------

# one character for one, so that offsets stay true
_PLAIN = {
    **dict.fromkeys("\u2018\u2019\u201a\u201b\u02bc\u02b9\u2032\u0060\u00b4\uff07", "'"),
    **dict.fromkeys("\u201c\u201d\u201e\u201f\u00ab\u00bb\u2033", '"'),
    **dict.fromkeys("\u2010\u2011\u2012\ufe63\uff0d\u00ad", "-"),
    **dict.fromkeys("\u2013\u2014\u2015\u2212\u2026", " "),
    **dict.fromkeys("\t\n\r\v\f\x1c\x1d\x1e\x1f\x85", " "),  # every one of them is white space to a pattern
    **dict.fromkeys("\u00a0\u2007\u2009\u202f\u200b\u200c\u200d\ufeff", " "),
    **{chr(0xFF10 + i): str(i) for i in range(10)},
}
_NOISE = (
    r"\b(?:laugh|giggl|chuckl|sigh|cough|cry|sob|scream|breath|inaudible|unintelligible|whisper|gasp|sniff"
    r"|groan|clear|pause|mumbl|crosstalk|noise|music|applause)"
)
_TAG = re.compile(
    rf"\[[^\[\]]*\]|<[^<>]*>|\{{[^{{}}]*\}}|\+\+[^+]*\+\+|\([^()]*{_NOISE}[^()]*\)|\*[^*\n]*{_NOISE}[^*\n]*\*",
    re.IGNORECASE,
)

# ---- tokens -----------------------------------------------------------------------------------------

_L = r"[^\W\d_]"
_MARK = r"[\u0300-\u036f]"
_APOSTROPHE_FIRST = r"(?:'(?=(?:em|cause|til|till|tis|twas|bout|round|n)\b))"
_TOKEN = re.compile(
    rf"""
    (?P<money>[$£€¥]\s?\d+(?:,\d{{3}})*(?:\.\d+)?(?:\s?(?:thousand|million|billion|trillion|bn|[kmb])\b)?)
  | (?P<time>\b\d{{1,2}}:\d{{2}}(?::\d{{2}})?(?:\s?[ap]\.?\s?m\b\.?)?)
  | (?P<hour>\b\d{{1,2}}\s?[ap]\.?m\b\.?)
  | (?P<ordinal>\b\d+(?:,\d{{3}})*(?:st|nd|rd|th)\b)
  | (?P<decade>'?\b\d{{2,4}}'?s\b)
  | (?P<fraction>\b\d{{1,2}}/\d{{1,2}}\b(?!/))
  | (?P<number>(?:(?<![\w.])[-+])?(?:\d{{1,3}}(?:,\d{{3}})+|\d+)(?:\.\d+)?(?:\s?[%°])?|\.\d+)
  | (?P<dotted>\b(?:{_L}\.){{2,}}(?:{_L}\b)?)
  | (?P<abbreviation>\b(?:mrs?|ms|dr|prof|sr|jr|st|vs|etc|mt|lt|sgt|capt|gen|gov|rev|hon|approx|dept)\.)
  | (?P<word>{_APOSTROPHE_FIRST}?{_L}(?:{_L}|{_MARK})*(?:'{_L}(?:{_L}|{_MARK})*)*)
  | (?P<symbol>[&@+=%°])
    """,
    re.VERBOSE | re.IGNORECASE,
)

_APHAERESIS = {"'em": "them"}  # the others are words without their apostrophe
_SPELLED = frozenset("tv usa uk fbi cia dna atm cd dvd pc iq hiv nyc dc eu ceo phd vip diy ufo".split())
"""Read letter by letter although they have a vowel; capitals without one always are."""


def _speak(match: re.Match[str], text: str, english: bool) -> Iterator[SpokenWord]:
    kind, token = match.lastgroup or "", match[0]
    chars = match.span()
    if kind == "word":
        yield from _words(match, text, english)
        return
    if not english:
        if kind in {"dotted", "abbreviation"}:
            for part in re.finditer(_L + "+", token):
                yield SpokenWord(part[0].lower(), (chars[0] + part.start(), chars[0] + part.end()))
        elif kind != "symbol":
            yield from (
                SpokenWord(d[0], (chars[0] + d.start(), chars[0] + d.end()))
                for d in re.finditer(r"\d+", token)
            )
        return
    if kind == "dotted" and token.lower() not in LATIN:
        for part in re.finditer(_L, token):
            yield SpokenWord(part[0].lower(), (chars[0] + part.start(), chars[0] + part.end()))
        return
    for word in READERS[kind](token).split():
        yield SpokenWord(word, chars)


def _words(match: re.Match[str], text: str, english: bool) -> Iterator[SpokenWord]:
    token, (start, end) = match[0], match.span()
    lower = _lower(token)
    lower = _APHAERESIS.get(lower, lower.lstrip("'"))
    if _is_stutter(lower, text[end:]):
        yield SpokenWord(lower + "-", (start, end))
    elif english and _is_spelled(token, text):
        for i, letter in enumerate(lower):
            yield SpokenWord(letter, (start + i, start + i + 1))
    else:
        yield SpokenWord(lower, (start, end))


def _lower(token: str) -> str:
    """Lower-case with accents composed; a word of the transcript never becomes empty."""
    return unicodedata.normalize("NFC", token.lower()) or token


def _is_stutter(lower: str, rest: str) -> bool:
    """``b-`` of "b-but": a consonant or two, a hyphen, then a word that begins the same."""
    return (
        len(lower) <= 2
        and rest[:1] == "-"
        and not set(lower) & set("aeiouy")
        and rest[1 : 1 + len(lower)].lower() == lower
        and rest[1 + len(lower) : 2 + len(lower)].isalpha()
    )


def _is_spelled(token: str, text: str) -> bool:
    """An abbreviation that is read letter by letter: capitals without a vowel, or a known one."""
    if (
        not (token.isascii() and token.isalpha() and token.isupper() and 2 <= len(token) <= 5)
        or text.isupper()
    ):
        return False
    return token.lower() in _SPELLED or not set(token) & set("AEIOUY")


# ---- words that are already timed ------------------------------------------------------------------


def fold(word: str) -> str:
    """A word as dictionaries spell it: ASCII, lower-case, letters and apostrophes only.

    >>> fold("Café’s")
    "cafe's"
    """
    plain = "".join(_PLAIN.get(c, c) for c in unicodedata.normalize("NFKD", word))
    return re.sub(r"[^a-z']", "", plain.lower()).strip("'")


def attach(words: Sequence[Segment], text: str, language: str | None = "en") -> list[Segment]:
    """Timed words with their characters in ``text``, matched in order; None for a word that is not in it.

    A timed word that covers several spoken ones (``25``, ``a_lot``) takes the characters of all of them.
    """
    spoken = normalise(text, language)
    theirs, ours = [fold(w.text) or w.text.lower() for w in words], [fold(w.text) or w.text for w in spoken]
    result = list(words)
    for kind, a, b, c, d in SequenceMatcher(None, theirs, ours, autojunk=False).get_opcodes():
        for i in range(a, b):
            if kind == "equal" or (kind == "replace" and b - a == d - c):
                result[i] = replace(words[i], chars=spoken[c + i - a].chars)
            elif kind == "replace":
                first, last = c + (i - a) * (d - c) // (b - a), c + ((i + 1 - a) * (d - c) - 1) // (b - a)
                result[i] = replace(
                    words[i], chars=(spoken[first].chars[0], spoken[max(first, last)].chars[1])
                )
    return result
