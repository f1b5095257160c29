"""Pooling against the slow loop that says what it means."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from undertone.features.pooling import How, _pool_for_export, attend, gather, pool


def slowly(frames: Tensor, spans: Tensor, lengths: Tensor, how: How) -> Tensor:
    """One segment after the other."""
    B, S, _ = spans.shape
    out = torch.zeros(B, S, frames.shape[-1], dtype=frames.dtype)
    for b in range(B):
        for s in range(int(lengths[b])):
            first, last = spans[b, s].tolist()
            if last > first:
                part = frames[b, first:last]
                out[b, s] = part.mean(0) if how == "mean" else part.max(0).values
    return out


def batch(seed: int, B: int, S: int, T: int, D: int) -> tuple[Tensor, Tensor, Tensor]:
    """Random spans: some empty, some overlapping, some at the very end; padding is (0, 0)."""
    generator = torch.Generator().manual_seed(seed)
    frames = torch.randn(B, T, D, generator=generator)
    ends = torch.randint(0, T + 1, (B, S, 2), generator=generator).sort(-1).values
    lengths = torch.randint(0, S + 1, (B,), generator=generator)
    real = torch.arange(S) < lengths[:, None]
    return frames, ends * real[..., None], lengths


sizes = st.tuples(*(st.integers(1, n) for n in (5, 9, 30, 6)))


@given(seed=st.integers(0, 10**6), size=sizes, how=st.sampled_from(["mean", "max"]))
@settings(deadline=None, max_examples=60)
def test_pooling_is_the_slow_loop(seed: int, size: tuple[int, int, int, int], how: How) -> None:
    frames, spans, lengths = batch(seed, *size)
    torch.testing.assert_close(pool(frames, spans, lengths, how), slowly(frames, spans, lengths, how))


@given(seed=st.integers(0, 10**6), size=sizes)
@settings(deadline=None, max_examples=40)
def test_gathered_frames_are_each_segments_own(seed: int, size: tuple[int, int, int, int]) -> None:
    frames, spans, lengths = batch(seed, *size)
    inside, mask = gather(frames, spans, lengths)
    for b in range(len(frames)):
        for s in range(spans.shape[1]):
            first, last = spans[b, s].tolist() if s < lengths[b] else (0, 0)
            assert torch.equal(inside[b, s][mask[b, s]], frames[b, first:last])
    assert not inside[~mask].any()


@given(seed=st.integers(0, 10**6), size=sizes)
@settings(deadline=None, max_examples=40)
def test_attention_with_equal_scores_is_the_mean(seed: int, size: tuple[int, int, int, int]) -> None:
    frames, spans, lengths = batch(seed, *size)
    scores = torch.zeros(frames.shape[:2])
    torch.testing.assert_close(attend(frames, scores, spans, lengths), pool(frames, spans, lengths))


def test_attention_follows_the_scores() -> None:
    frames = torch.arange(6.0).reshape(1, 6, 1)
    scores = torch.tensor([[0.0, 0.0, 50.0, 0.0, 0.0, 50.0]])
    out = attend(frames, scores, torch.tensor([[[0, 3], [3, 6], [0, 0]]]), torch.tensor([2]))
    torch.testing.assert_close(out.flatten(), torch.tensor([2.0, 5.0, 0.0]))


@pytest.mark.parametrize("how", ["mean", "max"])
def test_gradients_are_the_slow_loops(how: How) -> None:
    frames, spans, lengths = batch(5, 4, 7, 20, 3)
    gradients = []
    for function in (pool, slowly):
        leaf = frames.clone().requires_grad_()
        weight = torch.linspace(0, 1, 4 * 7 * 3).reshape(4, 7, 3)
        (function(leaf, spans, lengths, how) * weight).sum().backward()
        assert leaf.grad is not None and torch.isfinite(leaf.grad).all()
        gradients.append(leaf.grad)
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("how", ["mean", "max"])
def test_padding_changes_nothing(how: How) -> None:
    frames, spans, lengths = batch(9, 3, 6, 15, 4)
    wide = torch.cat([frames, torch.full((3, 5, 4), 99.0)], 1)
    tall = torch.cat([spans, torch.zeros(3, 2, 2, dtype=torch.int64)], 1)
    padded = pool(wide, tall, lengths, how)
    torch.testing.assert_close(padded[:, :6], pool(frames, spans, lengths, how), rtol=0, atol=0)
    assert not padded[:, 6:].any()


def test_nothing_to_pool_is_zeros() -> None:
    frames = torch.randn(2, 4, 3, requires_grad=True)
    out = pool(frames, torch.zeros(2, 5, 2, dtype=torch.int64), torch.zeros(2, dtype=torch.int64))
    assert out.shape == (2, 5, 3) and not out.any()
    out.sum().backward()
    assert frames.grad is not None and not frames.grad.any()


def test_long_clips_lose_no_precision() -> None:
    """A running sum in fp32 would: the frames far behind a large one would drown."""
    frames = torch.full((1, 90_000, 1), 1e-3)
    frames[0, 0] = 1e6
    spans = torch.tensor([[[89_990, 90_000]]])
    torch.testing.assert_close(pool(frames, spans, torch.tensor([1]))[0, 0, 0], torch.tensor(1e-3))


@given(seed=st.integers(0, 10**6), size=sizes, how=st.sampled_from(["mean", "max"]))
@settings(deadline=None, max_examples=40)
def test_the_exported_graph_pools_the_same(seed: int, size: tuple[int, int, int, int], how: How) -> None:
    frames, spans, lengths = batch(seed, *size)
    torch.testing.assert_close(
        _pool_for_export(frames, spans, lengths, how), pool(frames, spans, lengths, how)
    )
