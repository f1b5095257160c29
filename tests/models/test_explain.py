"""A planted reason is found: the word that decides is the word that is named."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.models.synthetic import IDS, VARIANTS, batch_of, example, make, total
from undertone.models.batch import Batch, collate
from undertone.models.example import Example
from undertone.models.explain import explain
from undertone.models.layers import frame_words
from undertone.models.system import System


def _planted(count: int, seed: int) -> tuple[Batch, torch.Tensor]:
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
    return collate(items, IDS), torch.tensor(where)


@pytest.fixture(scope="module")
def taught() -> dict[str, System]:
    """Two systems that have learnt to find the token."""
    systems = {}
    for variant in ("concat", "unison"):
        system = make(variant).train()
        optimizer = torch.optim.Adam(system.parameters(), lr=1e-2)
        for step in range(120):
            batch, _ = _planted(32, step)
            optimizer.zero_grad()
            total(system, batch).backward()
            optimizer.step()
        systems[variant] = system.eval()
    return systems


@pytest.mark.parametrize("variant", ["concat", "unison"])
def test_the_word_that_decides_is_named(taught: dict[str, System], variant: str) -> None:
    batch, where = _planted(40, 999)
    system = taught[variant]
    right = system(batch).logits.argmax(-1) == batch.labels
    assert right.float().mean() > 0.9
    assert (explain(system, batch, batch.labels).argmax(-1) == where)[right].float().mean() > 0.9


@pytest.mark.parametrize("variant", ["concat", "unison"])
def test_replacing_the_top_word_costs_more_than_replacing_another(
    taught: dict[str, System], variant: str
) -> None:
    """The words are really taken out of both sides, not only multiplied by 0."""
    batch, _ = _planted(40, 1_000)
    system = taught[variant]
    top = explain(system, batch, batch.labels).argmax(-1)
    counts = batch.segments["word"].lengths
    other = (top + 1 + torch.arange(40) % (counts - 1)) % counts
    whole = _belief(system, batch)
    lost = [(whole - _belief(system, _without_word(batch, w))).mean() for w in (top, other)]
    assert lost[0] > 0.3 and lost[0] > 5 * lost[1].abs()


def _belief(system: System, batch: Batch) -> torch.Tensor:
    return system.posteriors(system(batch).logits).gather(-1, batch.labels[:, None])[:, 0].detach()


def _without_word(batch: Batch, word: torch.Tensor) -> Batch:
    """Its tokens are a filler, its frames silence."""
    speech = torch.where((frame_words(batch) == word[:, None])[..., None], 0.0, batch.speech)
    return replace(batch, speech=speech, text=torch.where(batch.token_word == word[:, None], 20, batch.text))


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_system_can_be_explained(variant: str) -> None:
    system, batch = make(variant), batch_of(3)
    losses = explain(system, batch)
    mask = batch.segments["word"].mask
    assert losses.shape == mask.shape
    assert torch.isfinite(losses).all() and not losses[~mask].any()
    assert not system.training


def test_a_missing_side_contributes_nothing() -> None:
    """Of an utterance without speech only words that have tokens can be missed."""
    system, batch = make("unison"), batch_of(3)
    silent = batch.without(speech=torch.ones(3, dtype=torch.bool))
    losses = explain(system, silent)
    in_text = torch.stack([(batch.token_word == w).any(1) for w in range(losses.shape[1])], 1)
    assert losses[in_text].any() and not losses[~in_text].any()
