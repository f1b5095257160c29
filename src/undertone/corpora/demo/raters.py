"""Simulated raters of the demo corpus: votes with a known distribution, and ratings of arousal and valence.

Every rater attends to the tone alone, to the words alone, or to everything with the stress, and then names
a class with its probability given that. So the distribution of an utterance's votes is known exactly, and
raters disagree where tone and words do. Each rates arousal and valence from 1 to 7 around the place of the
class that they named; an utterance has the raters' mean. All of it is drawn apart from the speech, which is
the same without it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple
from typing import TYPE_CHECKING

import numpy as np

from undertone.corpora.demo.prosody import HABIT, JITTER, Prosody
from undertone.corpora.demo.script import CLASSES, KINDS, PRIOR, Line
from undertone.corpora.demo.truth import Draws, draw_many, prosody_likelihood, text_table
from undertone.labels.rated import ccc

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

__all__ = ["ATTENTION", "PLACES", "RATERS", "observed", "perceived", "rate", "rated_ceilings"]

RATERS = 6
"""Of each utterance; two equal majorities are no agreement."""
ATTENTION = {"tone": 0.25, "words": 0.25, "everything": 0.5}
"""How many raters attend to what."""
PLACES = {"angry": (6.0, 2.0), "happy": (5.4, 6.0), "sad": (2.4, 2.2), "neutral": (3.4, 4.2)}
"""Arousal and valence of each class."""
SPREAD = 0.8
"""Deviation of a rater around the place, before it becomes a whole number."""
LOW, HIGH = 1, 7
_DRAWS = 50_000


def observed(lines: Sequence[Line], habits: Sequence[Prosody]) -> Draws:
    """The observables of lines, spoken by speakers with these habits."""
    texts, stressed = [], []
    for line in lines:
        words = [CLASSES.index(m) for m in line.meanings if m in CLASSES]
        texts.append(0 if not words else 5 if len(words) > 1 else 1 + words[0])
        meaning = line.meanings[line.places.index(line.stressed)]
        stressed.append(CLASSES.index(meaning) if meaning in CLASSES else 4)
    own = np.array([astuple(habits[line.speaker]) for line in lines])
    return Draws(
        label=np.array([CLASSES.index(line.label) for line in lines]),
        kind=np.array([list(KINDS).index(line.kind) for line in lines]),
        text=np.array(texts),
        stressed=np.array(stressed),
        prosody=np.array([astuple(line.prosody) for line in lines]) + own,
        habit=own,
    )


def perceived(draws: Draws) -> Floats:
    """``(N, C)``: the probability that a rater names each class; raters do not know the speakers' habits."""
    tone = prosody_likelihood(draws.prosody, np.sqrt(np.square(astuple(HABIT)) + np.square(astuple(JITTER))))
    table = text_table()  # (kinds, classes, texts, stressed)
    words = np.moveaxis(table.sum(3), 2, 0)[draws.text]
    stressed = np.moveaxis(table, (2, 3), (0, 1))[draws.text, draws.stressed]
    ways = {"tone": tone, "words": words, "everything": tone * stressed}
    chances: Floats = np.sum([share * _posterior(ways[way]) for way, share in ATTENTION.items()], axis=0)
    return chances


def _posterior(likelihood: Floats) -> Floats:
    """``(N, C)`` from ``(N, kinds, C)``."""
    joint = np.einsum("nkc,k->nc", likelihood, list(KINDS.values())) * list(PRIOR.values())
    posterior: Floats = joint / joint.sum(1, keepdims=True)
    return posterior


def rate(chances: Floats, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Votes ``(N, C)``, and the mean ratings of arousal and valence ``(N, 2)``."""
    edges = chances.cumsum(1)[:, None, :-1]
    named = (rng.random((len(chances), RATERS, 1)) > edges).sum(2)  # (N, raters)
    places = np.array(list(PLACES.values()))[named]  # (N, raters, 2)
    single = np.clip(np.rint(places + rng.normal(0, SPREAD, places.shape)), LOW, HIGH)
    return (named[..., None] == np.arange(len(CLASSES))).sum(1).astype(float), single.mean(1)


def expected(chances: Floats) -> Floats:
    """``(N, 2)``: the mean rating to be expected, with the rounding and the ends of the scale."""
    from scipy.stats import norm

    steps = np.arange(LOW, HIGH)[:, None, None] + 0.5
    above = 1.0 - norm.cdf(steps, np.array(list(PLACES.values())), SPREAD)  # (steps, C, 2)
    means: Floats = LOW + above.sum(0)
    return chances @ means


def _stretched(means: Floats, ratings: Floats) -> Floats:
    """The means with the deviation of the ratings."""
    own = float(means.std())
    return means if own < 1e-9 else means.mean() + (means - means.mean()) * float(ratings.std()) / own


def rated_ceilings(count: int = _DRAWS, seed: int = 1) -> dict[str, dict[str, float]]:
    """By what is known, the best scores against votes and ratings: the divergence ``kl``, and
    ``ccc_arousal``, ``ccc_valence``; ``nothing`` knows the frequencies of the classes.

    The best CCC has the expected ratings stretched to the deviation of those given: CCC is then their
    correlation, and no function of what is known correlates more.
    """
    rng = np.random.default_rng(seed)
    draws = draw_many(count, rng)
    chances = perceived(draws)
    votes, ratings = rate(chances, rng)
    by_text = np.stack([chances[draws.text == t].mean(0) for t in range(6)])[draws.text]
    known = {"full_knowledge": chances, "text": by_text, "nothing": np.tile(chances.mean(0), (count, 1))}
    share = votes / votes.sum(1, keepdims=True)
    scores = {}
    for name, one in known.items():
        logs = np.log(np.maximum(share, 1e-12)) - np.log(np.maximum(one, 1e-6))
        means = expected(one)
        values = [ccc(ratings[:, k], _stretched(means[:, k], ratings[:, k])) for k in range(2)]
        scores[name] = {
            "kl": round(float((share * logs).sum(1).mean()), 4),
            **{f"ccc_{d}": round(v, 4) for d, v in zip(("arousal", "valence"), values, strict=True)},
        }
    return scores
