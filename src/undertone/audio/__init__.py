"""Recordings: read, resample, slice, write. The only door to soundfile, soxr and ffmpeg."""

from undertone.audio.channels import channels_differ
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
from undertone.audio.uploads import Received, Surveyed, pieces, receive, survey

__all__ = [
    "RATE",
    "SLACK",
    "AudioInfo",
    "Received",
    "Surveyed",
    "channels_differ",
    "check",
    "decode",
    "digest",
    "glance",
    "info",
    "load",
    "pieces",
    "receive",
    "resample",
    "save",
    "survey",
]
