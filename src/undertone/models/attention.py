"""Attention between and within sequences, and the position codes that it matches.

As in ``layers``: padding has no influence, and the output of a row of padding alone is zeros.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from undertone.models.layers import by_hand, masked_mean, masked_softmax

__all__ = [
    "Attention",
    "BertLayer",
    "CoAttention",
    "Codes",
    "Positions",
    "SelfAttention",
    "feed_forward",
    "mean_attention",
]

Positions = Literal["word", "index", "none"]


class Codes(nn.Module):
    """Fixed codes of the numbers 0, 1, 2 …; the code of a negative number is zeros."""

    table: Tensor

    def __init__(self, width: int, ordered: bool = True, size: int = 4096) -> None:
        """``ordered``: sinusoids, near numbers alike. Otherwise random signs, the same in every model, each
        number unlike all others: codes of words need not be alike for neighbours."""
        super().__init__()
        if ordered:
            rates = 10_000.0 ** -(torch.arange(0, width, 2) / width)
            angles = torch.arange(size)[:, None] * rates
            table = torch.stack([angles.sin(), angles.cos()], -1).flatten(1)[:, :width]
        else:
            signs = torch.randint(2, (size, width), generator=torch.Generator().manual_seed(0))
            # ±2: a fresh matching attention then scores a position's own word some 4 nats above others;
            # with codes of the usual size it would weight all words about equally
            table = 4.0 * signs - 2.0
        self.register_buffer("table", torch.cat([table, torch.zeros(1, width)]), persistent=False)

    def forward(self, numbers: Tensor) -> Tensor:
        """(…, D) codes of integer ``numbers (…)``; numbers beyond the table have its last code."""
        size = len(self.table) - 1
        return self.table[torch.where(numbers < 0, size, numbers.clamp(max=size - 1))]

    def pair(self, positions: Positions, words: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor] | None:
        """The codes of two sequences, from the word of each position, (B, S) and (B, L)."""
        if positions == "none":
            return None
        if positions == "word":
            return self(words[0]), self(words[1])
        first, second = (self(torch.arange(w.shape[1], device=w.device))[None] for w in words)
        return first, second


class Attention(nn.Module):
    """Multi-head attention of a query sequence over a memory, by the fused kernel: space linear in length."""

    def __init__(
        self, width: int, heads: int, matching: bool = False, dropout: float = 0.0, bias: bool = True
    ) -> None:
        """``matching``: the query and key maps start equal, so that positions of equal codes match from the
        first step. ``dropout``: of the attention weights, in training; on a processor only ``mean`` has it
        in linear space."""
        super().__init__()
        assert width % heads == 0, f"{heads} heads do not divide a width of {width}"
        self.heads, self.dropout = heads, dropout
        self.query, self.key = nn.Linear(width, width, bias=bias), nn.Linear(width, width, bias=False)
        self.value, self.out = (nn.Linear(width, width, bias=bias) for _ in range(2))
        if matching:
            self.key.load_state_dict({"weight": self.query.weight})

    def forward(
        self,
        query: Tensor,
        memory: Tensor,
        mask: Tensor,
        codes: tuple[Tensor, Tensor] | None = None,
        causal: bool = False,
        near: Tensor | None = None,
    ) -> Tensor:
        """(B, Q, D) from ``query (B, Q, D)``, ``memory (B, M, D)``, ``mask (B, M)``.

        ``codes`` of query and memory are added to queries and keys, not to values. ``near (B, H, Q, M)``:
        what each head may read; where that is nothing, the head's value is 0.
        """
        q, k = self._queries_keys(query, memory, codes)
        v = self._split(self.value(memory))
        nonempty = mask.any(1)
        if near is not None:
            near = near & mask[:, None, None]
            some = near.any(-1, keepdim=True)
            values = F.scaled_dot_product_attention(q, k, v, attn_mask=near | ~some, dropout_p=self._dropped)
            return self._merged(values * some) * nonempty[:, None, None]
        allowed = (mask | ~nonempty[:, None])[:, None, None]  # (B, 1, 1, M); softmax needs one key at least
        if causal:
            times = torch.arange(memory.shape[1], device=mask.device)
            # a query that is masked itself may have no key before it: its own keeps the softmax finite
            allowed = allowed & (times[None, :] <= times[:, None]) | (times[None, :] == times[:, None])
        values = F.scaled_dot_product_attention(q, k, v, attn_mask=allowed, dropout_p=self._dropped)
        return self._merged(values) * nonempty[:, None, None]

    def mean(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, D): self-attention's output, averaged over the real positions."""
        if not by_hand(x):
            return masked_mean(self(x, x, mask), mask)
        B, T, D = x.shape
        split = (B, T, self.heads, D // self.heads)
        q, k = self.query(x).reshape(split), self.key(x).reshape(split)
        # the mean comes before the other maps, which are then needed once, not at every position
        weights = mean_attention(q, k, mask.sum(1), self._dropped).to(x.dtype)  # (B, H, T)
        maps = self.value.weight.reshape(self.heads, D // self.heads, D)
        values = torch.einsum("bhi,hoi->bho", weights @ x, maps).reshape(B, D)
        bias: Tensor = self.value.bias
        if self._dropped:  # weights then sum to 1 in the mean over draws only
            bias = (weights.sum(-1, keepdim=True) * bias.reshape(self.heads, -1)).reshape(B, D)
        output: Tensor = self.out(values + bias)
        return output * mask.any(1, keepdim=True)

    def weights(
        self,
        query: Tensor,
        memory: Tensor,
        masks: tuple[Tensor, Tensor],
        codes: tuple[Tensor, Tensor] | None = None,
        near: Tensor | None = None,
    ) -> Tensor:
        """(B, M): the attention weights, averaged over heads and real queries; they sum to 1."""
        q, k = self._queries_keys(query, memory, codes)
        scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])  # (B, H, Q, M), which ``forward`` avoids
        mask = masks[1][:, None, None].expand_as(scores)
        weights = masked_softmax(scores, mask if near is None else mask & near).mean(1)
        mean = masked_mean(weights, masks[0])
        return mean if near is None else mean / mean.sum(-1, keepdim=True).clamp(min=1e-12)

    @property
    def _dropped(self) -> float:
        return self.dropout if self.training else 0.0

    def _queries_keys(
        self, query: Tensor, memory: Tensor, codes: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, Tensor]:
        if codes is not None:
            query, memory = query + codes[0], memory + codes[1]
        return self._split(self.query(query)), self._split(self.key(memory))

    def _merged(self, values: Tensor) -> Tensor:
        """(B, Q, D) from the heads' values (B, H, Q, d)."""
        B, H, Q, d = values.shape
        output: Tensor = self.out(values.transpose(1, 2).reshape(B, Q, H * d))
        return output

    def _split(self, x: Tensor) -> Tensor:
        B, S, D = x.shape
        return x.reshape(B, S, self.heads, D // self.heads).transpose(1, 2)


def mean_attention(query: Tensor, key: Tensor, lengths: Tensor, dropout: float = 0.0) -> Tensor:
    """(B, H, T): attention weights, averaged over the real queries; zeros on padding. From queries and keys
    (B, T, H, d). ``dropout``: share of the weights that are set to 0 before the mean.

    Nothing of size T × T is kept (the gradient computes it again), and each sequence is computed at its own
    length, not at the batch's longest.
    """
    seed = int(torch.randint(2**62, ())) if dropout else 0
    weights: Tensor = _MeanAttention.apply(query, key, lengths.tolist(), dropout, seed)  # type: ignore[no-untyped-call]
    return weights


class _MeanAttention(torch.autograd.Function):
    @staticmethod
    @torch.amp.custom_fwd(device_type="cpu", cast_inputs=torch.float32)  # type: ignore[untyped-decorator]
    def forward(
        ctx: Any, query: Tensor, key: Tensor, lengths: list[int], dropout: float, seed: int
    ) -> Tensor:
        ctx.lengths, ctx.dropout, ctx.seed = lengths, dropout, seed
        ctx.save_for_backward(query, key)
        B, T, H, _ = query.shape
        weights = query.new_zeros(B, H, T)
        factors = _Factors(dropout, seed)
        for b, t in enumerate(lengths):
            if t:
                p = _softmax(query[b, :t], key[b, :t])
                torch.mean(factors.like(p).mul_(p) if dropout else p, 1, out=weights[b, :, :t])
        return weights

    @staticmethod
    @torch.amp.custom_bwd(device_type="cpu")  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        query, key = ctx.saved_tensors
        for_query, for_key = torch.zeros_like(query), torch.zeros_like(key)
        factors = _Factors(ctx.dropout, ctx.seed)
        for b, t in enumerate(ctx.lengths):
            if not t:
                continue
            q, k = query[b, :t].transpose(0, 1), key[b, :t].transpose(0, 1)  # (H, t, d)
            p = _softmax(query[b, :t], key[b, :t])
            row = grad[b, :, None, :t] / (t * math.sqrt(q.shape[-1]))  # the same for every query
            if ctx.dropout:
                by_weight = factors.like(p).mul_(row)
                slope = (by_weight - (p * by_weight).sum(-1, keepdim=True)).mul_(p)
            else:
                slope = (row - p @ row.transpose(1, 2)).mul_(p)
            for_query[b, :t] = (slope @ k).transpose(0, 1)
            for_key[b, :t] = (slope.transpose(1, 2) @ q).transpose(0, 1)
        return for_query, for_key, None, None, None


class _Factors:
    """Dropout's factors, 0 or 1 / (1 - dropout): drawn again for the gradient, they need not be kept."""

    def __init__(self, dropout: float, seed: int) -> None:
        self.left = 1.0 - dropout
        self.generator = torch.Generator().manual_seed(seed)

    def like(self, x: Tensor) -> Tensor:
        """As many as ``x`` has values, the same in every run through the sequences in order."""
        uniform = torch.rand(x.shape, generator=self.generator)  # half the time of bernoulli_
        return uniform.lt_(self.left).to(x.dtype).div_(self.left)


def _softmax(query: Tensor, key: Tensor) -> Tensor:
    """(H, t, t): attention weights, from (t, H, d)."""
    scaled = query / math.sqrt(query.shape[-1])
    return torch.bmm(scaled.transpose(0, 1), key.permute(1, 2, 0)).softmax(-1)


def feed_forward(width: int, dropout: float, times: int = 2) -> nn.Sequential:
    """The norm and the two-layer map after each attention."""
    return nn.Sequential(
        _norm(width),
        nn.Linear(width, times * width),
        nn.GELU(),
        nn.Dropout(dropout),
        _small(nn.Linear(times * width, width)),
        nn.Dropout(dropout),
    )


def _norm(width: int) -> nn.LayerNorm:
    """A norm that keeps small vectors small: those well below 0.3 a dimension, as of text pieces that are
    rare or missing in training, are not scaled up to the size of all others."""
    return nn.LayerNorm(width, eps=0.1)


def _small(last: nn.Linear) -> nn.Linear:
    """The last map of a residual branch starts small: a fresh layer is nearly the identity, and few data
    need not undo random noise first."""
    with torch.no_grad():
        last.weight.mul_(0.1)
        last.bias.zero_()
    return last


class SelfAttention(nn.Module):
    """One pre-norm transformer layer over one sequence."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.norm = _norm(width)
        self.attention = Attention(width, heads)
        _small(self.attention.out)
        self.dropout = nn.Dropout(dropout)
        self.forward_map = feed_forward(width, dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        y = self.norm(x)
        x = x + self.dropout(self.attention(y, y, mask))
        x = x + self.forward_map(x)
        return x


class BertLayer(nn.Module):
    """One post-norm layer as BERT's: attention over a memory (or the queries themselves), then two maps."""

    def __init__(self, width: int, heads: int, dropout: float, ratio: int = 4) -> None:
        super().__init__()
        self.attention = Attention(width, heads)
        self.dropout = nn.Dropout(dropout)
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.maps = nn.Sequential(
            nn.Linear(width, ratio * width), nn.GELU(), nn.Linear(ratio * width, width), nn.Dropout(dropout)
        )

    def forward(
        self,
        query: Tensor,
        memory: Tensor,
        masks: tuple[Tensor, Tensor],
        codes: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """(B, Q, D) from ``query (B, Q, D)`` and ``memory (B, M, D)`` with their masks; zeros on padding."""
        x = self.norms[0](query + self.dropout(self.attention(query, memory, masks[1], codes)))
        made: Tensor = self.norms[1](x + self.maps(x)) * masks[0][..., None]
        return made


class CoAttention(nn.Module):
    """One layer in which speech queries text and text queries speech, at the same time."""

    def __init__(
        self, width: int, heads: int, dropout: float, make: Callable[[], Attention] | None = None
    ) -> None:
        """``make``: the attention of each direction, where it is another."""
        super().__init__()
        self.norms = nn.ModuleList([_norm(width), _norm(width)])
        make = make or partial(Attention, width, heads, matching=True)
        self.speech_reads, self.text_reads = make(), make()
        _small(self.speech_reads.out)
        _small(self.text_reads.out)
        self.dropout = nn.Dropout(dropout)
        self.forward_maps = nn.ModuleList([feed_forward(width, dropout), feed_forward(width, dropout)])

    def forward(
        self,
        x: tuple[Tensor, Tensor],
        masks: tuple[Tensor, Tensor],
        codes: tuple[Tensor, Tensor] | None = None,
        near: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Speech (B, S, D) and text (B, L, D), each after attention over the other; ``near (B, H, S, L)`` as
        of ``Attention``."""
        a, b = self.norms[0](x[0]), self.norms[1](x[1])
        swapped = (codes[1], codes[0]) if codes else None
        back = None if near is None else near.transpose(-1, -2)
        speech = x[0] + self.dropout(self.speech_reads(a, b, masks[1], codes, near=near))
        text = x[1] + self.dropout(self.text_reads(b, a, masks[0], swapped, near=back))
        return speech + self.forward_maps[0](speech), text + self.forward_maps[1](text)

    def weights(
        self,
        x: tuple[Tensor, Tensor],
        masks: tuple[Tensor, Tensor],
        codes: tuple[Tensor, Tensor] | None = None,
        near: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """(B, S) and (B, L): text's attention over speech, and speech's over the tokens."""
        a, b = self.norms[0](x[0]), self.norms[1](x[1])
        swapped = (codes[1], codes[0]) if codes else None
        back = None if near is None else near.transpose(-1, -2)
        return (
            self.text_reads.weights(b, a, (masks[1], masks[0]), swapped, back),
            self.speech_reads.weights(a, b, masks, codes, near),
        )
