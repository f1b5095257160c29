"""The demo's simulated raters vote as planted, and no prediction of them is better than the ceilings."""

from __future__ import annotations

import numpy as np
import pytest

from undertone.corpora.demo import raters
from undertone.corpora.demo.prosody import habits
from undertone.corpora.demo.script import CLASSES, KINDS, PRIOR, write
from undertone.corpora.demo.truth import draw_many
from undertone.labels.rated import ccc


@pytest.fixture(scope="module")
def drawn() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    chances = raters.perceived(draw_many(20_000, rng))
    return (chances, *raters.rate(chances, rng))


def test_votes_follow_the_planted_distribution(drawn: tuple[np.ndarray, ...]) -> None:
    chances, votes, _ = drawn
    assert (votes.sum(1) == raters.RATERS).all()
    for c in range(4):  # among utterances of like chance, that share of votes
        for low in (0.0, 0.2, 0.5, 0.8):
            inside = (chances[:, c] >= low) & (chances[:, c] < low + 0.2)
            if inside.sum() > 200:
                share = votes[inside, c].mean() / raters.RATERS
                assert share == pytest.approx(chances[inside, c].mean(), abs=0.02)


def test_raters_disagree_where_tone_and_words_do(drawn: tuple[np.ndarray, ...]) -> None:
    chances, votes, _ = drawn
    sure = chances.max(1)
    assert 0.1 < (sure < 0.6).mean() < 0.6
    ranked = np.sort(votes, 1)
    assert 0.02 < (ranked[:, -1] == ranked[:, -2]).mean() < 0.15


def test_the_distribution_of_one_line_is_that_by_hand() -> None:
    """An utterance of blank words: the words alone say nothing, so a quarter of the raters guesses."""
    lines = write(200, np.random.default_rng(1))
    ways = habits(np.random.default_rng(2))
    blank = [line for line in lines if line.kind == "prosody"]
    observed = raters.observed(blank, ways)
    assert (observed.text == 0).all() and (observed.stressed == 4).all()
    stress = raters.observed([line for line in lines if line.kind == "stress"], ways)
    assert (stress.text == 5).all() and (stress.stressed < 4).all()
    least = raters.ATTENTION["words"] * np.array([PRIOR[name] for name in CLASSES])
    assert (raters.perceived(observed) >= least - 1e-9).all()
    assert list(KINDS)[int(observed.kind[0])] == "prosody"


def test_ratings_are_expected_where_they_are(drawn: tuple[np.ndarray, ...]) -> None:
    chances, _, ratings = drawn
    means = raters.expected(chances)
    assert ratings.min() >= 1 and ratings.max() <= 7
    np.testing.assert_allclose(ratings.mean(0), means.mean(0), atol=0.02)
    high = means[:, 1] > 5
    assert ratings[high, 1].mean() == pytest.approx(means[high, 1].mean(), abs=0.03)


def test_no_better_prediction_than_the_ceilings(drawn: tuple[np.ndarray, ...]) -> None:
    limits = raters.rated_ceilings(20_000)
    best, text, nothing = (limits[name] for name in ("full_knowledge", "text", "nothing"))
    assert best["kl"] < text["kl"] < nothing["kl"]
    assert best["ccc_valence"] > text["ccc_valence"] > nothing["ccc_valence"] == 0
    chances, votes, ratings = drawn
    share = votes / votes.sum(1, keepdims=True)

    def divergence(q: np.ndarray) -> float:
        return float((share * (np.log(np.maximum(share, 1e-12)) - np.log(np.maximum(q, 1e-6)))).sum(1).mean())

    assert divergence(chances) == pytest.approx(best["kl"], abs=0.01)
    for power in (0.7, 1.5):  # sharper and flatter ones are farther from the votes
        moved = chances**power
        assert divergence(moved / moved.sum(1, keepdims=True)) > divergence(chances)
    for k, name in enumerate(("arousal", "valence")):
        means = raters.expected(chances)[:, k]
        for stretch in (0.8, 1.0, 1.2, 1.6):
            moved = means.mean() + stretch * (means - means.mean())
            assert ccc(ratings[:, k], moved) < best[f"ccc_{name}"] + 0.01
