"""Equal and nearly equal texts are found, all of them, quickly."""

from __future__ import annotations

import itertools
import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from undertone.auditing.words import near_twins, same_words, shingles


def _slow_twins(texts: list[str], threshold: float) -> set[tuple[int, int]]:
    sets = [shingles(t) for t in texts]
    return {
        (i, j)
        for i, j in itertools.combinations(range(len(texts)), 2)
        if len(sets[i] & sets[j]) >= threshold * len(sets[i] | sets[j])
    }


@settings(deadline=None)
@given(
    st.lists(st.text("abc ", max_size=12), max_size=25),
    st.sampled_from([0.5, 0.7, 0.9, 1.0]),
)
def test_no_near_twin_is_missed(texts: list[str], threshold: float) -> None:
    found = list(near_twins(texts, threshold))
    assert {(i, j) for i, j, _ in found} == _slow_twins(texts, threshold)
    assert len(found) == len({(i, j) for i, j, _ in found})
    assert all(threshold <= s <= 1 for _, _, s in found)


@pytest.mark.parametrize(
    ("one", "two", "like"),
    [
        ("i told you never to come here again", "i told you never to come back here again", True),
        ("what do you want me to do about it", "so what do you want me to do about it", True),
        ("what do you want me to do about it", "what do they want her to say about us", False),
        ("i am happy with you", "i am not sure about him", False),
    ],
)
def test_nearly_the_same_means_a_word_more_or_less(one: str, two: str, like: bool) -> None:
    assert bool(list(near_twins([one, two]))) is like


@pytest.mark.parametrize(
    ("one", "two"),
    [("Don't!", "don’t"), ("  Well — yes.", "well yes"), ("ÜBER uns", "über, uns"), ("ça va", "Ça va?")],
)
def test_case_punctuation_and_spacing_do_not_make_another_sentence(one: str, two: str) -> None:
    assert same_words(one) == same_words(two) != ""


def test_ten_thousand_sentences_take_seconds() -> None:
    rng = random.Random(0)
    words = ["".join(rng.choices("etaoinshrdlu", k=rng.randint(2, 8))) for _ in range(3000)]
    weights = [1 / (rank + 1) for rank in range(len(words))]
    texts = [" ".join(rng.choices(words, weights, k=rng.randint(4, 16))) for _ in range(10_000)]
    texts += [f"{text} {rng.choice(words)}" for text in texts[:200] if len(text) > 60]
    started = time.process_time()
    found = {(i, j) for i, j, _ in near_twins(texts)}
    assert time.process_time() - started < 15
    assert sum(j >= 10_000 for _, j in found) >= 0.9 * (len(texts) - 10_000)
