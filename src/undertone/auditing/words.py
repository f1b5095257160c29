"""Which texts are the same, or nearly: exact set similarity over character shingles.

Two texts are *nearly the same* when the Jaccard index of their character 4-gram sets is at least
``NEAR``: a changed or added word in a sentence of six. Found by prefix filtering, which misses nothing:
texts that similar must share one of their rarest shingles, so only those are indexed.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain
from math import ceil
from typing import Any

import numpy as np
from scipy import sparse

__all__ = ["NEAR", "near_twins", "same_words", "shingles"]

NEAR = 0.7
SIZE = 4
BLOCK = 1000


def same_words(text: str) -> str:
    """A text without case, punctuation and spacing: two texts with equal words count as the same sentence.

    >>> same_words("Well —  I can't!") == same_words("well, I can’t")
    True
    """
    return " ".join(re.findall(r"[^\W_]+(?:'[^\W_]+)*", text.casefold().replace("’", "'")))


def shingles(text: str) -> frozenset[str]:
    """Character 4-grams of the words, with a space at either end."""
    padded = f" {text} "
    return frozenset(padded[i : i + SIZE] for i in range(max(1, len(padded) - SIZE + 1)))


def near_twins(texts: Sequence[str], threshold: float = NEAR) -> Iterator[tuple[int, int, float]]:
    """(i, j, similarity) of every pair, i < j, whose shingles overlap by at least ``threshold``."""
    if not texts:
        return
    sets = [shingles(text) for text in texts]
    whole, rarest = _matrices(sets, threshold)
    sizes = np.array([len(each) for each in sets])
    later = rarest.T.tocsr()
    for start in range(0, len(texts), BLOCK):
        rows = slice(start, start + BLOCK)
        candidates = (rarest[rows] @ later).tocoo()
        i, j = candidates.row + start, candidates.col
        wanted = (i < j) & (np.minimum(sizes[i], sizes[j]) >= threshold * np.maximum(sizes[i], sizes[j]))
        i, j = i[wanted], j[wanted]
        for chunk in np.array_split(np.arange(len(i)), len(i) // 50_000 + 1):
            common = np.asarray(whole[i[chunk]].multiply(whole[j[chunk]]).sum(axis=1)).ravel()
            similarity = common / (sizes[i[chunk]] + sizes[j[chunk]] - common)
            for k in np.flatnonzero(similarity >= threshold):
                yield int(i[chunk][k]), int(j[chunk][k]), float(similarity[k])


def _matrices(sets: Sequence[frozenset[str]], threshold: float) -> tuple[Any, Any]:
    """Texts × shingles, 1 where a text has one: all of them, and only each text's rarest.

    Of two sets that overlap by ``threshold``, the rarest ``size - ceil(threshold * size) + 1`` elements
    of each, in one common order, share at least one.
    """
    rarity = Counter(shingle for each in sets for shingle in each)
    rank = {s: r for r, s in enumerate(sorted(rarity, key=lambda shingle: (rarity[shingle], shingle)))}
    ranked = [sorted(rank[shingle] for shingle in each) for each in sets]
    prefixes = [mine[: len(mine) - ceil(threshold * len(mine)) + 1] for mine in ranked]
    return _matrix(ranked, len(rank)), _matrix(prefixes, len(rank))


def _matrix(rows: Sequence[Sequence[int]], width: int) -> Any:
    ends = np.cumsum([0, *(len(row) for row in rows)])
    columns = np.fromiter(chain.from_iterable(rows), dtype=np.int32, count=ends[-1])
    return sparse.csr_array((np.ones(ends[-1], np.int32), columns, ends), shape=(len(rows), width))
