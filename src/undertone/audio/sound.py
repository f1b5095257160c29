"""An open recording, read from its start to where it ends, whatever its header claims."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING

from undertone.errors import AudioError
from undertone.types import Seconds

if TYPE_CHECKING:
    from undertone.types import Wave

__all__ = ["OpenSound"]

HOPELESS: Seconds = 0.1
"""Of a recording that is cut short, less than this is not worth a judgement."""


class OpenSound(ABC):
    """Frames in order. ``claimed`` counts them by a header that is no estimate, else it is None."""

    def __init__(self, name: str, rate: int, channels: int, claimed: int | None, tolerance: int = 0) -> None:
        self.name, self.rate, self.channels, self.claimed = name, rate, channels, claimed
        self.place = 0
        """The number of the next frame."""
        self.fault: str | None = None
        """What is wrong with the end, where no header says how much is missing."""
        self._tolerance = tolerance

    def read(self, count: int) -> Wave:
        """The next frames ``(count, C)``; fewer only at the end."""
        import numpy as np

        parts: list[Wave] = []
        missing = count
        while missing > 0 and len(part := self._next(missing)):
            parts.append(part)
            self.place += len(part)
            missing -= len(part)
        if len(parts) == 1:
            return parts[0]
        return np.concatenate([np.zeros((0, self.channels), np.float32), *parts])

    def pieces(self, seconds: Seconds, until: int | None = None) -> Iterator[Wave]:
        """The frames up to a place (None: the end) in pieces of so many seconds, checked."""
        import numpy as np

        size = max(1, round(seconds * self.rate))
        while until is None or self.place < until:
            wanted = size if until is None else min(size, until - self.place)
            frames = self.read(wanted)
            if not np.isfinite(frames).all():
                raise AudioError(f"{self.name}: holds samples that are not numbers (NaN or infinity)")
            if len(frames):
                yield frames
            if len(frames) < wanted:
                return

    def skip(self, place: int) -> None:
        """Go on at a later place; where there are fewer frames, at the end."""
        while self.place < place and len(self.read(min(place - self.place, 30 * self.rate))):
            pass

    def shortage(self) -> str | None:
        """Once all is read: what is missing, in one line; None if nothing is."""
        there = self.place / self.rate
        if self.claimed is None:
            return None if self.fault is None else f"{self.name}: {self.fault}: {there:.1f} s are there"
        if self.place + self._tolerance >= self.claimed:
            return None
        whole = self.claimed / self.rate
        digits = 1 if whole - there >= 0.1 else 4
        return f"{self.name}: cut short: {there:.{digits}f} of {whole:.{digits}f} s are there"

    def check_worth(self) -> None:
        """Once all is read: raise AudioError where nothing, or only a hopeless rest, is there."""
        short = self.shortage()
        if short and self.place < HOPELESS * self.rate:
            raise AudioError(f"{short}, too little")
        if not self.place:
            raise AudioError(f"{self.name}: holds no samples")

    def ends_as_claimed(self) -> bool:
        """Whether the header gives the length and the last frame can be read; only the end is read."""
        return self.claimed is not None

    @abstractmethod
    def close(self) -> None: ...

    @abstractmethod
    def _next(self, count: int) -> Wave:
        """Up to ``count`` of the next frames; none at the end."""
