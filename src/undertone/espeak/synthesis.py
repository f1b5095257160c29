"""Sentences as speech, with word and phone tiers from espeak-ng's own events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from undertone.espeak.library import LOCK, PHONEME, RATE, WORD, Event, library
from undertone.espeak.phones import STOPS, arpabet, clean, pronounce
from undertone.types import Alignment, Seconds, Segment

if TYPE_CHECKING:
    from undertone.types import Wave

__all__ = ["Spoken", "SyntheticSpeech", "synthesise"]

WORDS_PER_MINUTE = 175

_UNKNOWN = -1
_SILENT = 2 / 32768
"""Largest amplitude of silence."""
_NO_TIME = RATE // 500
"""Samples below which a phone is none."""


@dataclass(frozen=True, slots=True)
class Spoken:
    """One word and how to speak it."""

    text: str
    pitch: float = 0.0
    """Semitones by which the lowest pitch of the voice is raised, -12..12; its average moves by less."""
    spread: float = 1.0
    """Factor on the sentence's rises and falls, 0..2; 0 is a monotone."""
    rate: float = WORDS_PER_MINUTE
    """Words a minute, 80..450."""


@dataclass(frozen=True, slots=True)
class SyntheticSpeech:
    """A sentence as samples, with word and phone tiers in seconds from the first sample."""

    wave: Wave
    """``(N,)`` mono in -1..1"""
    rate: int
    alignment: Alignment


def synthesise(words: str | Sequence[Spoken], voice: str = "en-us", pause: Seconds = 0.0) -> SyntheticSpeech:
    """One sentence as speech. ``voice`` is a language and a variant: ``"en-us+f2"``; ``pause`` follows
    each word, in steps of 10 ms at a medium rate.

    The word tier has one segment for each word given (``chars`` count in the words joined by blanks), the
    phone tier ARPABET symbols with stress. A word's first phone begins where the word does, and the closure
    of a stop belongs to the stop. A vowel that espeak-ng joins with its r or l (*north*, *little*)
    is one phone, named by the vowel.
    """
    import numpy as np

    spoken = [Spoken(word) for word in words.split()] if isinstance(words, str) else list(words)
    text, places = _script(spoken)
    with LOCK:
        espeak = library()
        espeak.use_voice(voice)
        samples, events = espeak.synthesise(text, pause)
    wave: Wave = np.frombuffer(samples, "<i2").astype(np.float32) / 32768.0
    return SyntheticSpeech(wave, RATE, _tiers(wave, events, places, [w.text for w in spoken]))


def _script(words: Sequence[Spoken]) -> tuple[str, list[tuple[int, int]]]:
    """The text with its prosody commands, and each word's characters ``(from, to)`` in it.

    A command stands before every word, also where nothing changes: it keeps espeak-ng from joining
    words (*of the*), and settings last from sentence to sentence.
    """
    text, places = "", []
    for word in words:
        pitch = round(min(max(50 + word.pitch * 50 / 12, 0), 99))
        spread = round(min(max(50 * word.spread, 0), 99))
        rate = round(min(max(word.rate, 80), 450))
        text += f"\x01{pitch}P\x01{spread}R\x01{rate}S "
        places.append((len(text), len(text) + len(word.text)))
        text += clean(word.text) + " "
    return text, places


def _tiers(
    wave: Wave, events: Sequence[Event], places: Sequence[tuple[int, int]], texts: Sequence[str]
) -> Alignment:
    """Word and phone tiers from the library's events."""
    begins = [_UNKNOWN] * len(places)
    marks: list[tuple[int, int, str]] = []  # sample, word, IPA ("" is a pause)
    word = -1
    for event in events:
        if event.kind == WORD:
            word = _word_at(event.position - 1, places, word)
            if begins[word] == _UNKNOWN:
                begins[word] = event.sample
        elif event.kind == PHONEME:
            marks.append((event.sample, word, event.name))
    marks.append((len(wave), -1, ""))
    for index, begin in enumerate(begins):
        if begin == _UNKNOWN:
            _divide(marks, begins, index, texts[index])
    phones = _phones(wave, marks, begins)
    return Alignment(word=_words(phones, texts), phone=tuple(segment for _, segment in phones))


def _word_at(position: int, places: Sequence[tuple[int, int]], last: int) -> int:
    """The word whose characters hold ``position``; numbers fire several events beyond their end."""
    for index in range(max(last, 0), len(places)):
        if position < places[index][1]:
            return index
    return len(places) - 1


def _divide(marks: list[tuple[int, int, str]], begins: list[int], word: int, text: str) -> None:
    """Give a word that espeak-ng joined to the one before it (*of the*) its phones, counted from the end."""
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
    phones: list[list[Any]] = []  # word, name, start, end
    seen: set[int] = set()
    for (sample, word, ipa), (after, _, _) in pairwise(marks):
        names = arpabet(ipa)
        if not names or word < 0:
            continue  # a pause, or breath before the first word
        start = sample
        if word not in seen:
            start = min(sample, begins[word])
        elif names[0] in STOPS:
            start = _silence_before(wave, sample)
        if after - start < _NO_TIME:
            continue  # an l that lies wholly in its vowel
        seen.add(word)
        if phones and phones[-1][0] == word and start - phones[-1][2] < _NO_TIME:
            start = phones.pop()[2]  # it was all silence: part of the closure
        elif phones and phones[-1][3] > start:
            phones[-1][3] = start
        elif phones and phones[-1][0] == word:
            phones[-1][3] = start  # a pause inside a word is a closure too
        vowel = next((n for n in names if n[-1].isdigit()), names[0])
        phones.append([word, vowel, start, after])
    return [(w, Segment(name, a / RATE, b / RATE)) for w, name, a, b in phones]


def _silence_before(wave: Wave, sample: int) -> int:
    """The sample at which the silence that ends at ``sample`` begins."""
    start = sample
    while start > 0 and abs(wave[start - 1]) < _SILENT:
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
