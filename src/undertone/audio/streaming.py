"""Audio as it comes: long recordings in blocks, chunks one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from undertone.audio.reading import PIECE, RATE, finish, mono, opened
from undertone.audio.source import locate
from undertone.types import Seconds

if TYPE_CHECKING:
    from undertone.types import Wave

__all__ = ["Resampler", "blocks", "channel_blocks"]


def blocks(
    ref: str | Path, seconds: Seconds = PIECE, rate: int = RATE, *, channel: int | None = None
) -> Iterator[Wave]:
    """A recording as consecutive mono float32 blocks ``(N,)`` at ``rate``; memory stays small.

    ``channel`` counts from 0, None is the mean of all channels.
    """
    with opened(locate(ref)) as sound:
        resample = Resampler(sound.rate, rate)
        for frames in sound.pieces(seconds):
            yield resample(mono(frames, channel, sound.name))
        finish(sound)
        yield resample.close()


def channel_blocks(ref: str | Path, seconds: Seconds = PIECE, rate: int = RATE) -> Iterator[Wave]:
    """As ``blocks``, but ``(N, C)``: all channels side by side."""
    with opened(locate(ref)) as sound:
        resample = Resampler(sound.rate, rate, sound.channels)
        for frames in sound.pieces(seconds):
            yield resample(frames)
        finish(sound)
        yield resample.close()


class Resampler:
    """Chunks ``(N,)``, or ``(N, C)`` of several channels, at one rate in and at another out; the filter's
    memory is kept between chunks."""

    def __init__(self, native: int, rate: int = RATE, channels: int | None = None) -> None:
        import numpy as np

        self._nothing = np.zeros(0 if channels is None else (0, channels), np.float32)
        self._stream: Any = None
        if native != rate:
            import soxr

            self._stream = soxr.ResampleStream(native, rate, channels or 1, dtype="float32")

    def __call__(self, samples: Wave) -> Wave:
        """These samples at the other rate; the filter keeps some milliseconds back."""
        import numpy as np

        chunk = np.asarray(samples, np.float32)
        if self._stream is None:
            return chunk
        return self._shaped(self._stream.resample_chunk(chunk))

    def close(self) -> Wave:
        """The last samples that the filter still keeps."""
        if self._stream is None:
            return self._nothing
        return self._shaped(self._stream.resample_chunk(self._nothing, last=True))

    def _shaped(self, samples: Any) -> Wave:
        import numpy as np

        return np.asarray(samples, np.float32).reshape(-1, *self._nothing.shape[1:])
