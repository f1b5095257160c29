"""Recordings: read, resample, slice, write. The only door to soundfile, soxr and ffmpeg."""

from undertone.audio.reading import (
    RATE,
    SLACK,
    AudioInfo,
    check,
    decode,
    digest,
    glance,
    info,
    load,
    resample,
    save,
)

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
    "resample",
    "save",
]
