"""Recordings through soundfile, or ffmpeg where it does not know the format: read as mono float32, written.

Every error is one line: which recording, and what is wrong with it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from undertone.audio import ffmpeg
from undertone.audio.source import Source, check_complete, locate
from undertone.errors import AudioError
from undertone.files import whole
from undertone.types import Seconds

if TYPE_CHECKING:
    import soundfile

    from undertone.types import Wave

__all__ = [
    "RATE",
    "SLACK",
    "AudioInfo",
    "check",
    "decode",
    "digest",
    "glance",
    "info",
    "load",
    "mono",
    "open_native",
    "opened",
    "reason",
    "resample",
    "save",
]

RATE = 16_000
"""Samples a second that speech encoders want."""

SLACK: Seconds = 0.05
"""How far an end may lie behind the recording's: annotators round, and codecs pad."""

UNRECOGNISED = 1
"""libsndfile's code for a format it does not know."""


@dataclass(frozen=True, slots=True)
class AudioInfo:
    """What a recording's header claims."""

    rate: int
    frames: int
    channels: int

    @property
    def duration(self) -> Seconds:
        return self.frames / self.rate

    @classmethod
    def of(cls, sound: soundfile.SoundFile) -> Self:
        """The header of an open sound."""
        return cls(sound.samplerate, sound.frames, sound.channels)


def load(
    ref: str | Path,
    start: Seconds | None = None,
    end: Seconds | None = None,
    rate: int = RATE,
    *,
    channel: int | None = None,
) -> Wave:
    """Mono ``wave (N,)`` float32 of ``[start, end)`` seconds of a recording, at ``rate``.

    ``ref`` is a path or ``archive.tar#member``; ``channel`` counts from 0, None is the mean of all channels.
    An AudioError names the file.
    """
    return _read(locate(ref), start, end, rate, channel)


def decode(
    data: bytes,
    name: str = "upload",
    start: Seconds | None = None,
    end: Seconds | None = None,
    rate: int = RATE,
    *,
    channel: int | None = None,
) -> Wave:
    """As ``load``, from bytes in memory; ``name`` is what an error calls them."""
    return _read(Source(name, data), start, end, rate, channel)


def info(ref: str | Path) -> AudioInfo:
    """Rate, frames, channels and duration by the header, which is checked against the file's size."""
    source = locate(ref)
    sound = open_native(source)
    if sound is None:
        return AudioInfo(*ffmpeg.probe(source))
    with sound:
        return AudioInfo.of(sound)


def glance(ref: str | Path) -> AudioInfo | None:
    """As ``check``, but None for containers that only ffmpeg reads: thousands of them would take minutes.

    Of those only this is checked: they exist, are not empty, and ffmpeg is installed.
    """
    source = locate(ref)
    if Path(source.name).suffix.lower() not in ffmpeg.SUFFIXES or source.size == 0:
        return check(ref)
    ffmpeg.require("ffmpeg", source)
    return None


def check(ref: str | Path) -> AudioInfo:
    """As ``info``, and the last frame really decodes: finds files cut short whose header is whole."""
    source = locate(ref)
    sound = open_native(source)
    if sound is None:
        return AudioInfo(*ffmpeg.probe(source))
    with sound:
        _frames(sound, source.name, sound.frames - 1, sound.frames)
        return AudioInfo.of(sound)


def digest(ref: str | Path) -> str:
    """SHA-256 of the recording's bytes, in hex."""
    with locate(ref).open() as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def resample(wave: Wave, native: int, rate: int) -> Wave:
    """Mono samples (N,) at ``native`` a second as they are at ``rate``."""
    import numpy as np

    if native == rate:
        return wave
    import soxr

    resampled: Wave = soxr.resample(wave, native, rate)
    return resampled.astype(np.float32, copy=False)


def save(path: Path, wave: Wave, rate: int = RATE) -> None:
    """Write mono ``wave (N,)`` as 16-bit ``.wav`` or ``.flac`` (by the suffix), whole or not at all."""
    import soundfile

    with whole(path) as part:
        soundfile.write(part, wave, rate, subtype="PCM_16")


@contextmanager
def opened(source: Source) -> Iterator[soundfile.SoundFile]:
    """The open sound, converted by ffmpeg where soundfile does not know the format."""
    import soundfile

    sound = open_native(source)
    if sound is not None:
        with sound:
            yield sound
    else:
        with ffmpeg.converted(source) as path, soundfile.SoundFile(path) as converted:
            yield converted


def open_native(source: Source) -> soundfile.SoundFile | None:
    """The sound as soundfile opens it, None where it does not know the format."""
    import soundfile

    if source.size == 0:
        raise AudioError(f"{source.name}: is empty (0 bytes)")
    check_complete(source)
    content = source.open() if isinstance(source.content, bytes) else source.content
    try:
        sound = soundfile.SoundFile(content)
    except (soundfile.SoundFileError, TypeError) as error:
        if getattr(error, "code", None) == UNRECOGNISED:
            return None
        raise AudioError(f"{source.name}: cannot be read as audio ({reason(error)})") from None
    if sound.frames <= 0:
        sound.close()
        raise AudioError(f"{source.name}: holds no samples")
    return sound


def reason(error: Exception) -> str:
    """The reason that soundfile gives, without the file's name."""
    return str(getattr(error, "error_string", error)).strip().rstrip(".")


def mono(frames: Wave, channel: int | None, name: str) -> Wave:
    """``(N,)`` of frames ``(N, C)``: one channel, or the mean of all."""
    import numpy as np

    if channel is None:
        mean: Wave = frames.mean(axis=1, dtype=np.float32)
        return mean
    count = frames.shape[1]
    if not 0 <= channel < count:
        has = "1 channel" if count == 1 else f"{count} channels"
        raise AudioError(f"{name}: has {has}, counted from 0: there is no channel {channel}")
    return np.ascontiguousarray(frames[:, channel])


def _read(source: Source, start: Seconds | None, end: Seconds | None, rate: int, channel: int | None) -> Wave:
    import numpy as np

    with opened(source) as sound:
        first, last = _window(source.name, AudioInfo.of(sound), start, end)
        frames = _frames(sound, source.name, first, last)
        native = sound.samplerate
    if not np.isfinite(frames).all():
        raise AudioError(f"{source.name}: holds samples that are not numbers (NaN or infinity)")
    return resample(mono(frames, channel, source.name), native, rate)


def _window(name: str, about: AudioInfo, start: Seconds | None, end: Seconds | None) -> tuple[int, int]:
    """First and last (exclusive) frame of a stretch of seconds."""
    begin, stop = start or 0.0, about.duration if end is None else end
    if not 0 <= begin < stop <= about.duration + SLACK or begin >= about.duration:
        raise AudioError(
            f"{name}: {begin:g} to {stop:g} s is not a stretch of this recording of {about.duration:.3f} s"
        )
    first = round(begin * about.rate)
    return first, max(first + 1, min(round(stop * about.rate), about.frames))


def _frames(sound: soundfile.SoundFile, name: str, first: int, last: int) -> Wave:
    """Frames ``(last - first, channels)``; fewer than the header claims is an error."""
    import soundfile

    try:
        if first:
            sound.seek(first)
        frames: Wave = sound.read(last - first, dtype="float32", always_2d=True)
    except soundfile.SoundFileError as error:
        raise AudioError(f"{name}: cut short or damaged ({reason(error)})") from None
    if len(frames) != last - first:
        read = first + len(frames)
        raise AudioError(f"{name}: cut short: the header claims {sound.frames} frames, {read} can be read")
    return frames
