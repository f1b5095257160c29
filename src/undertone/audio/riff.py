"""The one check that libsndfile leaves out: a wav whose header claims more than the file holds.

libsndfile reads such a file to its end without a word, so a download that broke off would pass
for a shorter clip.
"""

from __future__ import annotations

import struct

from undertone.audio.source import Source
from undertone.errors import AudioError

__all__ = ["check"]

UNKNOWN = 0xFFFF_FFFF
"""The size a streaming writer leaves in the header: the data goes on to the end of the file."""

CHUNK = struct.Struct("<4sI")


def check(source: Source) -> None:
    """Raise AudioError where the data chunk of a RIFF wav reaches beyond the end of the file."""
    with source.open() as file:
        head = file.read(12)
        if head[:4] != b"RIFF" or head[8:12] != b"WAVE":
            return
        position = len(head)
        while len(header := file.read(CHUNK.size)) == CHUNK.size:
            name, size = CHUNK.unpack(header)
            position += CHUNK.size
            if name == b"data":
                _refuse_short(source, position, size)
                return
            position += size + size % 2  # chunks are padded to even length
            file.seek(position)
    raise AudioError(f"{source.name}: cut short: a wav header without its data")


def _refuse_short(source: Source, position: int, size: int) -> None:
    held = source.size - position
    if held < size != UNKNOWN:
        raise AudioError(
            f"{source.name}: cut short: the header claims {size} bytes of samples, {held} are there"
        )
