"""GRUs over sequences of different lengths, and their gradient worked out by hand.

    r, z = σ(a_r + W_r h + c_r), σ(a_z + W_z h + c_z)
    n = tanh(a_n + r (W_n h + c_n))          a = W x + b, known for all times beforehand
    h' = n + z (h - n)

Only ``W h`` must wait for the time before. Training on a processor computes both directions at once, and
where autograd would multiply for every parameter at every time, one product over all times is enough.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from undertone.models.layers import by_hand

__all__ = ["BiGRU", "gru_states"]


class BiGRU(nn.Module):
    """A GRU over each sequence's real part, forwards and (unless ``causal``) backwards.

    The backward half runs forwards over the sequence reversed within its length, so that padding never comes
    before a real frame.
    """

    def __init__(self, inputs: int, width: int, causal: bool = False) -> None:
        super().__init__()
        size = width if causal else width // 2
        self.ahead = nn.GRU(inputs, size, batch_first=True)
        self.back = None if causal else nn.GRU(inputs, width - size, batch_first=True)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """(B, T, width); zeros on padding."""
        times = torch.arange(x.shape[1], device=x.device)
        mask = times < lengths[:, None]
        grus, inputs, reversed_times = [self.ahead], [x], None
        if self.back is not None:
            reversed_times = torch.where(mask, lengths[:, None] - 1 - times, times)  # its own inverse
            grus, inputs = [self.ahead, self.back], [x, _reorder(x, reversed_times)]
        states = self._states(grus, inputs)
        if reversed_times is not None:
            states[1] = _reorder(states[1], reversed_times)
        return torch.cat(states, -1) * mask[..., None]

    def _states(self, grus: list[nn.GRU], inputs: list[Tensor]) -> list[Tensor]:
        equal = len({gru.hidden_size for gru in grus}) == 1
        if equal and by_hand(inputs[0]):
            return list(_at_once(grus, inputs))
        return [gru(x)[0] for gru, x in zip(grus, inputs, strict=True)]


def _reorder(x: Tensor, times: Tensor) -> Tensor:
    return x.gather(1, times[..., None].expand(-1, -1, x.shape[-1]))


def _at_once(grus: list[nn.GRU], inputs: list[Tensor]) -> tuple[Tensor, ...]:
    """The states (B, T, H) of each GRU, all computed at once."""

    def of(gru: nn.GRU, kind: str) -> Tensor:
        return gru.get_parameter(f"{kind}_l0")

    from_input = [
        F.linear(x.transpose(0, 1), of(gru, "weight_ih"), of(gru, "bias_ih"))
        for gru, x in zip(grus, inputs, strict=True)
    ]
    weight = torch.stack([of(gru, "weight_hh") for gru in grus])
    bias = torch.stack([of(gru, "bias_hh") for gru in grus])
    return gru_states(torch.stack(from_input), weight, bias).transpose(1, 2).unbind(0)


def gru_states(from_input: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """(N, T, B, H): the states of N GRUs, from the inputs' part of the gates ``from_input (N, T, B, 3 H)``,
    a above, and the maps of the states ``weight (N, 3 H, H)``, ``bias (N, 3 H)``, W and c above."""
    states: Tensor = _States.apply(from_input, weight, bias)  # type: ignore[no-untyped-call]
    return states


class _States(torch.autograd.Function):
    """In-place wherever a value is not needed again: small steps are dominated by what they allocate."""

    @staticmethod
    @torch.amp.custom_fwd(device_type="cpu", cast_inputs=torch.float32)  # type: ignore[untyped-decorator]
    def forward(ctx: Any, from_input: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        N, T, B, G = from_input.shape
        H = G // 3
        maps, constant = weight.transpose(1, 2).contiguous(), bias[:, None]
        gates, states = from_input.clone(), from_input.new_zeros(N, T + 1, B, H)
        # W_n h + c_n at all times; W h + c at one
        from_state_n, from_state = from_input.new_empty(N, T, B, H), from_input.new_empty(N, B, G)
        rz_now, n_now = from_state[..., : 2 * H], from_state[..., 2 * H :]
        h = states[:, 0]
        for t, gate in enumerate(gates.unbind(1)):
            torch.baddbmm(constant, h, maps, out=from_state)
            from_state_n[:, t] = n_now
            rz = gate[..., : 2 * H].add_(rz_now).sigmoid_()
            n = gate[..., 2 * H :].addcmul_(rz[..., :H], n_now).tanh_()
            h = torch.lerp(n, h, rz[..., H:], out=states[:, t + 1])
        ctx.save_for_backward(weight, gates, from_state_n, states)
        return states[:, 1:]

    @staticmethod
    @torch.amp.custom_bwd(device_type="cpu")  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        weight, gates, from_state_n, states = ctx.saved_tensors
        N, T, B, G = gates.shape
        H = G // 3
        r, z, n = torch.split(gates, H, -1)
        before = states[:, :-1]
        # derivative of the next state by each gate's argument, all times at once
        slopes = torch.empty_like(gates)
        by_r, by_z, by_n = torch.split(slopes, H, -1)
        by_argument = (1 - n * n).mul_(1 - z)
        torch.mul(by_argument, r, out=by_n)  # by W_n h + c_n, which r multiplies
        torch.mul(by_n, from_state_n, out=by_r).mul_(1 - r)
        torch.sub(before, n, out=by_z).mul_(z * (1 - z))
        # from the last time to the first: slopes become gradients in place
        total = grad.to(slopes.dtype).clone(memory_format=torch.contiguous_format)
        for t in range(T - 1, -1, -1):
            step, of_state = slopes[:, t], total[:, t]
            step.view(N, B, 3, H).mul_(of_state[:, :, None])
            if t:
                total[:, t - 1].addcmul_(of_state, z[:, t]).baddbmm_(step, weight)
        flat = slopes.view(N, T * B, G)
        for_weight = flat.transpose(1, 2) @ before.reshape(N, T * B, H)
        for_bias = flat.sum(1)
        torch.mul(total, by_argument, out=by_n)
        return slopes, for_weight, for_bias
