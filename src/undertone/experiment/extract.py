"""A manifest through its encoders: what ``undertone extract`` does."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from undertone import manifest
from undertone.features import speech as speech_encoders
from undertone.features import text as text_encoders
from undertone.features.config import SpeechConfig, TextConfig
from undertone.features.extract import Report, extract
from undertone.store import Store

__all__ = ["extract_manifest"]


def extract_manifest(
    path: Path,
    store: Path | None,
    speech: Mapping[str, Any] | None,
    text: Mapping[str, Any] | None,
    *,
    jobs: int = 1,
    say: Callable[[str], object] = lambda _line: None,
) -> Report:
    """Encode what the store lacks of a manifest's clips and transcripts; refused ones are in the report.

    ``speech`` and ``text`` are fields of ``SpeechConfig`` and ``TextConfig``; ``jobs`` 0 is one
    process a core; ``say`` is told which precision was chosen and why.
    """
    utterances = manifest.read(path).resolved()
    hear = speech_encoders.build(SpeechConfig.parse(speech)) if speech else None
    read = text_encoders.build(TextConfig.parse(text)) if text else None
    for encoder in (hear, read):
        if encoder is not None:
            say(f"{encoder.name}: {getattr(encoder, 'precision', 'fp32')}")
    workers = jobs or os.cpu_count() or 1
    return extract(utterances, Store(store), hear, read, jobs=workers, skip_bad=True)
