"""Recordings that soundfile (libsndfile) reads; where the header does not know the length, up to the end."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from undertone.audio import headers
from undertone.audio.sound import OpenSound
from undertone.errors import AudioError

if TYPE_CHECKING:
    import soundfile

    from undertone.audio.source import Source
    from undertone.types import Wave

__all__ = ["NativeSound", "Unreadable"]

UNRECOGNISED = 1
"""libsndfile's code for a format it does not know."""

UNCOUNTED = 2**62
"""More frames than this are what libsndfile gives for a FLAC that does not count them."""

STEP = 64
"""Frames read at once near damage: on an error soundfile gives none of those it was about to give."""

MP3_FRAMES = 3 * 1152
"""How many more samples than decode the count of an MP3 may give."""

BARE = {".ulaw": "ULAW", ".ul": "ULAW", ".alaw": "ALAW", ".al": "ALAW"}
"""Suffixes of telephone speech without a header: 8000 samples a second, one channel."""

ENDLESS = 2**40
"""A size that makes libsndfile read on to where the data ends."""


class Unreadable(AudioError):
    """soundfile cannot read this, but ffmpeg may. ``known``: soundfile knows the format."""

    def __init__(self, message: str, known: bool) -> None:
        super().__init__(message)
        self.known = known


class NativeSound(OpenSound):
    """A recording that soundfile reads."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._amendment: tuple[int, bytes] | None = None
        self._endless = False
        self._stream: BinaryIO | None = None
        self._largest, self._damaged = 2**62, False
        self._file = self._open()
        kind, self._frames = self._file.format, self._file.frames
        super().__init__(source.name, self._file.samplerate, self._file.channels, self._frames)
        samples = headers.samples(source)
        self._plain = samples is not None
        if samples is not None:
            self._compare(samples, kind)
        elif self._frames > UNCOUNTED:
            self.claimed = None
        elif kind == "MP3":
            self._tolerance = MP3_FRAMES
            if not headers.counts_frames(source):
                self.claimed, self._endless = None, True
                self._restart()
        elif kind == "OGG" and not headers.has_end(source):
            self.claimed, self.fault = None, "cut short, the stream has no end"

    def skip(self, place: int) -> None:
        if self.claimed is None or not self._sought(min(place, self._frames)):
            super().skip(place)

    def ends_as_claimed(self) -> bool:
        if self.claimed is None or self._plain:
            return bool(self.claimed == self._frames)
        return self._sought(self.claimed - 1) and len(self.read(1)) == 1

    def close(self) -> None:
        self._file.close()
        if self._stream is not None:
            self._stream.close()

    def _compare(self, samples: headers.Samples, kind: str) -> None:
        """The header's size with the file's: libsndfile takes the shorter of them."""
        if samples.claimed is None:
            self.claimed = None
            if kind in {"WAV", "WAVEX"} and not self._frames:
                self._amendment = (samples.start - 4, b"\xff\xff\xff\xff")
                self._restart()
        elif samples.available < samples.claimed:
            self.claimed = round(self._frames * samples.claimed / max(1, samples.available))

    def _next(self, count: int) -> Wave:
        import numpy as np
        from soundfile import SoundFileError

        nothing: Wave = np.zeros((0, self.channels), np.float32)
        if self._damaged:
            return nothing
        size = min(count, self._largest - self.place % self._largest)
        try:
            frames: Wave = self._file.read(size, dtype="float32", always_2d=True)
        except SoundFileError:
            if self._largest == STEP:
                self._damaged, self.fault = True, "cut short or damaged"
                return nothing
            self._restart()
            self._largest = STEP
            return self._next(count)
        return frames

    def _sought(self, place: int) -> bool:
        from soundfile import SoundFileError

        try:
            self._file.seek(place)
        except SoundFileError:
            self._restart()
            return False
        self.place = place
        return True

    def _restart(self) -> None:
        """Open the file again, at the same place."""
        place, self.place = self.place, 0
        self.close()
        self._file = self._open()
        self._frames = self._file.frames
        OpenSound.skip(self, place)

    def _open(self) -> soundfile.SoundFile:
        from soundfile import SoundFile, SoundFileError

        class Sequential(SoundFile):  # type: ignore[misc,unused-ignore]
            """Without the seek after every read, which fails at the end of a FLAC of unknown length."""

            def seekable(self) -> bool:
                return False

        source = self._source
        bare = BARE.get(Path(source.name).suffix.lower())
        options: dict[str, Any] = {}
        if bare:
            options = {"format": "RAW", "subtype": bare, "samplerate": 8000, "channels": 1}
        file: Any = source.content
        if isinstance(file, bytes) or self._amendment or self._endless:
            self._stream = source.open()
            file = self._stream
            if self._amendment or self._endless:
                file = _Amended(file, self._amendment, self._endless)
        try:
            return Sequential(file, **options)
        except TypeError as error:
            raise AudioError(f"{source.name}: cannot be read as audio ({error})") from None
        except SoundFileError as error:
            if self._stream is not None:
                self._stream.close()
            known = getattr(error, "code", None) != UNRECOGNISED
            raise Unreadable(f"{source.name}: cannot be read as audio ({reason(error)})", known) from None


class _Amended:
    """A file as libsndfile should see it: other bytes at one place, or as if it had no end."""

    def __init__(self, file: BinaryIO, amendment: tuple[int, bytes] | None, endless: bool) -> None:
        self._file, self._endless = file, endless
        self._at, self._new = amendment or (0, b"")
        self.tell = file.tell

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if self._endless and (offset, whence) == (0, os.SEEK_END):
            return self._file.seek(ENDLESS)
        return self._file.seek(offset, whence)

    def read(self, size: int) -> bytes:
        start = self._file.tell()
        data = bytearray(self._file.read(size))
        for place, byte in enumerate(self._new, self._at - start):
            if 0 <= place < len(data):
                data[place] = byte
        return bytes(data)


def reason(error: Exception) -> str:
    """The reason that soundfile gives, without the file's name."""
    return str(getattr(error, "error_string", error)).strip().rstrip(".")
