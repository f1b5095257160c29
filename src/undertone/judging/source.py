"""The samples of a recording as a plan takes them: mixed or by channel, in pieces where it is long."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from undertone import audio as sound
from undertone.audio.streaming import blocks, channel_blocks
from undertone.errors import AudioError
from undertone.judging.clip import Channels, Recording
from undertone.judging.conversation import Voice

if TYPE_CHECKING:
    from undertone.types import Wave

__all__ = ["Opened", "by_channel", "opened"]

HELD_UP_TO = 60.0
"""Seconds; longer files are read piece by piece."""


@dataclass(frozen=True)
class Opened:
    """A recording that is ready to be judged."""

    blocks: Iterable[Wave] | None
    """``(N,)``, or with voices ``(N, channels)``; None: there is only text."""
    seconds: float | None = None
    voices: Sequence[Voice] = ()


def opened(recording: Recording, rate: int) -> Opened:
    """The samples at ``rate``, and who speaks in them; AudioError where channels differ and nobody chose."""
    given = recording.audio
    if given is None:
        return Opened(None)
    voices = recording.voices() if callable(recording.voices) else recording.voices
    if isinstance(given, np.ndarray):
        return _array(given, recording, rate, voices)
    count = _channels(given)
    stretch = recording.start is not None or recording.end is not None
    wanted = recording.channels
    if wanted is None and count > 1 and not stretch and sound.channels_differ(given):
        raise AudioError(
            f"{recording.id}: its {count} channels hold different sounds: --channels split judges each as a"
            " speaker, --channels mix their mean, --channels 0 the first alone"
        )
    if isinstance(wanted, tuple) and len(wanted) == 1 and not voices:
        return _mono(recording, rate, wanted[0])
    if voices and isinstance(wanted, tuple) and len(wanted) == 1:
        by_channel(wanted, count, recording.id)
        voices = [replace(voice, channel=wanted[0]) for voice in voices]
    elif voices and (wanted == "split" or isinstance(wanted, tuple)):
        raise AudioError(
            f"{recording.id}: who speaks when is known for the mix or for one channel, not for several:"
            " --channels mix, or one number"
        )
    voices = voices or by_channel(wanted, count, recording.id)
    if not voices:
        return _mono(recording, rate, None)
    if isinstance(given, bytes) or stretch:
        parts = [_loaded(recording, rate, channel) for channel in range(count)]
        return Opened([np.stack(parts, 1)], len(parts[0]) / rate, voices)
    seconds = sound.info(given).duration
    return Opened(channel_blocks(given, rate=rate), seconds, voices)


def by_channel(wanted: Channels, count: int, name: str) -> Sequence[Voice]:
    """The channels as speakers; none where they are mixed."""
    if wanted is None or wanted == "mix" or (wanted == "split" and count == 1):
        return ()
    numbers = range(count) if wanted == "split" else wanted
    for number in numbers:
        if not 0 <= number < count:
            raise AudioError(f"{name}: there is no channel {number}: it has {count}, counted from 0")
    return [Voice(f"channel {number}", number) for number in numbers]


def _channels(given: str | Path | bytes) -> int:
    if isinstance(given, bytes):
        import soundfile

        try:
            return int(soundfile.info(BytesIO(given)).channels)
        except (soundfile.SoundFileError, TypeError):
            return 1  # what it is turns out when it is decoded
    return sound.info(given).channels


def _mono(recording: Recording, rate: int, channel: int | None) -> Opened:
    given = recording.audio
    if isinstance(given, str | Path) and recording.start is None and recording.end is None:
        seconds = sound.info(given).duration
        if seconds > HELD_UP_TO:
            return Opened(blocks(given, rate=rate, channel=channel), seconds)
    wave = _loaded(recording, rate, channel)
    return Opened([wave], len(wave) / rate)


def _loaded(recording: Recording, rate: int, channel: int | None) -> Wave:
    given, start, end = recording.audio, recording.start, recording.end
    if isinstance(given, bytes):
        return sound.decode(given, recording.id, start, end, rate=rate, channel=channel)
    assert isinstance(given, str | Path)
    return sound.load(given, start, end, rate=rate, channel=channel)


def _array(wave: Wave, recording: Recording, rate: int, voices: Sequence[Voice]) -> Opened:
    name, columns = recording.id, wave.ndim == 2 and (recording.channels or voices)
    if not (wave.ndim == 1 or columns) or not len(wave):
        raise AudioError(
            f"{name}: a wave of shape {wave.shape}: mono samples (N,) are wanted, or with 'channels' (N, C)"
        )
    if not np.isfinite(wave).all():
        raise AudioError(f"{name}: holds samples that are not numbers (NaN or infinity)")
    table = np.ascontiguousarray(wave, np.float32).reshape(len(wave), -1)
    native = recording.rate or rate
    parts = [sound.resample(np.ascontiguousarray(column), native, rate) for column in table.T]
    chosen = voices or by_channel(recording.channels, len(parts), name)
    made: Wave = np.stack(parts, 1) if chosen else np.stack(parts, 1).mean(1, dtype=np.float32)
    return Opened([made], len(made) / rate, chosen)
