"""Several classifiers of one side as one encoder: their logits, one after another. No torch.

A clip has one frame, a text one vector; both hold all logits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from undertone.config import fingerprint
from undertone.errors import ModelError
from undertone.types import EncodedText, FrameClock, SpeechEncoder, TextEncoder

if TYPE_CHECKING:
    from undertone.types import Wave

__all__ = ["CLOCK", "RATE", "SpeechSides", "TextSides", "one_vector"]

RATE = 16_000
CLOCK = FrameClock(hop=3600.0, offset=1800.0)
"""Every moment of a clip lies in its one frame."""


def one_vector(logits: NDArray[np.float32]) -> EncodedText:
    """A text's logits (1, K) as its one vector, which covers no characters."""
    return EncodedText(logits, np.zeros((len(logits), 2), np.int32))


class _Sides:
    """Several classifiers of one side as one encoder: their logits one after another."""

    def __init__(self, members: Sequence[Any]) -> None:
        if not members:
            raise ModelError("a side needs a classifier")
        self.members = list(members)
        self.name = " + ".join(one.name for one in members)
        self.dim = sum(int(one.dim) for one in members)
        self.identity = fingerprint([one.identity for one in members])


class SpeechSides(_Sides):
    """``SpeechEncoder`` over several."""

    rate, layers, clock = RATE, 0, CLOCK

    def __init__(self, members: Sequence[SpeechEncoder]) -> None:
        super().__init__(members)

    def encode(self, waves: Sequence[Wave]) -> list[NDArray[np.float32]]:
        """All logits (1, ΣK) of each wave."""
        made = [one.encode(waves) for one in self.members]
        return [np.concatenate(parts, axis=-1) for parts in zip(*made, strict=True)]


class TextSides(_Sides):
    """``TextEncoder`` over several."""

    def __init__(self, members: Sequence[TextEncoder]) -> None:
        super().__init__(members)

    def encode(self, texts: Sequence[str]) -> list[EncodedText]:
        """All logits (1, ΣK) of each text."""
        made = [one.encode(texts) for one in self.members]
        joined = (np.concatenate([x.vectors for x in parts], -1) for parts in zip(*made, strict=True))
        return [one_vector(vectors) for vectors in joined]
