"""Syllables of the demo corpus, from its phones: each consonant run is split so that a syllable begins with
as much as an English word could begin with."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from undertone.types import Alignment, Segment

__all__ = ["with_syllables"]

_ONSETS = frozenset(
    """P B T D K G CH JH F V TH DH S Z SH HH M N L R Y W
    P.L P.R B.L B.R T.R T.W D.R D.W K.L K.R K.W G.L G.R G.W F.L F.R TH.R TH.W SH.R
    S.P S.T S.K S.F S.M S.N S.L S.W S.P.L S.P.R S.T.R S.K.R S.K.W
    P.Y B.Y K.Y F.Y V.Y M.Y HH.Y""".split()
)


def with_syllables(alignment: Alignment) -> Alignment:
    """The same with its syllable tier: phones joined by ``-``, nested in words."""
    syllables: list[Segment] = []
    for word in alignment.word:
        own = [p for p in alignment.phone if word.start <= p.start < word.end]
        syllables += [
            Segment("-".join(p.text for p in part), part[0].start, part[-1].end) for part in _split(own)
        ]
    return Alignment(alignment.word, tuple(syllables), alignment.phone)


def _split(phones: Sequence[Segment]) -> list[Sequence[Segment]]:
    nuclei = [i for i, phone in enumerate(phones) if phone.text[-1].isdigit()]
    starts = [0]
    for left, right in pairwise(nuclei):
        begin = left + 1
        while begin < right and ".".join(p.text for p in phones[begin:right]) not in _ONSETS:
            begin += 1
        starts.append(begin)
    return [phones[a:b] for a, b in zip(starts, [*starts[1:], len(phones)], strict=True)]
