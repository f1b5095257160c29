"""What a network is asked: one row per question, and one clip asks several.

    the clip as it is                                  → the fused posterior, and each branch's
    the clip without its text, without its speech      → a perspective, for systems without that branch
    the clip with one word silenced, for every word    → that word's contribution

All rows of all clips go through the network together, so a clip's twelve questions cost one call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from undertone.judging.front import Prepared

__all__ = ["Network", "Row", "rows_without_words"]

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Row:
    """One question: a clip's features, some of them silenced."""

    of: Prepared
    speech: bool = True
    """False: as if there were no speech."""
    text: bool = True
    frame_gate: Floats | None = None
    """(T,) factors on the frames; None: all 1."""
    token_gate: Floats | None = None
    """(L,)"""

    @property
    def frames(self) -> NDArray[Any] | None:
        return self.of.parts["speech"] if self.speech else None

    @property
    def tokens(self) -> NDArray[Any] | None:
        text = self.of.parts["text"]
        return text if self.text and text is not None and len(text) else None

    @property
    def frame_count(self) -> int:
        frames = self.frames
        return 0 if frames is None else frames.shape[-2]

    @property
    def token_count(self) -> int:
        tokens = self.tokens
        return 0 if tokens is None else len(tokens)


class Network(Protocol):
    """The part with weights: torch, onnxruntime and openvino look alike from here."""

    def run(self, rows: Sequence[Row]) -> Mapping[str, Floats]:
        """Posteriors (n, C): ``fused``, ``speech`` / ``text`` where there is such a branch, and the system's
        ``asides`` by their names."""


def rows_without_words(prepared: Prepared) -> list[Row]:
    """For each word of the transcript: everything but that word, in sound (where it is timed) and text."""
    frames, tokens = Row(prepared).frame_count, Row(prepared).token_count
    spans = prepared.parts["segments"].get("word")
    rows = []
    for index in range(len(prepared.words)):
        frame_gate, token_gate = np.ones(frames, np.float32), np.ones(tokens, np.float32)
        if spans is not None:
            frame_gate[spans[index, 0] : spans[index, 1]] = 0.0
        if tokens:
            token_gate[prepared.token_word == index] = 0.0
        rows.append(Row(prepared, frame_gate=frame_gate, token_gate=token_gate))
    return rows
