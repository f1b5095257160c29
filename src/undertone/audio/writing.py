"""Write a recording, whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from undertone.audio.reading import RATE

if TYPE_CHECKING:
    from undertone.types import Wave

__all__ = ["save"]


def save(path: Path, wave: Wave, rate: int = RATE) -> None:
    """Write mono ``wave (N,)`` as 16-bit samples, ``.wav`` or ``.flac`` by the suffix, atomically."""
    import soundfile

    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        soundfile.write(partial, wave, rate, subtype="PCM_16")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
