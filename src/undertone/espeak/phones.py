"""How a word is pronounced: espeak-ng's IPA as ARPABET phones."""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Iterator

from undertone.errors import ConfigError
from undertone.espeak.library import LOCK, library

__all__ = ["STOPS", "arpabet", "clean", "pronounce"]

STOPS = frozenset("P B T D K G CH JH".split())

_STRESS = {"ˈ": "1", "ˌ": "2"}
_VOWELS = frozenset("AA AE AH AO AW AY EH ER EY IH IY OW OY UH UW".split())
_ARPABET = {
    # diphthongs and affricates first: two letters are tried before one
    "eɪ": "EY", "aɪ": "AY", "aʊ": "AW", "oʊ": "OW", "əʊ": "OW", "ɔɪ": "OY", "ɔø": "OY", "ɔʏ": "OY",
    "tʃ": "CH", "dʒ": "JH", "ts": "T S", "pf": "P F",
    "ɑ": "AA", "ɒ": "AA", "æ": "AE", "a": "AA", "ʌ": "AH", "ə": "AH", "ɐ": "AH", "ɔ": "AO", "o": "OW",
    "ɛ": "EH", "e": "EY", "ɚ": "ER", "ɜ": "ER", "ɝ": "ER", "ø": "ER", "œ": "ER", "ɪ": "IH", "ᵻ": "IH",
    "ɨ": "IH", "i": "IY", "y": "IY", "ʏ": "IH", "ʊ": "UH", "u": "UW", "ɯ": "UW", "ɘ": "AH", "ɵ": "AH",
    "p": "P", "b": "B", "t": "T", "d": "D", "k": "K", "ɡ": "G", "g": "G", "c": "K", "q": "K", "ʔ": "T",
    "ʈ": "T", "ɖ": "D", "ɟ": "G", "ɾ": "T", "f": "F", "v": "V", "θ": "TH", "ð": "DH", "s": "S", "z": "Z",
    "ʃ": "SH", "ʒ": "ZH", "ʂ": "SH", "ʐ": "ZH", "ɕ": "SH", "ʑ": "ZH", "ç": "HH", "x": "K", "χ": "K",
    "ɣ": "G", "h": "HH", "ɦ": "HH", "β": "V", "ɸ": "F", "m": "M", "n": "N", "ŋ": "NG", "ɲ": "N Y",
    "ɳ": "N", "l": "L", "ɫ": "L", "ɬ": "L", "ʎ": "L Y", "ɭ": "L", "ɹ": "R", "r": "R", "ʁ": "R", "ɻ": "R",
    "ɽ": "R", "j": "Y", "w": "W", "ʍ": "W", "ɥ": "W", "ʋ": "V",
}  # fmt: skip


def pronounce(word: str, language: str = "en-us") -> list[str]:
    """ARPABET phones of a word, vowels with their stress: 0 none, 1 main, 2 secondary.

    Never fails on a strange word; ``[]`` where there is nothing to pronounce.

    >>> pronounce("gloomy")  # doctest: +SKIP
    ['G', 'L', 'UW1', 'M', 'IY0']
    """
    text = " ".join(clean(word).split())
    return arpabet(_ipa(text, language)) if text else []


def arpabet(ipa: str) -> list[str]:
    """ARPABET of an IPA string as espeak-ng writes it; letters that are not in the table are left out.

    >>> arpabet("ɡlˈuːmi")
    ['G', 'L', 'UW1', 'M', 'IY0']
    >>> arpabet("nˈɔːɹθ")
    ['N', 'AO1', 'R', 'TH']
    """
    letters = "".join(_letters(ipa))
    phones, stress, at = [], "0", 0
    while at < len(letters):
        if letters[at] in _STRESS:
            stress, at = _STRESS[letters[at]], at + 1
            continue
        for size in (2, 1):
            names = _ARPABET.get(letters[at : at + size])
            if names is not None and len(letters[at : at + size]) == size:
                break
        for name in (names or "").split():
            vowel = name in _VOWELS
            phones.append(name + stress if vowel else name)
            stress = "0" if vowel else stress
        at += size
    return phones


def clean(text: str) -> str:
    """The text without the control characters that espeak-ng would take for commands."""
    return "".join(" " if unicodedata.category(c) in ("Cc", "Cs") else c for c in text)


@functools.lru_cache(maxsize=65536)
def _ipa(text: str, language: str) -> str:
    with LOCK:
        espeak = library()
        for name in (language, language.split("-")[0], "en-us"):
            try:
                espeak.use_voice(name)
            except ConfigError:
                continue
            return espeak.phonemes(text)
    raise AssertionError("espeak-ng always has an English voice")


def _letters(ipa: str) -> Iterator[str]:
    """The letters without length and quality marks; a syllabic consonant gets its vowel before it."""
    last = ""
    for letter in unicodedata.normalize("NFD", ipa):
        if letter == "\u0329":  # the syllabic mark stands under its consonant
            last = "ə" + last
        elif unicodedata.category(letter) != "Mn" and letter not in "ːˑ͡ʲʰˠ":
            yield last
            last = letter
    yield last
