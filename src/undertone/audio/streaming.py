"""Audio as it comes: long recordings in blocks, chunks one after the other, the headers of uploads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from undertone.audio.reading import RATE, AudioInfo, open_native, opened, reason
from undertone.audio.source import Source, locate
from undertone.errors import AudioError
from undertone.types import Seconds

if TYPE_CHECKING:
    from undertone.types import Wave

__all__ = ["Resampler", "blocks", "header"]


def header(data: bytes, name: str = "upload") -> AudioInfo:
    """As ``info``, of bytes in memory, never through ffmpeg: ``decode`` then needs none either."""
    sound = open_native(Source(name, data))
    if sound is None:
        raise AudioError(f"{name}: not a sound format that this program reads (wav, flac, ogg, opus, mp3)")
    with sound:
        return AudioInfo.of(sound)


def blocks(ref: str | Path, seconds: Seconds = 30.0, rate: int = RATE) -> Iterator[Wave]:
    """A recording as consecutive mono float32 blocks at ``rate``; memory stays small."""
    import numpy as np
    import soundfile

    source = locate(ref)
    with opened(source) as sound:
        resample, done = Resampler(sound.samplerate, rate), 0
        while done < sound.frames:
            wanted = min(round(seconds * sound.samplerate), sound.frames - done)
            try:
                frames = sound.read(wanted, dtype="float32", always_2d=True)
            except soundfile.SoundFileError as error:
                raise AudioError(f"{source.name}: cut short or damaged ({reason(error)})") from None
            done += len(frames)
            if len(frames) != wanted:
                raise AudioError(
                    f"{source.name}: cut short: the header claims {sound.frames} frames, {done} can be read"
                )
            if not np.isfinite(frames).all():
                raise AudioError(f"{source.name}: holds samples that are not numbers (NaN or infinity)")
            yield resample(frames.mean(axis=1, dtype=np.float32))
        yield resample.close()


class Resampler:
    """Chunks at one rate in, chunks at another out; the filter's memory is kept between chunks."""

    def __init__(self, native: int, rate: int = RATE) -> None:
        self._stream: Any = None
        if native != rate:
            import soxr

            self._stream = soxr.ResampleStream(native, rate, 1, dtype="float32")

    def __call__(self, samples: Wave) -> Wave:
        """These samples at the other rate; the filter keeps some milliseconds back."""
        import numpy as np

        chunk = np.asarray(samples, np.float32)
        if self._stream is None:
            return chunk
        return np.asarray(self._stream.resample_chunk(chunk), np.float32)

    def close(self) -> Wave:
        """The last samples that the filter still keeps."""
        import numpy as np

        nothing = np.zeros(0, np.float32)
        if self._stream is None:
            return nothing
        return np.asarray(self._stream.resample_chunk(nothing, last=True), np.float32)
