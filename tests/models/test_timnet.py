"""``timnet``: its reach by planting, its blocks by loops, its norm under masks, and its causal half."""

from __future__ import annotations

import math

import pytest
import torch

from tests.models.synthetic import VECTORS, batch_of, make
from undertone.models.batch import mask_from
from undertone.models.timnet import Block, Direction, MaskedBatchNorm, Timnet, TimnetConfig
from undertone.training.averaging import Average


@pytest.mark.parametrize("forwards", [True, False])
@pytest.mark.parametrize("levels", [1, 2, 3])
def test_the_reach_of_each_level_is_what_is_planted(forwards: bool, levels: int) -> None:
    """A frame that is changed changes, at level i, the frames up to 2 (2^i - 1) later, and no other."""
    torch.manual_seed(0)
    ways = Direction(TimnetConfig(width=8, levels=levels), forwards).eval().requires_grad_(False)
    T, at = 40, 20
    x, mask = torch.randn(1, T, 8), torch.ones(1, T, dtype=torch.bool)
    other = x.clone()
    other[0, at] += 1.0
    for level, (one, two) in enumerate(zip(ways(x, mask), ways(other, mask), strict=True), 1):
        changed = (one - two)[0].abs().amax(-1).nonzero()[:, 0].tolist()
        reach = 2 * (2**level - 1)
        furthest = {*range(at, at + reach + 1)} if forwards else {*range(at - reach, at + 1)}
        assert set(changed) <= furthest and {min(furthest), max(furthest), at} <= set(changed)


def test_a_block_is_that_of_loops() -> None:
    torch.manual_seed(0)
    block = Block(2, 2, True, 0.0).eval().requires_grad_(False)
    for norm in block.norms:
        norm.running_mean.copy_(torch.tensor([0.1, -0.2]))
        norm.running_var.copy_(torch.tensor([0.5, 2.0]))
    h = torch.randn(1, 6, 2)
    y = h[0]
    for convolution, norm in zip(block.convolutions, block.norms, strict=True):
        rows = []
        for t in range(6):
            before = y[t - 2] if t >= 2 else torch.zeros(2)
            row = convolution.weight[:, :, 0] @ before + convolution.weight[:, :, 1] @ y[t]
            rows.append(((row - norm.running_mean) / (norm.running_var + 1e-3).sqrt()).clamp(min=0))
        y = torch.stack(rows)
    slow = torch.stack([h[0, t] / (1 + (-y[t]).exp()) for t in range(6)])
    torch.testing.assert_close(block(h, torch.ones(1, 6, dtype=torch.bool))[0], slow)


def test_the_norm_is_that_of_real_frames() -> None:
    torch.manual_seed(0)
    norm, x, mask = MaskedBatchNorm(3), torch.randn(4, 5, 3), mask_from(torch.tensor([5, 2, 0, 3]), 5)
    flat = x[mask]
    slow = torch.nn.BatchNorm1d(3, eps=1e-3)
    torch.testing.assert_close(norm(x, mask)[mask], slow(flat))
    torch.testing.assert_close(norm.running_mean, slow.running_mean)
    torch.testing.assert_close(norm.running_var, slow.running_var)
    norm.eval(), slow.eval()
    torch.testing.assert_close(norm(x, mask)[mask], slow(flat))
    before = norm.running_mean.clone()
    norm.train()(x, torch.zeros_like(mask))
    torch.testing.assert_close(norm.running_mean, before)


def test_the_norm_keeps_small_deviations_about_a_large_mean_and_its_gradient() -> None:
    torch.manual_seed(0)
    x = (100.0 + 0.1 * torch.randn(3, 40, 2)).requires_grad_()
    mask, weights = mask_from(torch.tensor([40, 17, 31]), 40), torch.randn(3, 40, 2)
    norm, slow = MaskedBatchNorm(2), torch.nn.BatchNorm1d(2, eps=1e-3)
    (made,) = torch.autograd.grad((norm(x, mask) * weights)[mask].sum(), x)
    torch.testing.assert_close(
        norm.running_var, slow.running_var * 0.9 + 0.1 * x[mask].var(0), atol=1e-4, rtol=0
    )
    (wanted,) = torch.autograd.grad((slow(x[mask]) * weights[mask]).sum(), x)
    torch.testing.assert_close(made, wanted, atol=2e-3, rtol=0)


def test_levels_are_means_of_both_directions_over_real_frames() -> None:
    system, batch = make("timnet", VECTORS).requires_grad_(False), batch_of(3, VECTORS)
    assert isinstance(system, Timnet)
    x, mask = system.speech_input(batch), batch.speech_mask
    levels = system._levels(x, mask)
    f, b = (direction(x, mask) for direction in system.directions)
    for row, length in enumerate(batch.speech_lengths.tolist()):
        for level in range(3):
            slow = sum(f[level][row, t] + b[level][row, t] for t in range(length)) / length
            torch.testing.assert_close(levels[row, level], torch.as_tensor(slow), atol=1e-6, rtol=1e-5)


def test_the_causal_half_has_in_a_stream_what_it_has_in_the_whole() -> None:
    torch.manual_seed(0)
    half = Direction(TimnetConfig(width=8, levels=4), True).eval().requires_grad_(False)
    x, mask = torch.randn(1, 30, 8), torch.ones(1, 30, dtype=torch.bool)
    whole = half(x, mask)
    for end in (1, 7, 20):
        for part, full in zip(half(x[:, :end], mask[:, :end]), whole, strict=True):
            torch.testing.assert_close(part, full[:, :end])
    assert len(make("timnet forward").get_submodule("directions")) == 1  # type: ignore[arg-type]


def test_shares_are_free_numbers_even_at_first() -> None:
    system = make("timnet")
    assert isinstance(system, Timnet)
    assert system.share.tolist() == pytest.approx([1 / 3] * 3)


def test_averaged_weights_have_averaged_statistics() -> None:
    """Statistics of other weights than those at test would be wrong for them."""
    norm = MaskedBatchNorm(2)
    average, seen = Average(norm, 1.0), []
    for step in range(3):
        norm(torch.full((1, 4, 2), float(step)), torch.ones(1, 4, dtype=torch.bool))
        average.follow()
        seen.append(float(norm.running_mean[0]))
    average.settle()
    weights = [1.0, 2.0, 3.0]  # of degree 1
    slow = sum(w * v for w, v in zip(weights, seen, strict=True)) / sum(weights)
    assert float(norm.running_mean[0]) == pytest.approx(slow) and not math.isclose(slow, seen[-1])
