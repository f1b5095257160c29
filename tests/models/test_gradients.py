"""What is worked out by hand is what autograd finds, only sooner."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from undertone.models.attention import Attention, mean_attention
from undertone.models.batch import mask_from
from undertone.models.layers import by_hand, masked_mean
from undertone.models.recurrence import BiGRU, gru_states


def gradients(output: Tensor, weight: Tensor, of: list[Tensor]) -> list[Tensor]:
    return list(torch.autograd.grad((output * weight).sum(), of))


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 2), st.integers(1, 6), st.integers(1, 3), st.integers(1, 5))
def test_states_and_their_gradient_are_those_of_torchs_own_units(N: int, T: int, B: int, H: int) -> None:
    torch.manual_seed(0)
    units = [nn.GRU(4, H) for _ in range(N)]
    x, weight = torch.randn(N, T, B, 4, requires_grad=True), torch.randn(N, T, B, H)
    parameters = [x, *(p for unit in units for p in unit.parameters())]
    slow = torch.stack([unit(x[i])[0] for i, unit in enumerate(units)])
    maps = [
        [unit.get_parameter(f"{kind}_{part}_l0") for unit in units]
        for kind in ("weight", "bias")
        for part in ("ih", "hh")
    ]
    first = torch.einsum("ntbd,ngd->ntbg", x, torch.stack(maps[0])) + torch.stack(maps[2])[:, None, None]
    fast = gru_states(first, torch.stack(maps[1]), torch.stack(maps[3]))
    torch.testing.assert_close(fast, slow)
    for ours, theirs in zip(
        gradients(fast, weight, parameters), gradients(slow, weight, parameters), strict=True
    ):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, 6), min_size=1, max_size=4), st.integers(1, 3))
def test_mean_attention_and_its_gradient_are_those_of_all_weights(lengths: list[int], H: int) -> None:
    torch.manual_seed(0)
    B, T, d = len(lengths), 6, 3
    q, k = (torch.randn(B, T, H, d, requires_grad=True) for _ in range(2))
    weight, mask = torch.randn(B, H, T), mask_from(torch.tensor(lengths), T)
    scores = torch.einsum("bqhd,bkhd->bhqk", q, k) / d**0.5
    rows = scores.masked_fill(~mask[:, None, None], -1e9).softmax(-1) * mask[:, None, :, None]
    slow = rows.sum(2) / mask.sum(1).clamp(min=1)[:, None, None] * mask[:, None]
    fast = mean_attention(q, k, torch.tensor(lengths))
    torch.testing.assert_close(fast, slow)
    for ours, theirs in zip(gradients(fast, weight, [q, k]), gradients(slow, weight, [q, k]), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_the_mean_of_attention_is_the_same_with_and_without_a_gradient() -> None:
    torch.manual_seed(0)
    layer, x, mask = Attention(8, 2), torch.randn(3, 5, 8), mask_from(torch.tensor([5, 2, 0]), 5)
    with torch.no_grad():
        plain = layer.mean(x, mask)
    torch.testing.assert_close(plain, masked_mean(layer(x, x, mask), mask))
    torch.testing.assert_close(layer.mean(x, mask), plain)
    slow = gradients(masked_mean(layer(x, x, mask), mask), plain + 1, list(layer.parameters()))
    for ours, theirs in zip(
        gradients(layer.mean(x, mask), plain + 1, list(layer.parameters())), slow, strict=True
    ):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


def test_dropped_attention_has_the_gradient_of_the_weights_that_were_dropped() -> None:
    torch.manual_seed(0)
    q, k = (torch.randn(2, 5, 2, 3, dtype=torch.float64, requires_grad=True) for _ in range(2))
    lengths = torch.tensor([5, 3])

    def dropped(q: Tensor, k: Tensor) -> Tensor:
        torch.manual_seed(1)
        return mean_attention(q, k, lengths, 0.5)

    assert torch.autograd.gradcheck(dropped, [q, k])
    whole = mean_attention(q, k, lengths)
    draws = torch.stack([mean_attention(q, k, lengths, 0.5) for _ in range(4000)])
    assert not torch.allclose(draws[0], draws[1])
    torch.testing.assert_close(draws.mean(0), whole, atol=0.02, rtol=0)


@pytest.mark.parametrize("mean", [True, False])
def test_attention_drops_weights_in_training_alone(mean: bool) -> None:
    torch.manual_seed(0)
    layer, mask = Attention(8, 2, dropout=0.5), mask_from(torch.tensor([5, 2]), 5)
    nn.init.normal_(layer.value.bias)
    x = torch.randn(2, 5, 8)

    def output() -> Tensor:
        result: Tensor = layer.mean(x, mask) if mean else layer(x, x, mask)
        return result.detach()

    draws = torch.stack([output() for _ in range(4000)])
    layer.eval()
    assert torch.equal(output(), output()) and not torch.allclose(draws[0], draws[1])
    torch.testing.assert_close(
        draws.mean(0)[mask if not mean else ...], output()[mask if not mean else ...], atol=0.06, rtol=0
    )


@pytest.mark.parametrize("causal", [True, False])
def test_a_recurrence_is_the_same_with_and_without_a_gradient(causal: bool) -> None:
    torch.manual_seed(0)
    layer, x, lengths = BiGRU(4, 6, causal), torch.randn(3, 7, 4), torch.tensor([7, 3, 1])
    with torch.no_grad():
        plain = layer(x, lengths)
    assert by_hand(x)
    torch.testing.assert_close(layer(x, lengths), plain)


def test_half_precision_outside_is_single_precision_within() -> None:
    torch.manual_seed(0)
    layer, x = BiGRU(4, 6), torch.randn(2, 5, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        states = layer(x, torch.tensor([5, 3]))
    states.float().sum().backward()
    torch.testing.assert_close(states.float(), layer(x, torch.tensor([5, 3])), atol=0.02, rtol=0.02)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in layer.parameters())


def test_gradients_by_hand_are_right_to_double_precision() -> None:
    torch.manual_seed(0)
    walk = [torch.randn(*shape, dtype=torch.float64) for shape in ((2, 4, 3, 6), (2, 6, 2), (2, 6))]
    looks = [torch.randn(2, 5, 2, 3, dtype=torch.float64) for _ in range(2)]
    assert torch.autograd.gradcheck(gru_states, [x.requires_grad_() for x in walk])
    lengths = torch.tensor([5, 2])
    assert torch.autograd.gradcheck(
        lambda q, k: mean_attention(q, k, lengths), [x.requires_grad_() for x in looks]
    )


def test_double_precision_stays_double() -> None:
    torch.manual_seed(0)
    layer, x = BiGRU(4, 6).double(), torch.randn(2, 5, 4, dtype=torch.float64, requires_grad=True)
    states = layer(x, torch.tensor([5, 3]))
    states.sum().backward()
    assert states.dtype == torch.float64 and x.grad is not None and x.grad.dtype == torch.float64


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
def test_a_graph_shows_torchs_own_unit() -> None:
    graph = torch.jit.trace(
        BiGRU(4, 6).eval(), (torch.randn(2, 5, 4), torch.tensor([5, 3])), check_trace=False
    )
    assert "aten::gru" in str(graph.inlined_graph)
