"""Syllables: one nucleus each, longest legal onset, stress kept, always nested."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trees.tiers import is_nested
from undertone.alignment.nesting import disjoint, nest, parents
from undertone.alignment.syllables import (
    ARPABET_VOWELS,
    is_nucleus,
    stress,
    syllabify,
    syllable_segments,
)
from undertone.types import Segment

WORDS = {
    "EH1 K S T R AH0": "EH1 K.S T R AH0",
    "HH AH0 L OW1": "HH AH0.L OW1",
    "AE1 N G R IY0": "AE1 N.G R IY0",
    "S IH1 NG ER0": "S IH1 NG.ER0",
    "P AA1 R T N ER0": "P AA1 R T.N ER0",
    "AE1 T L AH0 S": "AE1 T.L AH0 S",
    "IH0 K S P L EY1 N": "IH0 K.S P L EY1 N",
    "B Y UW1 T AH0 F AH0 L": "B Y UW1.T AH0.F AH0 L",
    "K IY1 IH0 NG": "K IY1.IH0 NG",
    "S T R EH1 NG K TH S": "S T R EH1 NG K TH S",
    "HH M M": "HH M M",
    "b ah dcl d el": "b ah.dcl d el",
    "hh ae pcl p iy": "hh ae.pcl p iy",
    "h ə ˈl oʊ": "h ə.ˈl oʊ",
    "ɛ k s t ɹ ə": "ɛ k.s t ɹ ə",
    "b ˈʌ t n̩": "b ˈʌ.t n̩",
    "aɪ ə": "aɪ.ə",
    "f aː ʔ ɐ": "f aː.ʔ ɐ",
    "t aɪ̯ t": "t aɪ̯ t",
}


@pytest.mark.parametrize("word", WORDS)
def test_onsets_are_as_long_as_the_language_allows(word: str) -> None:
    phones = word.split()
    parts = [" ".join(phones[a:b]) for a, b in syllabify(phones)]
    assert parts == WORDS[word].split(".")


def test_without_rules_a_split_is_before_the_last_consonant() -> None:
    assert syllabify("l a p s t e n".split(), "xx") == [(0, 4), (4, 7)]


def test_stress_is_kept() -> None:
    assert [stress(p.split()) for p in ("B AH0", "K AE1 T", "N EY2", "ˈʌ", "ˌa", "b ah", "P S T")] == [
        0, 1, 2, 1, 2, None, None]  # fmt: skip


PHONES = sorted(ARPABET_VOWELS) + "P T K B D G S Z SH ZH CH JH M N NG L R W Y HH F V TH DH".split()


@given(st.lists(st.sampled_from(PHONES), max_size=12), st.sampled_from(["en", "de", None]))
def test_syllables_cover_the_word_with_one_nucleus_each(phones: list[str], language: str | None) -> None:
    spans = syllabify(phones, language)
    assert [i for a, b in spans for i in range(a, b)] == list(range(len(phones)))
    if language != "en":
        return
    nuclei = [sum(map(is_nucleus, phones[a:b])) for a, b in spans]
    assert all(n == 1 for n in nuclei) or nuclei in ([], [0])


segments = st.builds(
    lambda text, start, length: Segment(text, start, start + length),
    st.sampled_from(PHONES),
    st.floats(-0.5, 3),
    st.floats(-0.1, 1.0),
)


@given(st.lists(segments, max_size=6), st.lists(segments, max_size=10), st.lists(segments, max_size=15))
def test_whatever_comes_in_words_syllables_and_phones_nest(
    words: list[Segment], syllables: list[Segment], phones: list[Segment]
) -> None:
    assert is_nested(nest(words, syllables, phones))
    first = nest(words, (), phones)
    assert is_nested(nest(first.word, syllable_segments(first.word, first.phone), first.phone))


@given(st.lists(segments, max_size=8), st.lists(segments, max_size=8))
def test_a_parent_is_the_segment_that_shares_most_time(
    children: list[Segment], coarser: list[Segment]
) -> None:
    children, coarser = disjoint(children), disjoint(coarser)
    for child, index in zip(children, parents(children, coarser), strict=True):
        shared = [max(0.0, min(child.end, c.end) - max(child.start, c.start)) for c in coarser]
        assert (index == -1) == (not any(shared))
        assert index == -1 or shared[index] == max(shared)


def test_syllable_scores_are_means_over_time() -> None:
    words = [Segment("a b", 0, 1)]
    phones = [Segment("AH0", 0, 0.25, 0.4), Segment("B", 0.25, 0.5, 0.8), Segment("IY1", 0.5, 1, 1.0)]
    got = syllable_segments(words, phones)
    assert [(s.text, s.start, s.end) for s in got] == [("AH0", 0, 0.25), ("B_IY1", 0.25, 1)]
    assert got[1].score == pytest.approx((0.8 + 2 * 1.0) / 3, abs=1e-4)


def test_a_child_across_two_parents_goes_to_the_larger_share() -> None:
    words = [Segment("a", 0, 1), Segment("b", 1, 2)]
    phones = [Segment("X", 0.2, 1.1), Segment("Y", 1.1, 2)]
    assert parents(phones, words) == [0, 1]
    assert [p.end for p in nest(words, (), phones).phone] == [1, 2]
