"""Fast layers against slow obvious twins."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from tests.models.synthetic import VECTORS, batch_of
from undertone.models.attention import Attention, Codes
from undertone.models.batch import mask_from
from undertone.models.layers import Pooling, frame_words, masked_mean, tier_of
from undertone.models.recurrence import BiGRU


def _slow_attention(layer: Attention, query: torch.Tensor, memory: torch.Tensor, length: int) -> torch.Tensor:
    """One utterance, one head and one place at a time, over the real part of the memory."""
    q, k, v = layer.query(query), layer.key(memory[:length]), layer.value(memory[:length])
    size = q.shape[-1] // layer.heads
    rows = []
    for place in q:
        heads = []
        for h in range(layer.heads):
            part = slice(h * size, (h + 1) * size)
            scores = torch.stack([place[part] @ key[part] / math.sqrt(size) for key in k])
            heads.append(sum(w * x[part] for w, x in zip(scores.softmax(0), v, strict=True)))
        rows.append(layer.out(torch.cat(heads)))
    return torch.stack(rows)


def test_attention_is_what_a_loop_over_places_says() -> None:
    torch.manual_seed(0)
    layer, query, memory = Attention(8, 2), torch.randn(3, 4, 8), torch.randn(3, 5, 8)
    lengths = torch.tensor([5, 2, 1])
    fast = layer(query, memory, mask_from(lengths, 5))
    for i, length in enumerate(lengths):
        torch.testing.assert_close(fast[i], _slow_attention(layer, query[i], memory[i], int(length)))


def test_attention_over_nothing_says_nothing() -> None:
    layer = Attention(8, 2)
    out = layer(torch.randn(2, 3, 8), torch.randn(2, 4, 8), mask_from(torch.tensor([0, 4]), 4))
    assert not out[0].any() and out[1].any()


def test_causal_attention_does_not_see_what_comes() -> None:
    torch.manual_seed(0)
    layer, x = Attention(8, 2), torch.randn(1, 6, 8)
    mask = torch.ones(1, 6, dtype=torch.bool)
    changed = x.clone()
    changed[:, 4:] += 1.0
    before, after = layer(x, x, mask, causal=True), layer(changed, changed, mask, causal=True)
    torch.testing.assert_close(before[:, :4], after[:, :4])
    assert not torch.allclose(before[:, 4:], after[:, 4:])


def test_equal_codes_attract_each_other_from_the_first_step() -> None:
    torch.manual_seed(0)
    layer, codes = Attention(64, 8, matching=True), Codes(64, ordered=False)
    numbers = torch.arange(8)[None]
    noise = torch.randn(2, 1, 8, 64) * 0.1
    q, k = layer._queries_keys(noise[0], noise[1], (codes(numbers), codes(numbers)))
    scores = (q @ k.transpose(-1, -2)).mean(1)[0]  # over heads
    assert (scores.argmax(-1) == torch.arange(8)).all()


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 7), min_size=1, max_size=4), st.booleans())
def test_the_gru_turned_by_hand_is_the_packed_one(lengths: list[int], causal: bool) -> None:
    torch.manual_seed(0)
    ours, x, n = BiGRU(5, 6, causal), torch.randn(len(lengths), max(lengths), 5), torch.tensor(lengths)
    size = 6 if causal else 3
    theirs = nn.GRU(5, size, batch_first=True, bidirectional=not causal)
    with torch.no_grad():
        for mine, suffix in ((ours.ahead, ""), (ours.back, "_reverse")):
            for name, value in mine.named_parameters() if mine is not None else ():
                theirs.get_parameter(name + suffix).copy_(value)
    packed = pack_padded_sequence(x, n, batch_first=True, enforce_sorted=False)
    expected, _ = pad_packed_sequence(theirs(packed)[0], batch_first=True, total_length=x.shape[1])
    torch.testing.assert_close(ours(x, n), expected)


@pytest.mark.parametrize("kind", ["mean", "mean_std", "max", "attention"])
def test_pooling_sees_the_real_part_only(kind: str) -> None:
    torch.manual_seed(0)
    pool, x = Pooling(4, kind), torch.randn(3, 5, 4)  # type: ignore[arg-type]
    lengths = torch.tensor([5, 2, 0])
    pooled = pool(x, mask_from(lengths, 5))
    assert pooled.shape == (3, pool.width)
    torch.testing.assert_close(pooled[1], pool(x[1:2, :2], torch.ones(1, 2, dtype=torch.bool))[0])
    assert not pooled[2].any()


def test_a_place_counts_for_the_maxima_it_holds() -> None:
    x = torch.tensor([[[1.0, 9.0, 5.0, 0.0], [3.0, 2.0, 6.0, 1.0], [99.0, 99.0, 99.0, 99.0]]])
    mask = mask_from(torch.tensor([2]), 3)
    assert Pooling(4, "max").weights(x, mask).tolist() == [[0.25, 0.75, 0.0]]
    assert not Pooling(4, "max").weights(x, torch.zeros_like(mask)).any()


def test_mean_and_deviation_by_hand() -> None:
    x = torch.tensor([[[1.0], [3.0], [99.0]]])
    mask = mask_from(torch.tensor([2]), 3)
    assert masked_mean(x, mask).item() == 2.0
    assert Pooling(1, "mean_std")(x, mask)[0, 1].item() == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("ordered", [True, False])
def test_codes_of_nowhere_are_zeros_and_of_places_are_their_own(ordered: bool) -> None:
    codes = Codes(32, ordered)
    table = codes(torch.arange(60))
    assert not codes(torch.tensor([-1])).any()
    likeness = table @ table.T
    assert (likeness.argmax(-1) == torch.arange(60)).all()


def test_an_utterance_without_the_tier_is_one_segment() -> None:
    batch = batch_of(3, VECTORS)
    bare = tier_of(type(batch)(**{**batch.__dict__, "segments": {}}), "word")
    assert bare.lengths.tolist() == [1, 1, 1]
    assert bare.spans[:, 0, 1].tolist() == batch.speech_lengths.tolist()
    assert bare.word.tolist() == [[-1]] * 3
    gone = tier_of(batch.without(speech=torch.tensor([True, False, False])), "word")
    assert gone.lengths[0] == 0 and gone.lengths[1] == batch.segments["word"].lengths[1]


def test_each_frame_knows_its_word() -> None:
    batch = batch_of(4, VECTORS)
    found = frame_words(batch)
    for i, tier in enumerate(batch.segments["word"].spans):
        for t in range(found.shape[1]):
            inside = [s for s, (a, b) in enumerate(tier.tolist()) if a <= t < b]
            assert found[i, t] == (inside[0] if inside else -1)
