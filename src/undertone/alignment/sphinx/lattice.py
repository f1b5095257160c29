"""The states of a transcript: variants of words, silence between them.

Every word has its pronunciations in parallel, every gap an optional silence. Phones at the edge
of a word are copied once per neighbour, so that each state has one phone on its left and right:

    SIL? ─ HH·AH ─ L(AH,SIL) ─ SIL ─ ...
                 ╲ L(AH,W)  ─ W(L,..) ...
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from undertone.alignment.sphinx.hmm import POSITIONS, STATES, AcousticModel
from undertone.alignment.viterbi import NONE, Topology

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Lattice", "Phone", "build"]

Variants: TypeAlias = Sequence[Sequence[str]]
"""One word's pronunciations, at least one, each at least one phone, without stress."""


@dataclass(frozen=True, slots=True)
class Phone:
    """One phone of the lattice; ``word`` is -1 for silence."""

    word: int
    variant: int
    position: int
    name: str


@dataclass(frozen=True)
class Lattice:
    """The phones, three states each in the same order, and which may follow which."""

    phones: tuple[Phone, ...]
    bases: NDArray[np.int64]
    """``(phones,)``: the index of each in the model."""
    senones: NDArray[np.int64]
    """``(states,)``: the senone of each state."""
    topology: Topology


@dataclass
class _Node:
    phone: Phone
    base: int
    senones: NDArray[np.int32]
    before: list[int]


class _Builder:
    """Builds the lattice from left to right, gap by gap."""

    def __init__(self, model: AcousticModel) -> None:
        self.table = model.phones
        self.nodes: list[_Node] = []

    def add(self, phone: Phone, base: int, left: int, right: int, position: str) -> int:
        senones = self.table.lookup(base, left, right, POSITIONS[position])
        self.nodes.append(_Node(phone, base, senones, []))
        return len(self.nodes) - 1

    def silence(self, before: list[int]) -> int:
        base = self.table.silence
        self.nodes.append(_Node(Phone(-1, 0, 0, "SIL"), base, self.table.base[base], before))
        return len(self.nodes) - 1

    def word(
        self, index: int, variants: Variants, lefts: set[int], rights: set[int]
    ) -> tuple[dict[tuple[int, int], list[int]], dict[tuple[int, int], list[int]]]:
        """The word's entries by (left, first phone) and exits by (last phone, right)."""
        entries: dict[tuple[int, int], list[int]] = {}
        exits: dict[tuple[int, int], list[int]] = {}
        for v, names in enumerate(variants):
            bases = [self.table.index(name) for name in names]
            phones = [Phone(index, v, i, name) for i, name in enumerate(names)]
            if len(bases) == 1:
                for left in lefts:
                    for right in rights:
                        node = self.add(phones[0], bases[0], left, right, "single")
                        entries.setdefault((left, bases[0]), []).append(node)
                        exits.setdefault((bases[0], right), []).append(node)
                continue
            heads = {left: self.add(phones[0], bases[0], left, bases[1], "begin") for left in lefts}
            before = list(heads.values())
            for i in range(1, len(bases) - 1):
                node = self.add(phones[i], bases[i], bases[i - 1], bases[i + 1], "internal")
                self.nodes[node].before = before
                before = [node]
            for left, node in heads.items():
                entries.setdefault((left, bases[0]), []).append(node)
            for right in rights:
                node = self.add(phones[-1], bases[-1], bases[-2], right, "end")
                self.nodes[node].before = before
                exits.setdefault((bases[-1], right), []).append(node)
        return entries, exits


def build(words: Sequence[Variants], model: AcousticModel, silence_weight: float) -> Lattice:
    """The lattice of a transcript; ``silence_weight``: log probability of a silence in a gap."""
    builder = _Builder(model)
    table, sil = model.phones, model.phones.silence
    firsts = [{table.index(v[0]) for v in variants} for variants in words]
    lasts = [{table.index(v[-1]) for v in variants} for variants in words]
    opening = builder.silence([])
    starts = [opening]
    exits: dict[tuple[int, int], list[int]] = {}
    gap = opening
    for w, variants in enumerate(words):
        lefts = (lasts[w - 1] if w else set()) | {sil}
        rights = (firsts[w + 1] if w + 1 < len(words) else set()) | {sil}
        entries, leaving = builder.word(w, variants, lefts, rights)
        for (left, first), nodes in entries.items():
            for node in nodes:
                if left == sil:
                    builder.nodes[node].before = [gap]
                    starts.extend([node] if w == 0 else [])
                else:
                    builder.nodes[node].before = list(exits.get((left, first), []))
        exits = leaving
        ends = [n for (_, right), nodes in exits.items() if right == sil for n in nodes]
        gap = builder.silence(ends)
    return _compile(builder.nodes, starts, [gap, *ends] if words else [gap], silence_weight)


def _compile(nodes: Sequence[_Node], starts: list[int], ends: list[int], silence_weight: float) -> Lattice:
    count = len(nodes)
    most = max(1, *(len(n.before) for n in nodes))
    previous = np.full((count, STATES, most), NONE, np.int64)
    arcs = np.full((count, STATES, most), -np.inf, np.float32)
    own = np.arange(count * STATES).reshape(count, STATES)
    previous[:, 1:, 0], arcs[:, 1:, 0] = own[:, :-1], 0
    for i, node in enumerate(nodes):
        for k, other in enumerate(node.before):
            previous[i, 0, k] = own[other, -1]
            arcs[i, 0, k] = silence_weight if node.phone.word < 0 else 0
    first, last = np.full((2, count, STATES), -np.inf, np.float32)
    first[starts, 0], last[ends, -1] = 0, 0
    topology = Topology(
        previous.reshape(-1, most), arcs.reshape(-1, most), first.reshape(-1), last.reshape(-1)
    )
    senones = np.concatenate([n.senones for n in nodes]).astype(np.int64)
    return Lattice(tuple(n.phone for n in nodes), np.array([n.base for n in nodes]), senones, topology)
