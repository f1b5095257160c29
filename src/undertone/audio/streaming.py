"""Audio as it comes: long recordings in blocks, chunks one after the other, the headers of uploads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from undertone.audio.reading import RATE, AudioInfo, mono, open_native, opened, reason
from undertone.audio.source import Source, locate
from undertone.errors import AudioError
from undertone.types import Seconds

if TYPE_CHECKING:
    import soundfile

    from undertone.types import Wave

__all__ = ["Resampler", "blocks", "channel_blocks", "header"]


def header(data: bytes, name: str = "upload") -> AudioInfo:
    """As ``info``, of bytes in memory, never through ffmpeg: ``decode`` then needs none either."""
    sound = open_native(Source(name, data))
    if sound is None:
        raise AudioError(f"{name}: not a sound format that this program reads (wav, flac, ogg, opus, mp3)")
    with sound:
        return AudioInfo.of(sound)


def blocks(
    ref: str | Path, seconds: Seconds = 30.0, rate: int = RATE, *, channel: int | None = None
) -> Iterator[Wave]:
    """A recording as consecutive mono float32 blocks ``(N,)`` at ``rate``; memory stays small.

    ``channel`` counts from 0, None is the mean of all channels.
    """
    source = locate(ref)
    with opened(source) as sound:
        resample = Resampler(sound.samplerate, rate)
        for frames in _native_blocks(source, sound, seconds):
            yield resample(mono(frames, channel, source.name))
        yield resample.close()


def channel_blocks(ref: str | Path, seconds: Seconds = 30.0, rate: int = RATE) -> Iterator[Wave]:
    """As ``blocks``, but ``(N, C)``: all channels side by side."""
    source = locate(ref)
    with opened(source) as sound:
        resample = Resampler(sound.samplerate, rate, sound.channels)
        for frames in _native_blocks(source, sound, seconds):
            yield resample(frames)
        yield resample.close()


def _native_blocks(source: Source, sound: soundfile.SoundFile, seconds: Seconds) -> Iterator[Wave]:
    """The frames ``(N, C)`` of an open sound as they are."""
    import numpy as np
    from soundfile import SoundFileError

    done = 0
    while done < sound.frames:
        wanted = min(round(seconds * sound.samplerate), sound.frames - done)
        try:
            frames = sound.read(wanted, dtype="float32", always_2d=True)
        except SoundFileError as error:
            raise AudioError(f"{source.name}: cut short or damaged ({reason(error)})") from None
        done += len(frames)
        if len(frames) != wanted:
            raise AudioError(
                f"{source.name}: cut short: the header claims {sound.frames} frames, {done} can be read"
            )
        if not np.isfinite(frames).all():
            raise AudioError(f"{source.name}: holds samples that are not numbers (NaN or infinity)")
        yield frames


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
