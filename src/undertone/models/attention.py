"""Attention between and within sequences, and the codes by which places find each other.

As in ``layers``: what a mask hides has no influence, and a row without anything real comes out as zeros.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from undertone.models import by_hand
from undertone.models.layers import masked_mean, masked_softmax

__all__ = ["Attention", "CoAttention", "Codes", "Positions", "SelfAttention", "feed_forward"]

Positions = Literal["word", "index", "none"]


class Codes(nn.Module):
    """Fixed codes of numbers 0, 1, 2 …; a negative number has the code of nowhere, zeros."""

    table: Tensor

    def __init__(self, width: int, ordered: bool = True, size: int = 4096) -> None:
        """``ordered``: sinusoids, near numbers alike. Otherwise random signs, the same in every model, each
        number unlike all others: what says *this* word needs no neighbours."""
        super().__init__()
        if ordered:
            rates = 10_000.0 ** -(torch.arange(0, width, 2) / width)
            angles = torch.arange(size)[:, None] * rates
            table = torch.stack([angles.sin(), angles.cos()], -1).flatten(1)[:, :width]
        else:
            signs = torch.randint(2, (size, width), generator=torch.Generator().manual_seed(0))
            # ±2: in a fresh matching attention a place then looks at its own word some 4 nats more than at
            # another, and not, as with codes of the usual size, at all words alike
            table = 4.0 * signs - 2.0
        self.register_buffer("table", torch.cat([table, torch.zeros(1, width)]), persistent=False)

    def forward(self, numbers: Tensor) -> Tensor:
        """(…, D) codes of integer ``numbers (…)``; beyond the table the last code stands for all."""
        size = len(self.table) - 1
        return self.table[torch.where(numbers < 0, size, numbers.clamp(max=size - 1))]


class Attention(nn.Module):
    """Multi-head attention of a query sequence over a memory, by the fused kernel: memory linear in length.

    Dropout is left to the caller: dropping attention weights would need them all laid out.
    """

    def __init__(self, width: int, heads: int, matching: bool = False) -> None:
        """``matching``: queries and keys start out as the same map, so that equal codes attract each
        other from the first step."""
        super().__init__()
        assert width % heads == 0, f"{heads} heads do not divide a width of {width}"
        self.heads = heads
        self.query, self.key = nn.Linear(width, width), nn.Linear(width, width, bias=False)
        self.value, self.out = nn.Linear(width, width), nn.Linear(width, width)
        if matching:
            self.key.load_state_dict({"weight": self.query.weight})

    def forward(
        self,
        query: Tensor,
        memory: Tensor,
        mask: Tensor,
        codes: tuple[Tensor, Tensor] | None = None,
        causal: bool = False,
    ) -> Tensor:
        """(B, Q, D) from ``query (B, Q, D)``, ``memory (B, M, D)``, ``mask (B, M)``.

        ``codes`` of query and memory are added where places are compared, not to what is read.
        """
        q, k = self._places(query, memory, codes)
        v = self._split(self.value(memory))
        some = mask.any(1)
        seen = (mask | ~some[:, None])[:, None, None]  # (B, 1, 1, M); an empty row looks at padding, …
        if causal:
            places = torch.arange(memory.shape[1], device=mask.device)
            seen = seen & (places[None, :] <= places[:, None])
        read = F.scaled_dot_product_attention(q, k, v, attn_mask=seen)
        B, Q, D = query.shape
        said: Tensor = self.out(read.transpose(1, 2).reshape(B, Q, D))
        return said * some[:, None, None]  # … and says nothing

    def mean(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, D): the mean over the real places of what they read in their own sequence."""
        if not by_hand.worthwhile(x):
            return masked_mean(self(x, x, mask), mask)
        B, T, D = x.shape
        split = (B, T, self.heads, D // self.heads)
        q, k = self.query(x).reshape(split), self.key(x).reshape(split)
        # the mean comes before the other maps, which then need not be taken of every place
        read = by_hand.looks(q, k, mask.sum(1)).to(x.dtype) @ x  # (B, H, D)
        maps = self.value.weight.reshape(self.heads, D // self.heads, D)
        values = torch.einsum("bhi,hoi->bho", read, maps).reshape(B, D) + self.value.bias
        said: Tensor = self.out(values)
        return said * mask.any(1, keepdim=True)

    def weights(
        self,
        query: Tensor,
        memory: Tensor,
        masks: tuple[Tensor, Tensor],
        codes: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """(B, M): how much each place of the memory is read, over heads and real queries; sums to 1."""
        q, k = self._places(query, memory, codes)
        scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])  # (B, H, Q, M): only when asked for
        looks = masked_softmax(scores, masks[1][:, None, None].expand_as(scores)).mean(1)
        return masked_mean(looks, masks[0])

    def _places(
        self, query: Tensor, memory: Tensor, codes: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, Tensor]:
        if codes is not None:
            query, memory = query + codes[0], memory + codes[1]
        return self._split(self.query(query)), self._split(self.key(memory))

    def _split(self, x: Tensor) -> Tensor:
        B, S, D = x.shape
        return x.reshape(B, S, self.heads, D // self.heads).transpose(1, 2)


def feed_forward(width: int, dropout: float, times: int = 2) -> nn.Sequential:
    """The two-layer map after each attention, with the norm before it."""
    return nn.Sequential(
        _norm(width),
        nn.Linear(width, times * width),
        nn.GELU(),
        nn.Dropout(dropout),
        _hushed(nn.Linear(times * width, width)),
        nn.Dropout(dropout),
    )


def _norm(width: int) -> nn.LayerNorm:
    """A norm that leaves quiet what is quiet: vectors well below 0.3 a dimension, as those of pieces of text
    never or hardly met in training, are not blown up to the loudness of all others."""
    return nn.LayerNorm(width, eps=0.1)


def _hushed(last: nn.Linear) -> nn.Linear:
    """The last map of a residual branch starts small: a fresh layer hands on what it was given, and little
    training data does not have to unlearn its noise first."""
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
        _hushed(self.attention.out)
        self.dropout = nn.Dropout(dropout)
        self.forward_map = feed_forward(width, dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        y = self.norm(x)
        x = x + self.dropout(self.attention(y, y, mask))
        x = x + self.forward_map(x)
        return x


class CoAttention(nn.Module):
    """One layer in which speech queries text and text queries speech, at the same time."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.norms = nn.ModuleList([_norm(width), _norm(width)])
        self.speech_reads = Attention(width, heads, matching=True)
        self.text_reads = Attention(width, heads, matching=True)
        _hushed(self.speech_reads.out)
        _hushed(self.text_reads.out)
        self.dropout = nn.Dropout(dropout)
        self.forward_maps = nn.ModuleList([feed_forward(width, dropout), feed_forward(width, dropout)])

    def forward(
        self,
        x: tuple[Tensor, Tensor],
        masks: tuple[Tensor, Tensor],
        codes: tuple[Tensor, Tensor] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Speech (B, S, D) and text (B, L, D), each having read the other."""
        a, b = self.norms[0](x[0]), self.norms[1](x[1])
        back = (codes[1], codes[0]) if codes else None
        speech = x[0] + self.dropout(self.speech_reads(a, b, masks[1], codes))
        text = x[1] + self.dropout(self.text_reads(b, a, masks[0], back))
        return speech + self.forward_maps[0](speech), text + self.forward_maps[1](text)

    def weights(
        self,
        x: tuple[Tensor, Tensor],
        masks: tuple[Tensor, Tensor],
        codes: tuple[Tensor, Tensor] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """(B, S) and (B, L): how much text reads each place of speech, and speech each token."""
        a, b = self.norms[0](x[0]), self.norms[1](x[1])
        back = (codes[1], codes[0]) if codes else None
        return (
            self.text_reads.weights(b, a, (masks[1], masks[0]), back),
            self.speech_reads.weights(a, b, masks, codes),
        )
