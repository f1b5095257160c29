"""The only door to espeak-ng: speech with exact times, and how a word is pronounced.

The shared library of the package ``espeakng-loader`` is called in this process. Its events give the
sample at which every word and phone begins, so the times of what it says are known, not estimated.

espeak-ng keeps its state (noise, prosody settings) for the life of the process: the same words come out
slightly different the second time. Whoever needs the same bytes again makes them in a fresh process, in
the same order.
"""

from __future__ import annotations

import ctypes
import functools
import threading
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from undertone.errors import ConfigError, MissingExtra
from undertone.types import Alignment, Seconds, Segment

if TYPE_CHECKING:
    from undertone.types import Wave

__all__ = ["RATE", "Speech", "Spoken", "arpabet", "pronounce", "require", "synthesise"]

RATE = 22050
"""Samples a second of what espeak-ng makes."""

WORDS_PER_MINUTE = 175


@dataclass(frozen=True, slots=True)
class Spoken:
    """One word and how to say it."""

    text: str
    pitch: float = 0.0
    """Semitones by which the lowest pitch of the voice is raised, -12..12; its average moves by less."""
    spread: float = 1.0
    """Factor on the sentence's rises and falls, 0..2; 0 is a monotone."""
    rate: float = WORDS_PER_MINUTE
    """Words a minute, 80..450."""


@dataclass(frozen=True, slots=True)
class Speech:
    """What was said, and when: word and phone tiers in seconds from its first sample."""

    wave: Wave
    """``(N,)`` mono in -1..1"""
    rate: int
    alignment: Alignment


def require() -> None:
    """Raise MissingExtra here and now if espeak-ng is not installed."""
    _library()


# ---------------------------------------------------------------- speaking


def synthesise(words: str | Sequence[Spoken], voice: str = "en-us", pause: Seconds = 0.0) -> Speech:
    """Say one sentence. ``voice`` is a language and a variant: ``"en-us+f2"``; ``pause`` is what to wait
    after each word, in steps of 10 ms at a middling rate.

    The word tier has one segment for each word given (``chars`` count in the words joined by blanks), the
    phone tier ARPABET symbols with stress. A word's first phone begins where the word does, and the closure
    of a stop belongs to the stop. A vowel that espeak-ng speaks as one with its r or l (*north*, *little*)
    is one phone, named by the vowel.
    """
    import numpy as np

    spoken = [Spoken(word) for word in words.split()] if isinstance(words, str) else list(words)
    text, places = _script(spoken)
    with _LOCK:
        library = _library()
        library.voice(voice)
        samples, events = library.say(text, pause)
    wave: Wave = np.frombuffer(samples, "<i2").astype(np.float32) / 32768.0
    return Speech(wave, RATE, _tiers(wave, events, places, [w.text for w in spoken]))


def _script(words: Sequence[Spoken]) -> tuple[str, list[tuple[int, int]]]:
    """The text with its prosody commands, and each word's characters ``(from, to)`` in it.

    A command stands before every word, also where nothing changes: it keeps espeak-ng from drawing
    words together (*of the*), and settings survive from sentence to sentence.
    """
    text, places = "", []
    for word in words:
        pitch = round(min(max(50 + word.pitch * 50 / 12, 0), 99))
        spread = round(min(max(50 * word.spread, 0), 99))
        rate = round(min(max(word.rate, 80), 450))
        text += f"\x01{pitch}P\x01{spread}R\x01{rate}S "
        places.append((len(text), len(text) + len(word.text)))
        text += _clean(word.text) + " "
    return text, places


def _tiers(
    wave: Wave, events: Sequence[_Event], places: Sequence[tuple[int, int]], texts: Sequence[str]
) -> Alignment:
    """Word and phone tiers from the library's events."""
    begins = [_UNHEARD] * len(places)
    marks: list[tuple[int, int, str]] = []  # sample, word, IPA ("" is a pause)
    word = -1
    for event in events:
        if event.kind == _WORD:
            word = _word_at(event.position - 1, places, word)
            if begins[word] == _UNHEARD:
                begins[word] = event.sample
        elif event.kind == _PHONEME:
            marks.append((event.sample, word, event.name))
    marks.append((len(wave), -1, ""))
    for index, begin in enumerate(begins):
        if begin == _UNHEARD:
            _part(marks, begins, index, texts[index])
    phones = _phones(wave, marks, begins)
    return Alignment(word=_words(phones, texts), phone=tuple(segment for _, segment in phones))


