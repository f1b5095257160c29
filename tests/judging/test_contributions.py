"""A planted reason is found: the word that decides is the word whose contribution is largest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from tests.models.synthetic import IDS, VARIANTS, example, examples, make, total
from undertone.judging.clip import Clip
from undertone.judging.encoders import ClipFeatures
from undertone.judging.model import TrainedModel
from undertone.judging.networks import TorchNetwork
from undertone.models.batch import collate
from undertone.models.example import Example
from undertone.models.system import System
from undertone.types import Segment

LABELS = ["a", "b", "c", "d"]


class Planted:
    """In place of encoders: features that are ready."""

    rate = 16_000
    sides = ("speech", "text")

    def __init__(self, items: Sequence[Example]) -> None:
        self.items = {item.id: item for item in items}

    def encode(self, clips: Sequence[Clip]) -> list[ClipFeatures]:
        return [self._features(clip, self.items[clip.id]) for clip in clips]

    def without_each_word(self, one: ClipFeatures) -> list[ClipFeatures]:
        return one.without_each_word()

    @staticmethod
    def _features(clip: Clip, item: Example) -> ClipFeatures:
        assert item.token_word is not None
        count = max(len(item.segments.get("word", ())), int(item.token_word.max()) + 1)
        words = tuple(Segment(f"w{i}", 0.0, 0.0) for i in range(count))
        return ClipFeatures(clip, item, words, item.token_word, timed=bool(item.segments))


def _contributions(system: System, items: Sequence[Example]) -> list[np.ndarray]:
    """Of each word, by utterance."""
    encoders: Any = Planted(items)
    model = TrainedModel("tiny", {"labels": LABELS}, encoders, TorchNetwork(system), system.tiers)
    predictions = model.predict([Clip(item.id) for item in items], explain=True)
    return [np.array([word.contribution for word in prediction.words]) for prediction in predictions]


def _planted(count: int, seed: int) -> tuple[list[Example], np.ndarray]:
    """Text that decides: token 1 + label stands once, all others are fillers; and which word holds it."""
    rng = np.random.default_rng(seed)
    items: list[Example] = []
    where = []
    for i in range(count):
        item = example(i, IDS, rng, label=i % 4)
        words = len(item.segments["word"])
        text = rng.integers(10, 30, size=words)
        key = int(rng.integers(words))
        text[key] = 1 + item.label
        items.append(replace(item, text=text, token_word=np.arange(words)))
        where.append(key)
    return items, np.array(where)


@pytest.fixture(scope="module")
def taught() -> dict[str, System]:
    """Two systems that have learnt to find the token."""
    systems = {}
    for variant in ("concat", "unison"):
        system = make(variant).train()
        optimizer = torch.optim.Adam(system.parameters(), lr=1e-2)
        for step in range(120):
            items, _ = _planted(32, step)
            optimizer.zero_grad()
            total(system, collate(items, IDS)).backward()
            optimizer.step()
        systems[variant] = system.eval()
    return systems


@pytest.mark.parametrize("variant", ["concat", "unison"])
def test_the_word_that_decides_is_named(taught: dict[str, System], variant: str) -> None:
    items, where = _planted(40, 999)
    right = _posteriors(taught[variant], items).argmax(-1) == np.array([item.label for item in items])
    assert right.mean() > 0.9
    named = np.array([values.argmax() for values in _contributions(taught[variant], items)])
    assert (named == where)[right].mean() > 0.9


@pytest.mark.parametrize("variant", ["concat", "unison"])
def test_replacing_the_top_word_costs_more_than_replacing_another(
    taught: dict[str, System], variant: str
) -> None:
    """The words are really taken out of both modalities, not only multiplied by 0."""
    items, _ = _planted(40, 1_000)
    labels = [item.label for item in items]
    contributions = _contributions(taught[variant], items)
    top = [int(values.argmax()) for values in contributions]
    other = [
        (word + 1 + i % (len(v) - 1)) % len(v)
        for i, (word, v) in enumerate(zip(top, contributions, strict=True))
    ]

    def mean(of: Sequence[Example]) -> float:
        return float(np.log(_posteriors(taught[variant], of)[np.arange(len(of)), labels]).mean())

    lost = [mean(items) - mean([*map(_without_word, items, words)]) for words in (top, other)]
    assert lost[0] > 0.3 and lost[0] > 5 * abs(lost[1])


def _posteriors(system: System, items: Sequence[Example]) -> np.ndarray:
    with torch.no_grad():
        posteriors: np.ndarray = system.posteriors(system(collate(items, IDS)).logits).numpy()
    return posteriors


def _without_word(item: Example, word: int) -> Example:
    """Its tokens are a filler, its frames silence."""
    assert item.speech is not None and item.text is not None and item.token_word is not None
    speech, text = item.speech.copy(), np.where(item.token_word == word, 20, item.text)
    speech[slice(*item.segments["word"][word])] = 0.0
    return replace(item, speech=speech, text=text)


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_system_can_be_explained(variant: str) -> None:
    items = examples(3)
    for values, item in zip(_contributions(make(variant), items), items, strict=True):
        assert len(values) == len(item.segments["word"]) and np.isfinite(values).all()


def test_a_missing_modality_contributes_nothing() -> None:
    """Of an utterance without speech only words that have tokens can be missed."""
    items = [replace(item, speech=None, segments={}, segment_word={}) for item in examples(3)]
    for values, item in zip(_contributions(make("unison"), items), items, strict=True):
        in_text = np.isin(np.arange(len(values)), item.token_word)
        assert np.abs(values[in_text]).max() > 1e-4 > np.abs(values[~in_text]).max(initial=0.0)
