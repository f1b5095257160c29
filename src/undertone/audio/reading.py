"""Recordings through soundfile, or ffmpeg where it does not know the format: read as mono float32, written.

Every error is one line: which recording, and what is wrong with it.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from undertone.audio import ffmpeg
from undertone.audio.native import NativeSound, Unreadable
from undertone.audio.sound import OpenSound
from undertone.audio.source import Source, locate
from undertone.errors import AudioError
from undertone.files import whole
from undertone.types import Seconds

if TYPE_CHECKING:
    from undertone.types import Wave

__all__ = [
    "RATE",
    "SLACK",
    "AudioInfo",
    "check",
    "decode",
    "digest",
    "finish",
    "glance",
    "info",
    "load",
    "mono",
    "opened",
    "resample",
    "save",
]

log = logging.getLogger(__name__)

RATE = 16_000
"""Samples a second that speech encoders want."""

SLACK: Seconds = 0.05
"""How far an end may lie behind the recording's: annotators round, and codecs pad."""

PIECE: Seconds = 10.0
"""How much is held in memory before the channels are one."""


@dataclass(frozen=True, slots=True)
class AudioInfo:
    """What can be read of a recording."""

    rate: int
    frames: int
    channels: int

    @property
    def duration(self) -> Seconds:
        return self.frames / self.rate


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
    """Rate, channels and the frames that can be read: by the header where that is no estimate and the last
    frame is there, else counted."""
    return _survey(locate(ref))[0]


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
    """As ``info``, but a recording that is cut short is an AudioError: of a corpus it is a fault."""
    about, shortage = _survey(locate(ref))
    if shortage:
        raise AudioError(shortage)
    return about


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
def opened(source: Source, containers: bool = True) -> Iterator[OpenSound]:
    """The open recording; ``containers``: through ffmpeg where soundfile does not read it."""
    if source.size == 0:
        raise AudioError(f"{source.name}: is empty (0 bytes)")
    try:
        native = NativeSound(source)
    except Unreadable as error:
        if error.known and not (containers and ffmpeg.installed()):
            raise
        native = None
    if native is not None:
        with closing(native):
            if native.claimed == 0:
                raise AudioError(f"{source.name}: holds no samples")
            yield native
    elif containers:
        with ffmpeg.converted(source) as sound:
            yield sound
    else:
        raise Unreadable(
            f"{source.name}: not a sound format that soundfile reads (wav, flac, ogg, mp3)", False
        )


def finish(sound: OpenSound) -> None:
    """Once a recording is read to its end: a warning of what is missing, an AudioError if that is all."""
    sound.check_worth()
    if shortage := sound.shortage():
        log.warning("%s", shortage)


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
        first, last = _window(sound, start, end)
        sound.skip(first)
        parts = [mono(frames, channel, source.name) for frames in sound.pieces(PIECE, last)]
        if last is None or sound.place < last:
            _end(source, sound, first, start, end)
            finish(sound)
        native = sound.rate
    return resample(np.concatenate(parts), native, rate)


def _end(source: Source, sound: OpenSound, first: int, start: Seconds | None, end: Seconds | None) -> None:
    """The recording ended within the stretch: an AudioError where the stretch, or all of it, is missing."""
    if sound.place <= first and first:
        about, shortage = _survey(source)
        raise AudioError(shortage or _outside(source.name, start, end, about.duration))
    if end is not None and sound.place < round((end - SLACK) * sound.rate):
        raise AudioError(sound.shortage() or _outside(source.name, start, end, sound.place / sound.rate))


def _window(sound: OpenSound, start: Seconds | None, end: Seconds | None) -> tuple[int, int | None]:
    """First and last (exclusive) frame of a stretch of seconds; no last one where the end is not known."""
    begin = start or 0.0
    length = None if sound.claimed is None else sound.claimed / sound.rate
    stop = length if end is None else end
    if begin < 0 or (stop is not None and stop <= begin):
        raise AudioError(_outside(sound.name, start, stop, length))
    if length is not None and stop is not None and (stop > length + SLACK or begin >= length):
        raise AudioError(_outside(sound.name, start, stop, length))
    first = round(begin * sound.rate)
    if stop is None or (sound.claimed is not None and end is None):
        return first, None
    last = max(first + 1, round(stop * sound.rate))
    return first, last if sound.claimed is None else min(last, sound.claimed)


def _outside(name: str, start: Seconds | None, end: Seconds | None, length: Seconds | None) -> str:
    stop = length if end is None else end
    what = f"{start or 0:g} to {'the end' if stop is None else f'{stop:g} s'}"
    known = "" if length is None else f" of {length:.3f} s"
    return f"{name}: {what} is not a stretch of this recording{known}"


def _survey(source: Source) -> tuple[AudioInfo, str | None]:
    """What can be read of a recording, and what is missing."""
    with opened(source) as sound:
        if sound.claimed and sound.ends_as_claimed():
            return AudioInfo(sound.rate, sound.claimed, sound.channels), None
    with opened(source) as sound:  # a reading of the end may have left it anywhere
        while len(sound.read(round(PIECE * sound.rate))):
            pass
        if not sound.place:
            sound.check_worth()
        return AudioInfo(sound.rate, sound.place, sound.channels), sound.shortage()
