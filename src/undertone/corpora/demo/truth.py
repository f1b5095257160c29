"""The best possible scores on the demo corpus: ceilings by construction.

The tables and densities that the corpus is drawn from give the exact likelihood of the *observables* (the
eight prosody values, the classes of the emotion words, the class of the stressed word), with the speaker's
habit and the jitter integrated out. The best decision by those likelihoods is the ceiling; its accuracy is
averaged over many draws. Background noise, which is not counted, only lowers scores.

``speech`` means the tone of voice and the place of the stress, not recognising words by ear.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from undertone.corpora.demo.prosody import HABIT, JITTER, STYLES
from undertone.corpora.demo.script import CLASSES, KINDS, OPPOSITE, PRIOR, RELIABILITY

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats: TypeAlias = NDArray[np.float64]
    Ints: TypeAlias = NDArray[np.int64]

__all__ = ["MEANING", "Draws", "ceilings", "draw_many", "text_table"]

MEANING = {
    "speech": "the tone of voice and the place of the stress; words not recognised by ear",
    "text": "the words alone",
    "late_fusion": "the best weighted product of the two posteriors over the prior",
    "fusion_without_alignment": "tone and words together, not knowing which word is stressed",
    "full_knowledge": "tone, words, and which word is stressed",
    "speech_known_speaker": "speech, the speaker's habits known from elsewhere (a dialogue's other turns)",
    "full_knowledge_known_speaker": "full_knowledge, the speaker's habits known",
}
"""What each ceiling knows."""

TEXTS = ("blank", *CLASSES, "all")
"""Emotion words of a text: none, one of a class, or one of each."""
_DRAWS = 100_000


@dataclass(frozen=True)
class Draws:
    """The observables of many utterances, and their causes."""

    label: Ints
    """(N,) index into CLASSES"""
    kind: Ints
    """(N,) index into KINDS"""
    text: Ints
    """(N,) index into TEXTS"""
    stressed: Ints
    """(N,) class of the stressed word, index into CLASSES; 4 is blank."""
    prosody: Floats
    """(N, 8), about the voice's own pitch, habit included"""
    habit: Floats
    """(N, 8)"""


def draw_many(count: int, rng: np.random.Generator) -> Draws:
    """Utterances that are not synthesised, each of a speaker of its own."""
    label = rng.choice(4, size=count, p=list(PRIOR.values()))
    kind = rng.choice(4, size=count, p=list(KINDS.values()))
    toned = np.isin(kind, [0, 2])
    means = np.array([astuple(STYLES[name]) for name in CLASSES])
    style = np.where(toned, label, CLASSES.index("neutral"))
    habit = rng.normal(size=(count, len(astuple(HABIT)))) * astuple(HABIT)
    prosody = means[style] + habit + rng.normal(size=(count, len(astuple(HABIT)))) * astuple(JITTER)
    slip = rng.random(count) > RELIABILITY
    meaning = np.where(slip, (label + rng.integers(1, 4, size=count)) % 4, label)
    text = np.select([kind == 0, kind == 3], [0, 5], 1 + meaning)
    opposite = np.array([CLASSES.index(OPPOSITE[name]) for name in CLASSES])
    stressed = np.where(kind == 3, opposite[label], 4)
    return Draws(label, kind, text, stressed, prosody, habit)


def text_table() -> Floats:
    """``(4 kinds, 4 classes, 6 texts, 5 stressed)``: P(text, stressed | class, kind)."""
    table = np.zeros((4, 4, len(TEXTS), 5))
    table[0, :, 0, 4] = 1.0
    for c, name in enumerate(CLASSES):
        table[1:3, c, 1:5, 4] = (1 - RELIABILITY) / 3
        table[1:3, c, 1 + c, 4] = RELIABILITY
        table[3, c, 5, CLASSES.index(OPPOSITE[name])] = 1.0
    return table


def prosody_likelihood(prosody: Floats, spread: Floats) -> Floats:
    """``(N, kinds, classes)``: density up to a factor; ``spread (8,)`` are standard deviations."""
    means = np.array([astuple(STYLES[name]) for name in CLASSES])
    distance = (((prosody[:, None, :] - means) / spread) ** 2).sum(-1)
    density = np.exp(-0.5 * (distance - distance.min(1, keepdims=True)))
    even = np.repeat(density[:, 3:], 4, axis=1)
    return np.stack([density, even, density, even], axis=1)


def ceilings(count: int = _DRAWS, seed: int = 0) -> dict[str, dict[str, float]]:
    """By the keys of MEANING: the WA and UA of the best decision for each, and its UA on each kind.

    ``wa`` decides by posterior, ``ua`` and the kinds' by likelihood, which is best for each.
    """
    draws = draw_many(count, np.random.default_rng(seed))
    shares = np.array(list(KINDS.values()))
    unknown = np.sqrt(np.square(astuple(HABIT)) + np.square(astuple(JITTER)))
    tone = prosody_likelihood(draws.prosody, unknown)
    tone_known = prosody_likelihood(draws.prosody - draws.habit, np.array(astuple(JITTER)))
    table = text_table()
    words = np.moveaxis(table.sum(3), 2, 0)[draws.text]  # (N, kinds, classes)
    stressed_words = np.moveaxis(table, (2, 3), (0, 1))[draws.text, draws.stressed]

    def joint(*factors: Floats) -> Floats:
        product = np.ones_like(tone)
        for factor in factors:
            product = product * factor
        likelihood: Floats = np.einsum("nkc,k->nc", product, shares)
        return likelihood

    speech, text = joint(tone), joint(words)
    likelihoods = {
        "speech": speech,
        "text": text,
        "late_fusion": _best_product(speech, text, draws),
        "fusion_without_alignment": joint(tone, words),
        "full_knowledge": joint(tone, stressed_words),
        "speech_known_speaker": joint(tone_known),
        "full_knowledge_known_speaker": joint(tone_known, stressed_words),
    }
    return {name: _scores(likelihood, draws) for name, likelihood in likelihoods.items()}


def _best_product(speech: Floats, text: Floats, draws: Draws) -> Floats:
    """The weighted product of the two posteriors over the prior with the highest UA."""
    products = [speech**a * text**b for a, b in ((1, 1), (1, 0.5), (1, 2), (0.5, 1), (2, 1), (1, 4), (4, 1))]
    return max(products, key=lambda likelihood: _scores(likelihood, draws)["ua"])


def _scores(likelihood: Floats, draws: Draws) -> dict[str, float]:
    prior = np.array(list(PRIOR.values()))
    scores = {
        "wa": float(np.mean((likelihood * prior).argmax(1) == draws.label)),
        "ua": _ua(likelihood, draws, np.ones(len(draws.label), bool)),
    }
    for index, kind in enumerate(KINDS):
        scores[f"ua_{kind}"] = _ua(likelihood, draws, draws.kind == index)
    return {name: round(value, 4) for name, value in scores.items()}


def _ua(likelihood: Floats, draws: Draws, part: NDArray[np.bool_]) -> float:
    right = likelihood.argmax(1) == draws.label
    return float(np.mean([right[part & (draws.label == c)].mean() for c in range(4)]))
