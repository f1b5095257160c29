"""The parts systems are built of: attention, position codes, pooling, heads.

Dimension names are those of ``models/batch.py``. Every sequence comes with its mask (True = real), and
what a mask hides has no influence: no output at a real place depends on it, and a row without
anything real comes out as zeros.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from undertone.features.pooling import attend, pool
from undertone.models import by_hand
from undertone.models.batch import Batch, Segments
from undertone.types import TIERS

__all__ = [
    "LEVELS",
    "Attention",
    "CoAttention",
    "Codes",
    "Head",
    "Level",
    "Pooling",
    "PoolingKind",
    "Positions",
    "SegmentPool",
    "SegmentPooling",
    "SelfAttention",
    "feed_forward",
    "frame_words",
    "masked_mean",
    "masked_softmax",
    "tier_of",
]

Level = Literal["frame", "phone", "syllable", "word"]
LEVELS: tuple[Level, ...] = ("frame", "phone", "syllable", "word")
"""The granularities of speech, from fine to coarse."""
PoolingKind = Literal["mean", "mean_std", "max", "attention"]
SegmentPooling = Literal["mean", "max", "attention"]
Positions = Literal["word", "index", "none"]


# -- sequences to vectors ---------------------------------------------------------------------------


def masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    """(B, D): the mean of ``x (B, S, D)`` over what is real, zeros where nothing is."""
    kept = mask[..., None].to(x.dtype)
    return (x * kept).sum(1) / kept.sum(1).clamp(min=1.0)


def _masked_std(x: Tensor, mask: Tensor, mean: Tensor) -> Tensor:
    kept = mask[..., None].to(x.dtype)
    variance = ((x - mean[:, None]) ** 2 * kept).sum(1) / kept.sum(1).clamp(min=1.0)
    return (variance + 1e-6).sqrt() * mask.any(1, keepdim=True)  # the small number bounds the gradient at 0


class Pooling(nn.Module):
    """A sequence (B, S, D) to one vector (B, ``width``)."""

    def __init__(self, width: int, kind: PoolingKind = "mean_std") -> None:
        super().__init__()
        self.kind = kind
        self.width = 2 * width if kind == "mean_std" else width
        self.score = nn.Linear(width, 1, bias=False) if kind == "attention" else None

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        if self.kind == "max":
            lowest = x.masked_fill(~mask[..., None], float("-inf")).amax(1)
            return torch.where(mask.any(1, keepdim=True), lowest, 0.0)
        if self.kind == "attention":
            return (self.weights(x, mask)[..., None].to(x.dtype) * x).sum(1)
        mean = masked_mean(x, mask)
        if self.kind == "mean":
            return mean
        return torch.cat([mean, _masked_std(x, mask, mean)], -1)

    def weights(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, S): how much each place counts; sums to 1 where there is anything. With ``max`` a place counts
        for the share of the dimensions that it alone decides."""
        if self.kind == "max":
            heard = x.masked_fill(~mask[..., None], float("-inf"))
            return F.one_hot(heard.argmax(1), x.shape[1]).to(x.dtype).mean(1) * mask
        if self.score is None:
            return mask / mask.sum(1, keepdim=True).clamp(min=1)
        return masked_softmax(self.score(x)[..., 0], mask)


def masked_softmax(scores: Tensor, mask: Tensor) -> Tensor:
    """Softmax over the last dimension within the mask; zeros where nothing is real."""
    hidden = scores.float().masked_fill(~mask, float("-inf"))
    return torch.where(mask.any(-1, keepdim=True), hidden, 0.0).softmax(-1) * mask


def tier_of(batch: Batch, tier: str) -> Segments:
    """A tier's segments; an utterance that has none, though it has speech, is one segment, of no word."""
    assert tier in TIERS, tier
    B = len(batch)
    found = batch.segments.get(tier)
    if found is None:
        nothing = batch.speech_lengths.new_zeros
        found = Segments(nothing(B, 1, 2), nothing(B), nothing(B, 1) - 1)
    lengths = found.lengths * batch.present[:, 0]
    whole = (lengths == 0) & batch.present[:, 0]
    if not bool(whole.any()):
        return Segments(found.spans, lengths, found.word)
    spans = found.spans.clone()
    spans[:, 0, 1] = torch.where(whole, batch.speech_lengths, spans[:, 0, 1])
    return Segments(spans, lengths + whole.long(), found.word)


def frame_words(batch: Batch) -> Tensor:
    """(B, T): the word each frame belongs to, -1 for none."""
    tier = batch.segments.get("word")
    size = batch.speech_mask.shape[1]
    if tier is None:
        return batch.labels.new_full((len(batch), size), -1)
    places = torch.arange(size, device=tier.spans.device)
    start, end = tier.spans[..., :1], tier.spans[..., 1:]  # (B, S, 1)
    inside = (places >= start) & (places < end) & tier.mask[..., None]  # (B, S, T)
    return torch.where(inside, tier.word[..., None], -1).amax(1)


class SegmentPool(nn.Module):
    """Frames (B, T, D) to segments (B, S, D)."""

    def __init__(self, width: int, kind: SegmentPooling = "mean") -> None:
        super().__init__()
        self.kind = kind
        self.score = nn.Linear(width, 1, bias=False) if kind == "attention" else None

    def forward(self, frames: Tensor, segments: Segments) -> Tensor:
        if self.score is not None:
            return attend(frames, self.score(frames)[..., 0], segments.spans, segments.lengths)
        how: Literal["mean", "max"] = "max" if self.kind == "max" else "mean"
        return pool(frames, segments.spans, segments.lengths, how)


# -- where in the utterance -------------------------------------------------------------------------


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


# -- mixing -----------------------------------------------------------------------------------------


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


# -- to classes -------------------------------------------------------------------------------------


class Head(nn.Module):
    """Pooled vector → dropout → MLP → C logits; ``hidden`` is the vector before the last map."""

    def __init__(self, inputs: int, width: int, classes: int, dropout: float) -> None:
        super().__init__()
        self.hidden = nn.Sequential(
            nn.LayerNorm(inputs),
            nn.Dropout(dropout),
            nn.Linear(inputs, width),
            nn.GELU(),
            nn.Dropout(dropout),
        )
        self.last = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.last(self.hidden(x))
        return logits
