"""A word as tokens of a recogniser's vocabulary: letters or phones."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass

from undertone.alignment.pronunciation import bare, by_letters
from undertone.alignment.transcript import fold

__all__ = ["STAR", "Vocabulary"]

STAR = -1
"""The column of "any token": the last one of emissions with a star."""

_IPA = {
    "AA": "ɑː ɑ a", "AE": "æ", "AH": "ʌ ə ɐ", "AO": "ɔː ɔ", "AW": "aʊ", "AY": "aɪ", "EH": "ɛ", "ER": "ɜː ɚ ɝ",
    "EY": "eɪ e", "IH": "ɪ ᵻ", "IY": "iː i", "OW": "oʊ əʊ o", "OY": "ɔɪ", "UH": "ʊ", "UW": "uː u",
    "B": "b", "CH": "tʃ ʧ", "D": "d", "DH": "ð", "F": "f", "G": "ɡ g", "HH": "h", "JH": "dʒ ʤ", "K": "k",
    "L": "l", "M": "m", "N": "n", "NG": "ŋ", "P": "p", "R": "ɹ r", "S": "s", "SH": "ʃ", "T": "t", "TH": "θ",
    "V": "v", "W": "w", "Y": "j", "Z": "z", "ZH": "ʒ",
}  # fmt: skip
"""What ARPABET's phones may be called in IPA, best first."""


@dataclass(frozen=True)
class Vocabulary:
    """The tokens of a recogniser."""

    columns: Mapping[str, int]
    blank: int
    delimiter: int | None
    """The mark between words, None where the vocabulary has none."""
    phonetic: bool
    """Phones rather than letters."""

    @classmethod
    def of(cls, tokens: Mapping[str, int], blank: int, delimiter: str | None = "|") -> Vocabulary:
        """From the tokens; those of a recogniser of letters contain a to z."""
        lower = {token.lower() for token in tokens}
        letters = sum(chr(c) in lower for c in range(ord("a"), ord("z") + 1))
        phones = sum(
            name.lower() in lower or any(i in tokens for i in ipa.split()) for name, ipa in _IPA.items()
        )
        several = any(len(t) > 1 and t.isalpha() and not t.startswith(("<", "[")) for t in tokens)
        return cls(tokens, blank, tokens.get(delimiter or ""), phones > 20 and (several or letters < 20))

    def spell(self, word: str) -> list[tuple[int, str]]:
        """The word's tokens, column and name; a single star where it cannot be written."""
        pieces = self._phones(word) if self.phonetic else self._letters(word)
        return pieces or [(STAR, word)]

    def _letters(self, word: str) -> list[tuple[int, str]]:
        """Letter by letter, accents kept where the vocabulary has them; all of the word or nothing."""
        pieces = []
        for letter in word.rstrip("-"):
            column = self._letter(letter)
            if column is not None:
                pieces.append((column, letter))
            elif letter != "'":
                return []
        return pieces

    def _letter(self, letter: str) -> int | None:
        bare_letter = unicodedata.normalize("NFD", letter)[0]
        for name in (letter, letter.upper(), letter.lower(), bare_letter, bare_letter.upper()):
            if name in self.columns:
                return self.columns[name]
        return None

    def _phones(self, word: str) -> list[tuple[int, str]]:
        pieces = []
        for phone in _pronounced(word):
            names = [phone, bare(phone), bare(phone).lower(), *_IPA.get(bare(phone), "").split()]
            name = next((n for n in names if n in self.columns), None)
            if name is None:
                return []
            pieces.append((self.columns[name], name))
        return pieces


def _pronounced(word: str) -> list[str]:
    """The dictionary's first pronunciation; a guess where the dictionary is not installed."""
    from undertone.alignment.pronunciation import UNKNOWN, Lexicon, english
    from undertone.errors import MissingExtra

    try:
        lexicon = english()
    except MissingExtra:
        lexicon = Lexicon({})
    first = lexicon.variants(word)[0]
    return by_letters(fold(word)) if first == [UNKNOWN] else first
