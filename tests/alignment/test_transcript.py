"""What is spoken of a transcript, and where each word came from."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from undertone.alignment.numbers import LARGEST, ONES, cardinal, ordinal, year
from undertone.alignment.transcript import attach, fold, normalise
from undertone.types import Segment

READINGS = {
    "Hello, world!": "hello world",
    "I can’t – don't… WON'T": "i can't don't won't",
    "a well-known twenty-one-year-old": "a well known twenty one year old",
    "b-but I-I th-think": "b- but i i th- think",
    "[laughter] Yes <noise> (sighs) no {cough} *laughs* ++BREATHING++ so": "yes no so",
    "He (the other one) left": "he the other one left",
    "😂 okay 👍🏽": "okay",
    "$5": "five dollars",
    "$1.50": "one dollar and fifty cents",
    "$0.99": "ninety nine cents",
    "£1.01": "one pound and one penny",
    "€20": "twenty euros",
    "$3 million": "three million dollars",
    "$2.5k": "two point five thousand dollars",
    "at 7:30 pm": "at seven thirty p m",
    "at 7:05": "at seven oh five",
    "at 9:00.": "at nine o'clock",
    "by 5pm": "by five p m",
    "the 21st of May 1999": "the twenty first of may nineteen ninety nine",
    "in 2007, 2000 and 2015": "in two thousand seven two thousand and twenty fifteen",
    "the 1990s and '80s": "the nineteen nineties and eighties",
    "1,234 things": "one thousand two hundred and thirty four things",
    "50% of 3.14": "fifty percent of three point one four",
    "-5° out": "minus five degrees out",
    "1/2 or 3/4 or 24/7": "one half or three quarters or twenty four seven",
    "call 5550199": "call five five five zero one nine nine",
    "agent 007": "agent zero zero seven",
    "Mr. and Mrs. Smith, Dr. No": "mister and missus smith doctor no",
    "the U.S.A. and F.B.I": "the u s a and f b i",
    "e.g. this, i.e. that": "for example this that is that",
    "my TV and the FBI": "my t v and the f b i",
    "NASA said NO": "nasa said no",
    "rock 'n' roll, get 'em": "rock n roll get them",
    "'quoted' \"words\" ‘here’": "quoted words here",
    "you & me @ home": "you and me at home",
    "café naïve": "café naïve",
    "3D mp3": "three d mp three",
    "": "",
    " … -- ?!": "",
}


@pytest.mark.parametrize("text", READINGS)
def test_text_is_read_as_it_is_spoken(text: str) -> None:
    assert " ".join(w.text for w in normalise(text)) == READINGS[text]


def test_each_letter_of_an_abbreviation_points_at_itself() -> None:
    text = "my TV and the U.S. too"
    letters = [(w.text, text[slice(*w.chars)]) for w in normalise(text) if len(w.text) == 1]
    assert letters == [("t", "T"), ("v", "V"), ("u", "U"), ("s", "S")]


def test_every_word_points_at_its_characters() -> None:
    text = "Well-known: $20, isn’t it?"
    pieces = [(w.text, text[slice(*w.chars)]) for w in normalise(text)]
    assert pieces == [("well", "Well"), ("known", "known"), ("twenty", "$20"), ("dollars", "$20"),
                      ("isn't", "isn’t"), ("it", "it")]  # fmt: skip


@pytest.mark.parametrize("space", [" ", "\n", "\t", "\x1f", "\x85", "\u00a0"])
def test_white_space_of_any_kind_may_stand_before_a_unit(space: str) -> None:
    assert [word.text for word in normalise(f"5{space}%")] == ["five", "percent"]


@given(st.text(max_size=60) | st.text("aB'’-.,$£%0123456789:/ apmst[]()<>é😂", max_size=40))
def test_any_text_gives_words_in_order_inside_it(text: str) -> None:
    last = 0
    for word in normalise(text):
        start, end = word.chars
        assert last <= start < end <= len(text) and word.text
        last = start
    for word in normalise(text, "de"):
        assert text[slice(*word.chars)]


@given(st.integers(0, LARGEST * 10))
def test_any_number_has_words(number: int) -> None:
    assert set(cardinal(number).split()) and not any(c.isdigit() for c in cardinal(number) + ordinal(number))


@given(st.integers(0, LARGEST - 1))
def test_a_cardinal_can_be_read_back(number: int) -> None:
    from undertone.alignment.numbers import SCALES, TENS

    values = {w: i for i, w in enumerate(ONES)} | {w: 10 * i for i, w in enumerate(TENS)}
    scales = {name: value for value, name in SCALES}
    total = group = 0
    for word in cardinal(number).replace(" and ", " ").split():
        if word == "hundred":
            group *= 100
        elif word in scales:
            total, group = total + group * scales[word], 0
        else:
            group += values[word]
    assert total + group == number


def test_years_are_read_in_pairs() -> None:
    assert [year(y) for y in (1900, 1905, 2009, 2010)] == [
        "nineteen hundred", "nineteen oh five", "two thousand nine", "twenty ten"]  # fmt: skip


def test_folding_keeps_letters_and_inner_apostrophes() -> None:
    assert [fold(w) for w in ("Café’s", "'quoted'", "Ωmega", "A(2)")] == ["cafe's", "quoted", "mega", "a"]


def test_timed_words_find_their_characters() -> None:
    text = "Oh, [LAUGHTER] I can't pay 25 dollars."
    timed = [Segment(w, i, i + 1) for i, w in enumerate("OH I CAN'T PAY TWENTY FIVE DOLLARS".split())]
    assert [text[slice(*w.chars)] for w in attach(timed, text) if w.chars] == [
        "Oh",
        "I",
        "can't",
        "pay",
        "25",
        "25",
        "dollars",
    ]


def test_a_timed_word_that_nobody_wrote_has_no_characters() -> None:
    timed = [Segment(w, i, i + 1) for i, w in enumerate("well you know yes".split())]
    assert [w.chars for w in attach(timed, "well yes")] == [(0, 4), None, None, (5, 8)]