def _word_at(position: int, places: Sequence[tuple[int, int]], last: int) -> int:
    """The word whose characters hold ``position``; numbers fire several events beyond their end."""
    for index in range(max(last, 0), len(places)):
        if position < places[index][1]:
            return index
    return len(places) - 1


def _part(marks: list[tuple[int, int, str]], begins: list[int], word: int, text: str) -> None:
    """Give a word that espeak-ng drew into the one before it (*of the*) its phones, counted from the end."""
    shared = [i for i, (_, owner, ipa) in enumerate(marks) if owner == word - 1 and ipa]
    own = shared[max(1, len(shared) - len(pronounce(text))) :]
    for i in own:
        marks[i] = (marks[i][0], word, marks[i][2])
    if own:
        begins[word] = marks[own[0]][0]


def _phones(
    wave: Wave, marks: Sequence[tuple[int, int, str]], begins: Sequence[int]
) -> list[tuple[int, Segment]]:
    """``(word, segment)`` of each phone; neighbours touch unless a pause lies between them."""
    found: list[list[Any]] = []  # word, name, start, end
    seen: set[int] = set()
    for (sample, word, ipa), (after, _, _) in pairwise(marks):
        names = arpabet(ipa)
        if not names or word < 0:
            continue  # a pause, or breath before the first word
        start = sample
        if word not in seen:
            start = min(sample, begins[word])
        elif names[0] in _STOPS:
            start = _silence_before(wave, sample)
        if after - start < _NO_TIME:
            continue  # an l that is all in its vowel
        seen.add(word)
        if found and found[-1][0] == word and start - found[-1][2] < _NO_TIME:
            start = found.pop()[2]  # it was all stillness: part of the closure
        elif found and found[-1][3] > start:
            found[-1][3] = start
        elif found and found[-1][0] == word:
            found[-1][3] = start  # a pause inside a word is a closure too
        vowel = next((n for n in names if n[-1].isdigit()), names[0])
        found.append([word, vowel, start, after])
    return [(w, Segment(name, a / RATE, b / RATE)) for w, name, a, b in found]


def _silence_before(wave: Wave, sample: int) -> int:
    """Where the stillness that ends at ``sample`` begins."""
    start = sample
    while start > 0 and abs(wave[start - 1]) < _STILL:
        start -= 1
    return start


def _words(phones: Sequence[tuple[int, Segment]], texts: Sequence[str]) -> tuple[Segment, ...]:
    """Words from their phones: they nest by construction."""
    segments, offset = [], 0
    for index, text in enumerate(texts):
        own = [segment for word, segment in phones if word == index]
        if own:
            chars = (offset, offset + len(text))
            segments.append(Segment(text, own[0].start, own[-1].end, chars=chars))
        offset += len(text) + 1
    return tuple(segments)


# ---------------------------------------------------------------- pronouncing


def pronounce(word: str, language: str = "en-us") -> list[str]:
    """ARPABET phones of a word, vowels with their stress: 0 none, 1 main, 2 secondary.

    Never fails on a strange word; ``[]`` where there is nothing to say.

    >>> pronounce("gloomy")  # doctest: +SKIP
    ['G', 'L', 'UW1', 'M', 'IY0']
    """
    text = " ".join(_clean(word).split())
    return arpabet(_ipa(text, language)) if text else []


@functools.lru_cache(maxsize=65536)
def _ipa(text: str, language: str) -> str:
    with _LOCK:
        library = _library()
        for name in (language, language.split("-")[0], "en-us"):
            try:
                library.voice(name)
            except ConfigError:
                continue
            return library.phonemes(text)
    raise AssertionError("espeak-ng always speaks English")


