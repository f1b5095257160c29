"""espeak-ng through its door: exact times, pronunciations that never fail."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from undertone import espeak
from undertone.errors import ConfigError, MissingExtra
from undertone.espeak import Spoken, arpabet, pronounce, synthesise
from undertone.espeak.library import library

VOWELS = {"AA", "AE", "AH", "AO", "AW", "AY", "EH", "ER", "EY", "IH", "IY", "OW", "OY", "UH", "UW"}
SENTENCE = "the bitter and sunny captain met a weary and normal baker"


def loudness(speech: espeak.SyntheticSpeech, start: float, end: float) -> float:
    part = speech.wave[round(start * speech.rate) : round(end * speech.rate)]
    return float(np.sqrt(np.mean(part**2)))


def test_words_and_phones_nest_and_a_words_first_phone_starts_where_the_word_does() -> None:
    speech = synthesise(SENTENCE, "en-us+m3")
    assert [word.text for word in speech.alignment.word] == SENTENCE.split()
    starts = [phone.start for phone in speech.alignment.phone]
    ends = [phone.end for phone in speech.alignment.phone]
    assert all(word.start in starts and word.end in ends for word in speech.alignment.word)
    assert all(a <= b for a, b in zip(ends, starts[1:], strict=False)) and ends[-1] <= len(speech.wave)


def test_the_pauses_between_words_are_silent_and_the_words_are_not() -> None:
    speech = synthesise("baker baker baker", "en-us+m3", pause=0.15)
    words = speech.alignment.word
    for left, right in pairwise(words):
        assert right.start - left.end > 0.1
        assert loudness(speech, left.end + 0.005, right.start - 0.005) < 1e-4
    assert min(loudness(speech, word.start, word.end) for word in words) > 0.05


def test_a_fricative_hisses_between_its_boundaries_and_not_beside_them() -> None:
    speech = synthesise("a see", "en-us+m3")
    phone = next(p for p in speech.alignment.phone if p.text == "S")
    step = speech.rate // 100
    crossings = [
        np.mean(np.diff(np.sign(speech.wave[i : i + step])) != 0)
        for i in range(0, len(speech.wave) - step, step)
    ]
    hiss = [i / 100 for i, rate in enumerate(crossings) if rate > 0.3]
    assert hiss and abs(hiss[0] - phone.start) <= 0.025 and abs(hiss[-1] + 0.01 - phone.end) <= 0.025


def test_the_closure_of_a_stop_belongs_to_the_stop() -> None:
    speech = synthesise("baker", "en-us+m3")
    b, ey, k, er = speech.alignment.phone
    assert (b.text, ey.text, k.text, er.text) == ("B", "EY1", "K", "ER0")
    assert loudness(speech, k.start, k.start + 0.02) < 1e-3  # still, and then the burst
    assert loudness(speech, k.end - 0.02, k.end) > 1e-2
    assert loudness(speech, ey.end - 0.02, ey.end) > 1e-3


def test_an_l_that_is_all_in_its_vowel_is_no_phone_of_its_own() -> None:
    alignment = synthesise("silver walls were sold").alignment
    assert all(phone.duration > 0.002 for phone in alignment.phone)
    assert [p.text for p in alignment.phone if p.start < alignment.word[0].end] == ["S", "IH1", "V", "ER0"]


def test_a_word_drawn_into_its_neighbour_still_gets_its_own_time() -> None:
    words = synthesise("the end of the road").alignment.word
    assert [word.text for word in words] == ["the", "end", "of", "the", "road"]
    assert all(word.duration > 0.02 for word in words)


def test_a_number_is_one_word_however_many_it_is_spoken_as() -> None:
    words = synthesise("she had 21 dogs").alignment.word
    assert [word.text for word in words] == ["she", "had", "21", "dogs"]
    assert words[2].duration > 2 * words[1].duration


def test_characters_of_a_word_count_in_the_words_joined_by_blanks() -> None:
    for word in synthesise(SENTENCE).alignment.word:
        assert word.chars is not None and SENTENCE[slice(*word.chars)] == word.text


def test_pitch_and_rate_do_what_they_say_and_do_not_linger() -> None:
    def say(pitch: float, rate: float) -> espeak.SyntheticSpeech:
        return synthesise([Spoken(w, pitch=pitch, rate=rate) for w in ("no", "more", "mail")])

    plain = say(0, 160)
    assert len(say(0, 240).wave) < 0.85 * len(plain.wave)
    ratio = period(plain) / period(say(6, 160))
    assert 3 < 12 * np.log2(ratio) < 7
    assert period(say(0, 160)) == pytest.approx(period(plain), rel=0.03)


def period(speech: espeak.SyntheticSpeech) -> float:
    """The lag, in samples, at which the middle of the second word's vowel best repeats itself."""
    word = speech.alignment.word[1]
    vowel = next(p for p in speech.alignment.phone if p.start >= word.start and p.text[-1].isdigit())
    middle = round((vowel.start + vowel.end) / 2 * speech.rate)
    part = speech.wave[middle - 700 : middle + 700]
    acf = np.correlate(part, part, "full")[len(part) - 1 :] / np.arange(len(part), 0, -1)
    low, high = speech.rate // 250, speech.rate // 70
    return float(low + np.argmax(acf[low:high]))


def test_an_unknown_voice_is_an_error_of_one_line() -> None:
    with pytest.raises(ConfigError, match="no voice 'klingonish'"):
        synthesise("hello", "klingonish")


@pytest.mark.parametrize(
    ("word", "phones"),
    [
        ("gloomy", "G L UW1 M IY0"),
        ("baker", "B EY1 K ER0"),
        ("judge", "JH AH1 JH"),
        ("measure", "M EH1 ZH ER0"),
        ("north", "N AO1 R TH"),
        ("button", "B AH1 T AH0 N"),
        ("seven", "S EH1 V AH0 N"),
        ("", ""),
        ("...", ""),
    ],
)
def test_pronunciations_are_arpabet_with_stress(word: str, phones: str) -> None:
    assert pronounce(word) == phones.split()


def test_another_language_has_its_own_sounds_and_an_unknown_one_falls_back_to_english() -> None:
    assert pronounce("Bein", "de") == ["B", "AY1", "N"]
    assert pronounce("Bein", "zz-zz") == pronounce("Bein") != pronounce("Bein", "de")


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=12))
def test_no_word_is_too_strange_to_pronounce(word: str) -> None:
    for phone in pronounce(word):
        assert (phone[:-1] in VOWELS) == phone[-1].isdigit()
        assert phone.isupper()


def test_every_symbol_that_english_uses_is_known() -> None:
    words = "thing this vision church judge yes whale bird boy cow fire poor bear near father button little"
    for word in words.split():
        assert any(p[-1].isdigit() for p in pronounce(word)), word
    assert arpabet("☃") == []


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    library.cache_clear()
    try:
        with pytest.raises(MissingExtra, match=r"the extra .espeak.: pip install"):
            espeak.require()
    finally:
        monkeypatch.undo()
        library.cache_clear()


def test_the_library_is_loaded_only_when_something_is_synthesised() -> None:
    code = (
        "import sys, undertone.espeak; sys.exit('espeakng_loader' in sys.modules or 'numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
