"""Recordings for trees: silent ones that take no disk, and noise where bytes must differ."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import soundfile


def silence(path: Path, seconds: float, rate: int = 16_000) -> None:
    """A 16-bit mono wav of zeros; the samples are a hole in the file, so that thousands cost little."""
    size = 2 * round(seconds * rate)
    head = struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        *(b"RIFF", 36 + size, b"WAVE", b"fmt ", 16, 1, 1, rate, 2 * rate, 2, 16, b"data", size),
    )
    with path.open("wb") as file:
        file.write(head)
        file.truncate(len(head) + size)


def noise(path: Path, seconds: float = 0.5, rate: int = 16_000, seed: int = 0, channels: int = 1) -> None:
    """Quiet noise in the format of the suffix, another one in each channel."""
    shape = (round(seconds * rate), channels) if channels > 1 else round(seconds * rate)
    wave = 0.1 * np.random.default_rng(seed).standard_normal(shape)
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, wave.astype(np.float32), rate)
