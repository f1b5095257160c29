"""``pooled``: its pooling against loops, and where its paper and its code differ."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from tests.models.synthetic import LAYERS, VECTORS, batch_of, make
from undertone.models.inputs import LayerSum
from undertone.models.pooled import AttentionPooled, OneVector


@pytest.mark.parametrize("scaled", [True, False])
def test_pooling_is_that_of_a_loop_over_positions(scaled: bool) -> None:
    torch.manual_seed(0)
    pool, x = OneVector(4, scaled).requires_grad_(False), torch.randn(3, 5, 4)
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 0, 1, 0, 0], [0, 0, 0, 0, 0]], dtype=torch.bool)
    slow = torch.zeros(3, 4)
    for b in range(3):
        real = [t for t in range(5) if mask[b, t]]
        scores = [float(x[b, t] @ pool.vector) / (2.0 if scaled else 1.0) for t in real]
        total = sum(math.exp(s) for s in scores)
        for t, score in zip(real, scores, strict=True):
            slow[b] += math.exp(score) / total * x[b, t]
    torch.testing.assert_close(pool(x, mask), slow)


def test_frames_and_tokens_share_one_softmax() -> None:
    """Each side is not pooled on its own: a vector that prefers tokens leaves frames no weight."""
    system, batch = make("pooled", VECTORS), batch_of(4, VECTORS)
    assert isinstance(system, AttentionPooled)
    with torch.no_grad():
        system.norms[1].bias.copy_(100 * system.pool.vector)
    louder = system(batch).logits
    other = system(replace(batch, speech=2 * batch.speech + 1))
    torch.testing.assert_close(louder, other.logits)


def test_layers_are_added_by_free_numbers_or_by_their_softmax() -> None:
    x = torch.randn(2, 3, 4, 5)
    free, bounded = LayerSum(3, free=True), LayerSum(3)
    torch.testing.assert_close(free(x), x.mean(1))
    torch.testing.assert_close(bounded(x), x.mean(1))
    with torch.no_grad():
        for one in (free, bounded):
            one.weight.copy_(torch.tensor([2.0, -1.0, 0.5]))
    torch.testing.assert_close(free(x), 2 * x[:, 0] - x[:, 1] + 0.5 * x[:, 2])
    parts = [math.exp(w) for w in (2.0, -1.0, 0.5)]
    slow = sum(part / sum(parts) * x[:, k] for k, part in enumerate(parts))
    torch.testing.assert_close(bounded(x), torch.as_tensor(slow))


def test_the_optional_attention_has_no_biases() -> None:
    names = {name for name, _ in make("pooled as its code", LAYERS).named_parameters()}
    assert {name for name in names if name.startswith("within")} == {
        f"within.{part}.weight" for part in ("query", "key", "value", "out")
    }
