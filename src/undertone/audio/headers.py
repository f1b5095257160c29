"""What the header of a recording claims about its length: libsndfile does not compare it with the file.

A wav whose header claims more than the file holds is read to its end without an error, so a download that
broke off would pass for a shorter clip. An MP3 without a count of frames gets an estimate of its length.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

if TYPE_CHECKING:
    from undertone.audio.source import Source

__all__ = ["Samples", "counts_frames", "has_end", "samples"]

STREAMED = range(0x7FFF_0000, 0x8000_0001), range(0xFFFF_FF80, 0x1_0000_0000), range(2**62, 2**64)
"""Sizes that programs write into a pipe, where they cannot know it: the largest, less a header's."""

LAST_PAGES = 2**17
"""Bytes at the end of an Ogg file that hold its last page for certain: a page has at most 65,307."""


class Samples(NamedTuple):
    """The bytes of samples of an uncompressed recording."""

    claimed: int | None
    """By the header; None where it was written before the length was known."""
    available: int
    start: int
    """Where in the file the first of them stands."""


def samples(source: Source) -> Samples | None:
    """The samples' bytes by the header of a wav, rf64, w64, aiff, caf or au; None for other formats."""
    with source.open() as file:
        head = file.read(40)
        if head[:4] in {b"RIFF", b"RF64"} and head[8:12] == b"WAVE":
            place = _chunk(file, "<4sI", b"data", 12, 2)
            if place and head[:4] == b"RF64" and head[12:16] == b"ds64":
                place = place[0], int.from_bytes(head[28:36], "little")
        elif head[:4] == b"FORM" and head[8:11] == b"AIF":
            place = _chunk(file, ">4sI", b"SSND", 12, 2)
        elif head[:4] == b"riff" and head[24:28] == b"wave":
            place = _chunk(file, "<4s12xQ", b"data", 40, 8)
        elif head[:4] == b"caff":
            place = _chunk(file, ">4sq", b"data", 8, 1)
        elif head[:4] == b".snd" and len(head) >= 12:
            place = int.from_bytes(head[4:8], "big"), int.from_bytes(head[8:12], "big")
        else:
            place = None
    if place is None:
        return None
    start, size = place
    available = max(0, source.size - start)
    finished = int.from_bytes(head[4:8], "little") + 8 == source.size  # an empty wav is, too
    streamed = available < size and any(size in sizes for sizes in STREAMED)
    unknown = streamed or size < 0 or (size == 0 and not finished)
    return Samples(None if unknown else size, available, start)


def counts_frames(source: Source) -> bool:
    """Whether an MP3 states its number of frames (a Xing or Info header), so that its length is exact."""
    with source.open() as file:
        head = file.read(10)
        skip = 0
        if head[:3] == b"ID3":
            skip = 10 + sum(
                (byte & 0x7F) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True)
            )
        file.seek(skip)
        frame = file.read(1500)
    for name in (b"Xing", b"Info"):
        at = frame.find(name)
        if at >= 0 and len(frame) >= at + 8:
            return bool(frame[at + 7] & 1)
    return False


def has_end(source: Source) -> bool:
    """Whether a page of an Ogg file is marked as the last one."""
    with source.open() as file:
        file.seek(max(0, source.size - LAST_PAGES))
        tail = file.read()
    at = tail.find(b"OggS")
    while at >= 0:
        if tail[at + 5 : at + 6] and tail[at + 5] & 4:
            return True
        at = tail.find(b"OggS", at + 4)
    return False


def _chunk(file: BinaryIO, form: str, wanted: bytes, position: int, even: int) -> tuple[int, int] | None:
    """Where the content of a chunk starts and its size; None where there is no such chunk."""
    layout = struct.Struct(form)
    file.seek(position)
    while len(header := file.read(layout.size)) == layout.size:
        name, size = layout.unpack(header)
        if even == 8:  # of a w64 the sizes count the header
            size = max(0, size - layout.size)
        position += layout.size
        if name == wanted:
            return position, size
        if size < 0:
            return None
        position += size + -size % even  # chunks are padded
        file.seek(position)
    return None
