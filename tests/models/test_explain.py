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

BOTH = pytest.mark.parametrize("method", ["gradient", "deletion"])


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


@BOTH
@pytest.mark.parametrize("variant", ["concat", "unison"])
def test_the_word_that_decides_is_named(taught: dict[str, System], variant: str, method: str) -> None:
    batch, where = _planted(40, 999)
    system = taught[variant]
    right = system(batch).logits.argmax(-1) == batch.labels
    assert right.float().mean() > 0.9
    found = explain(system, batch, batch.labels, method)  # type: ignore[arg-type]
    assert (found.word.argmax(-1) == where)[right].float().mean() > 0.9
    assert (found.token.argmax(-1) == where)[right].float().mean() > 0.9


@pytest.mark.parametrize("variant", ["concat", "unison"])
def test_deleting_the_top_word_costs_more_than_deleting_another(
    taught: dict[str, System], variant: str
) -> None:
    """Named by the gradient, checked by deletion: the words are really taken out of both sides."""
    batch, _ = _planted(40, 1_000)
    system = taught[variant]
    top = explain(system, batch, batch.labels, "gradient").word.argmax(-1)
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
@BOTH
def test_every_system_can_be_asked(variant: str, method: str) -> None:
    system, batch = make(variant), batch_of(3)
    found = explain(system, batch, method=method)  # type: ignore[arg-type]
    assert found.frame.shape == batch.speech_mask.shape
    assert found.token.shape == batch.text_mask.shape
    assert found.word.shape == batch.segments["word"].mask.shape
    for values, mask in ((found.frame, batch.speech_mask), (found.token, batch.text_mask)):
        assert torch.isfinite(values).all() and not values[~mask].any()
    assert all(p.grad is None for p in system.parameters())
    assert not system.training


def test_gradients_add_up_to_what_everything_together_changes() -> None:
    """Completeness of integrated gradients, to the accuracy of its steps."""
    system, batch = make("concat"), batch_of(5)
    found = explain(system, batch, batch.labels, "gradient")
    silent = replace(batch, speech_gate=batch.speech_mask * 0.0, text_gate=batch.text_mask * 0.0)
    change = _belief(system, batch).log() - _belief(system, silent).log()
    torch.testing.assert_close(found.frame.sum(1) + found.token.sum(1), change, atol=0.03, rtol=0.1)


def test_a_missing_side_contributes_nothing() -> None:
    system, batch = make("unison"), batch_of(3)
    found = explain(system, batch.without(speech=torch.ones(3, dtype=torch.bool)), method="gradient")
    assert not found.frame.any() and found.token.any()
