"""Open a recording: by soundfile where it knows the format, else by ffmpeg; errors name the recording."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from undertone.audio import ffmpeg, riff
from undertone.audio.source import Source
from undertone.errors import AudioError
from undertone.types import Seconds

if TYPE_CHECKING:
    import soundfile

__all__ = ["AudioInfo", "described", "natively", "opened", "reason"]

UNRECOGNISED = 1
"""libsndfile's code for a format it does not know."""


@dataclass(frozen=True, slots=True)
class AudioInfo:
    """What the header says."""

    rate: int
    frames: int
    channels: int

    @property
    def duration(self) -> Seconds:
        return self.frames / self.rate


def described(sound: soundfile.SoundFile) -> AudioInfo:
    """What the header of an open sound says."""
    return AudioInfo(sound.samplerate, sound.frames, sound.channels)


@contextmanager
def opened(source: Source) -> Iterator[soundfile.SoundFile]:
    """The open sound, converted by ffmpeg where soundfile does not know the format."""
    import soundfile

    native = natively(source)
    if native is not None:
        with native:
            yield native
    else:
        with ffmpeg.converted(source) as path, soundfile.SoundFile(path) as sound:
            yield sound


def natively(source: Source) -> soundfile.SoundFile | None:
    """The sound as soundfile opens it, None where it does not know the format."""
    import soundfile

    if source.size == 0:
        raise AudioError(f"{source.name}: is empty (0 bytes)")
    riff.check(source)
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
    """What soundfile gives as the reason, without the file's name."""
    return str(getattr(error, "error_string", error)).strip().rstrip(".")
