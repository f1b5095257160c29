"""Two gradients worked out by hand, for training without an accelerator.

A GRU's walk through time:

    r, z = σ(a_r + W_r h + c_r), σ(a_z + W_z h + c_z)
    n = tanh(a_n + r (W_n h + c_n))          a = W x + b, known for all times beforehand
    h' = n + z (h - n)

Only ``W h`` must wait for the time before. ``walk`` takes both directions through it at once, and where
autograd would multiply for every parameter at every time, one product over all times is enough at the end.

The mean of what all places of a sequence read of it, Σ_q softmax(q k)/T: nothing of T × T is kept (the
gradient computes it again), and each sequence is looked at in its own length, not the batch's longest.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

__all__ = ["looks", "walk", "worthwhile"]


def worthwhile(x: Tensor) -> bool:
    """Is a gradient wanted, on the processor, of a network that is not just being written down as a graph?"""
    watched = torch.compiler.is_compiling() or torch.jit.is_tracing()  # type: ignore[attr-defined,no-untyped-call]
    return torch.is_grad_enabled() and x.device.type == "cpu" and not watched


def walk(given: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """(N, T, B, H): the states of N GRUs side by side, from what their inputs give the gates
    ``given (N, T, B, 3 H)``, and the maps of their states ``weight (N, 3 H, H)``, ``bias (N, 3 H)``."""
    states: Tensor = _Walk.apply(given, weight, bias)  # type: ignore[no-untyped-call]
    return states


class _Walk(torch.autograd.Function):
    """In-place wherever nothing is needed again: small steps are dominated by what they allocate."""

    @staticmethod
    @torch.amp.custom_fwd(device_type="cpu", cast_inputs=torch.float32)  # type: ignore[untyped-decorator]
    def forward(ctx: Any, given: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        N, T, B, G = given.shape
        H = G // 3
        map_of, constant = weight.transpose(1, 2).contiguous(), bias[:, None]
        gates, states = given.clone(), given.new_zeros(N, T + 1, B, H)
        heard, said = given.new_empty(N, T, B, H), given.new_empty(N, B, G)  # W_n h + c_n; W h + c
        said_rz, said_n = said[..., : 2 * H], said[..., 2 * H :]
        h = states[:, 0]
        for t, gate in enumerate(gates.unbind(1)):
            torch.baddbmm(constant, h, map_of, out=said)
            heard[:, t] = said_n
            rz = gate[..., : 2 * H].add_(said_rz).sigmoid_()
            n = gate[..., 2 * H :].addcmul_(rz[..., :H], said_n).tanh_()
            h = torch.lerp(n, h, rz[..., H:], out=states[:, t + 1])
        ctx.save_for_backward(weight, gates, heard, states)
        return states[:, 1:]

    @staticmethod
    @torch.amp.custom_bwd(device_type="cpu")  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        weight, gates, heard, states = ctx.saved_tensors
        N, T, B, G = gates.shape
        H = G // 3
        r, z, n = torch.split(gates, H, -1)
        before = states[:, :-1]
        # how much each gate's argument moves the next state, all times at once
        slopes = torch.empty_like(gates)
        by_r, by_z, by_n = torch.split(slopes, H, -1)
        through = (1 - n * n).mul_(1 - z)
        torch.mul(through, r, out=by_n)  # by way of W_n h + c_n, which r lets through
        torch.mul(by_n, heard, out=by_r).mul_(1 - r)
        torch.sub(before, n, out=by_z).mul_(z * (1 - z))
        # from the last time to the first: slopes become gradients in place
        total = grad.float().clone(memory_format=torch.contiguous_format)
        for t in range(T - 1, -1, -1):
            step, whole = slopes[:, t], total[:, t]
            step.view(N, B, 3, H).mul_(whole[:, :, None])
            if t:
                total[:, t - 1].addcmul_(whole, z[:, t]).baddbmm_(step, weight)
        flat = slopes.view(N, T * B, G)
        for_weight = flat.transpose(1, 2) @ before.reshape(N, T * B, H)
        for_bias = flat.sum(1)
        torch.mul(total, through, out=by_n)
        return slopes, for_weight, for_bias


def looks(query: Tensor, key: Tensor, lengths: Tensor) -> Tensor:
    """(B, H, T): how much each place is read by each head, the mean over the real places that ask; zeros
    on padding. From queries and keys (B, T, H, d)."""
    read: Tensor = _Looks.apply(query, key, lengths.tolist())  # type: ignore[no-untyped-call]
    return read


class _Looks(torch.autograd.Function):
    @staticmethod
    @torch.amp.custom_fwd(device_type="cpu", cast_inputs=torch.float32)  # type: ignore[untyped-decorator]
    def forward(ctx: Any, query: Tensor, key: Tensor, lengths: list[int]) -> Tensor:
        ctx.lengths = lengths
        ctx.save_for_backward(query, key)
        B, T, H, _ = query.shape
        read = query.new_zeros(B, H, T)
        for b, t in enumerate(lengths):
            if t:
                torch.mean(_softmax(query[b, :t], key[b, :t]), 1, out=read[b, :, :t])
        return read

    @staticmethod
    @torch.amp.custom_bwd(device_type="cpu")  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        query, key = ctx.saved_tensors
        for_query, for_key = torch.zeros_like(query), torch.zeros_like(key)
        for b, t in enumerate(ctx.lengths):
            if not t:
                continue
            q, k = query[b, :t].transpose(0, 1), key[b, :t].transpose(0, 1)  # (H, t, d)
            p = _softmax(query[b, :t], key[b, :t])
            wanted = grad[b, :, None, :t] / (t * math.sqrt(q.shape[-1]))  # of every row the same
            slope = (wanted - p @ wanted.transpose(1, 2)).mul_(p)
            for_query[b, :t] = (slope @ k).transpose(0, 1)
            for_key[b, :t] = (slope.transpose(1, 2) @ q).transpose(0, 1)
        return for_query, for_key, None


def _softmax(query: Tensor, key: Tensor) -> Tensor:
    """(H, t, t): each place's attention, from (t, H, d)."""
    scaled = query / math.sqrt(query.shape[-1])
    return torch.bmm(scaled.transpose(0, 1), key.permute(1, 2, 0)).softmax(-1)
