"""Whether tiers are what ``nest`` promises, by the slow obvious check."""

from __future__ import annotations

from itertools import pairwise

from undertone.types import Alignment


def is_nested(alignment: Alignment) -> bool:
    """Whether tiers are ordered, disjoint and each finer segment lies inside one coarser."""
    tiers = [alignment.tier(name) for name in alignment.tiers]
    ordered = all(
        a.start < a.end and (b is None or a.end <= b.start)
        for tier in tiers
        for a, b in zip(tier, [*tier[1:], None], strict=True)
    )
    inside = all(
        any(p.start <= c.start and c.end <= p.end for p in coarser)
        for coarser, finer in pairwise(tiers)
        for c in finer
    )
    return ordered and inside