def arpabet(ipa: str) -> list[str]:
    """ARPABET of an IPA string as espeak-ng writes it; letters that no table knows are left out.

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


_STRESS = {"ˈ": "1", "ˌ": "2"}
_VOWELS = frozenset("AA AE AH AO AW AY EH ER EY IH IY OW OY UH UW".split())
_STOPS = frozenset("P B T D K G CH JH".split())
_ARPABET = {
    # diphthongs and affricates first in kind: two letters win over one
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


def _clean(text: str) -> str:
    """The text without the control characters that espeak-ng would take for commands."""
    return "".join(" " if unicodedata.category(c) in ("Cc", "Cs") else c for c in text)


# ---------------------------------------------------------------- the library

_WORD, _PHONEME = 1, 7
_UNHEARD = -1
_STILL = 2 / 32768
_NO_TIME = RATE // 500
_SYNCHRONOUS, _UTF8, _IPA, _WORD_GAP = 2, 1, 0x02, 7
_PHONEME_EVENTS_IN_IPA_AND_NO_EXIT = 0x1 | 0x2 | 0x8000
_LOCK = threading.Lock()  # the library holds one voice and one sentence at a time


@dataclass(frozen=True, slots=True)
class _Event:
    kind: int
    position: int
    """Of the word in the text, counted from 1."""
    sample: int
    name: str
    """IPA of a phoneme, empty for a pause."""


class _EventRecord(ctypes.Structure):
    """``espeak_EVENT`` of speak_lib.h."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", ctypes.c_char * 8),
    )


_CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_EventRecord)
)


class _Library:
    """espeak-ng, loaded once in a process."""

    def __init__(self) -> None:
        try:
            import espeakng_loader

            self._c = ctypes.CDLL(str(espeakng_loader.get_library_path()))
            data = str(espeakng_loader.get_data_path())
        except (ImportError, OSError) as error:
            raise MissingExtra("speech synthesis and pronunciation", "espeak") from error
        rate = self._c.espeak_Initialize(_SYNCHRONOUS, 0, data.encode(), _PHONEME_EVENTS_IN_IPA_AND_NO_EXIT)
        if rate != RATE:
            raise MissingExtra(f"speech synthesis (espeak-ng did not start from {data})", "espeak")
        self._c.espeak_TextToPhonemes.restype = ctypes.c_char_p
        self._samples: list[bytes] = []
        self._events: list[_Event] = []
        self._callback = _CALLBACK(self._receive)  # kept: the library calls it for ever
        self._c.espeak_SetSynthCallback(self._callback)
        self._voice = ""

    def voice(self, name: str) -> None:
        if name != self._voice:
            if self._c.espeak_SetVoiceByName(name.encode()) != 0:
                raise ConfigError(f"espeak-ng has no voice '{name}'; try 'en-us' or 'en-us+f1'")
            self._voice = name

    def say(self, text: str, pause: Seconds) -> tuple[bytes, list[_Event]]:
        self._c.espeak_SetParameter(_WORD_GAP, round(pause * 100), 0)
        self._samples.clear()
        self._events.clear()
        raw = text.encode() + b"\0"
        self._c.espeak_Synth(raw, len(raw), 0, 1, 0, _UTF8, None, None)
        return b"".join(self._samples), list(self._events)

    def _receive(self, wave: Any, count: int, events: Any) -> int:
        if count > 0 and wave:
            self._samples.append(ctypes.string_at(wave, 2 * count))
        index = 0
        while events[index].type != 0:
            event = events[index]
            name = event.id.decode("utf-8", "ignore") if event.type == _PHONEME else ""
            self._events.append(_Event(event.type, event.text_position, event.sample, name))
            index += 1
        return 0

    def phonemes(self, text: str) -> str:
        raw = ctypes.c_char_p(text.encode())
        rest = ctypes.cast(raw, ctypes.c_void_p)
        parts = []
        while rest.value:  # one clause a call
            part = self._c.espeak_TextToPhonemes(ctypes.byref(rest), _UTF8, _IPA)
            parts.append((part or b"").decode("utf-8", "ignore"))
        return " ".join(parts)


@functools.cache
def _library() -> _Library:
    return _Library()
