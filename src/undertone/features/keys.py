"""Under which key a feature is kept: everything that determined it, and nothing else."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

from undertone.audio import digest
from undertone.types import SpeechEncoder, TextEncoder, Utterance

__all__ = ["recording_key", "speech_key", "text_key"]


def speech_key(utterance: Utterance, encoder: SpeechEncoder) -> str:
    """Address of an utterance's frames: the recording's bytes, the span, the encoder's identity."""
    return _address("speech", encoder.identity, *_heard(utterance))


def recording_key(utterance: Utterance) -> str:
    """What an encoder that learns hears of it: the recording's bytes and the span."""
    return _address("recording", *_heard(utterance))


def _heard(utterance: Utterance) -> list[object]:
    span = [None if t is None else round(t * 1e6) for t in (utterance.start, utterance.end)]
    return [_digest_of(utterance.audio), *span]


def text_key(utterance: Utterance, encoder: TextEncoder) -> str:
    """Address of a transcript's token vectors: its characters, the encoder's identity."""
    return _address("text", encoder.identity, utterance.text or "")


def _address(*parts: object) -> str:
    return hashlib.sha256("\x1f".join(map(str, parts)).encode()).hexdigest()[:32]


def _digest_of(ref: str) -> str:
    """The recording's hash; read again only when its size or date changes."""
    archive = Path(ref if Path(ref).exists() else ref.partition("#")[0])
    try:
        status = archive.stat()
    except OSError:
        return digest(ref)  # says what is missing
    return _digest(ref, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=4096)
def _digest(ref: str, _size: int, _changed: int) -> str:
    return digest(ref)
