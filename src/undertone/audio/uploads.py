"""What strangers send: decoded within limits, mixed or by channel, with a warning where it is cut short."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from undertone.audio.channels import differ
from undertone.audio.reading import PIECE, RATE, mono, opened, resample
from undertone.audio.source import Source
from undertone.audio.streaming import Resampler
from undertone.errors import AudioError
from undertone.types import Seconds

if TYPE_CHECKING:
    from undertone.audio.sound import OpenSound
    from undertone.types import Wave

__all__ = ["Received", "Surveyed", "pieces", "receive", "survey"]

MOST_CHANNELS = 32
RATES = 4_000, 384_000
"""What a recording of speech may have."""
MOST_APART = 8
"""Channels that are kept apart; together they may be as long as two of the longest recordings."""
Wanted: TypeAlias = 'Literal["mix", "split"] | Sequence[int] | None'


@dataclass(frozen=True)
class Received:
    """An upload's samples."""

    samples: Wave
    """``(N,)``, or ``(N, C)`` where channels are kept apart."""
    channels: tuple[int, ...]
    """The number of each column, counted from 0; empty: they are ``(N,)``."""
    warning: str | None
    """What is missing of it, in one line."""


@dataclass(frozen=True)
class Surveyed:
    """What an upload on the disk holds, once all of it was decoded and nothing of it kept."""

    seconds: Seconds
    channels: tuple[int, ...]
    """The number of each column of its pieces, counted from 0; empty: they are ``(N,)``."""
    warning: str | None


def survey(
    path: Path, name: str, channels: Wanted = None, *, longest: Seconds, containers: bool = True
) -> Surveyed:
    """As ``receive``, but of a file, and without its samples: whatever would refuse it does so here, and
    ``pieces`` then gives them bit by bit."""
    source = Source(name, path)
    if channels is None:
        with opened(source, containers) as sound:
            _refuse_strange(sound, longest)
            _refuse_different(sound)
    with opened(source, containers) as sound:
        _refuse_strange(sound, longest)
        numbers = _numbers(sound, channels)
        if len(numbers) > 1:
            longest = _longest_apart(sound, numbers, longest)
        for _ in sound.pieces(PIECE):
            _refuse_more(sound, longest)
        sound.check_worth()
        apart = numbers if len(numbers) > 1 else ()
        return Surveyed(sound.place / sound.rate, apart, sound.shortage())


def pieces(
    path: Path,
    name: str,
    channels: Wanted = None,
    rate: int = RATE,
    *,
    seconds: Seconds = PIECE,
    containers: bool = True,
) -> Iterator[Wave]:
    """The samples of a file that was surveyed, at ``rate``, in pieces of so many seconds."""
    import numpy as np

    with opened(Source(name, path), containers) as sound:
        numbers = _numbers(sound, channels)
        apart = len(numbers) > 1
        change = Resampler(sound.rate, rate, len(numbers) if apart else None)
        for frames in sound.pieces(seconds):
            if apart:
                yield change(np.ascontiguousarray(frames[:, list(numbers)]))
            else:
                yield change(mono(frames, numbers[0] if numbers else None, name))
        yield change.close()


def receive(
    data: bytes,
    name: str = "upload",
    channels: Wanted = None,
    rate: int = RATE,
    *,
    longest: Seconds,
    containers: bool = True,
) -> Received:
    """The samples at ``rate``: the mean of all channels (``mix``; None: where they do not differ), each one
    apart (``split``), or those of these numbers.

    A longer recording, or one of a rate or number of channels that speech does not have, is refused before
    it takes memory. ``containers``: also what only ffmpeg reads.
    """
    source = Source(name, data)
    with opened(source, containers) as sound:
        _refuse_strange(sound, longest)
        if channels is not None or sound.channels == 1:
            return _received(sound, channels, rate, longest)
        _refuse_different(sound)
    with opened(source, containers) as sound:
        return _received(sound, "mix", rate, longest)


def _received(sound: OpenSound, channels: Wanted, rate: int, longest: Seconds) -> Received:
    numbers = _numbers(sound, channels)
    apart = len(numbers) > 1
    if apart:
        longest = _longest_apart(sound, numbers, longest)
    samples = _apart(sound, numbers, rate, longest) if apart else _one(sound, numbers, rate, longest)
    return Received(samples, numbers if apart else (), sound.shortage())


def _numbers(sound: OpenSound, channels: Wanted) -> tuple[int, ...]:
    """The channels that are wanted; none where their mean is."""
    if channels is None or channels == "mix":
        return ()
    numbers = tuple(range(sound.channels) if channels == "split" else map(int, channels))
    if len(set(numbers)) < len(numbers):
        raise AudioError(f"{sound.name}: a channel is named twice")
    for number in numbers:
        if not 0 <= number < sound.channels:
            raise AudioError(
                f"{sound.name}: there is no channel {number}: it has {sound.channels}, counted from 0"
            )
    if len(numbers) > MOST_APART:
        raise AudioError(f"{sound.name}: {len(numbers)} channels; at most {MOST_APART} are judged apart")
    return numbers


def _one(sound: OpenSound, numbers: Sequence[int], rate: int, longest: Seconds) -> Wave:
    import numpy as np

    parts = [np.zeros(0, np.float32)]
    for frames in sound.pieces(PIECE):
        parts.append(mono(frames, numbers[0] if numbers else None, sound.name))
        _refuse_more(sound, longest)
    sound.check_worth()
    return resample(np.concatenate(parts), sound.rate, rate)


def _apart(sound: OpenSound, numbers: Sequence[int], rate: int, longest: Seconds) -> Wave:
    import numpy as np

    change = Resampler(sound.rate, rate, len(numbers))
    parts = []
    for frames in sound.pieces(PIECE):
        parts.append(change(np.ascontiguousarray(frames[:, list(numbers)])))
        _refuse_more(sound, longest)
    sound.check_worth()
    return np.concatenate([*parts, change.close()])


def _longest_apart(sound: OpenSound, numbers: Sequence[int], longest: Seconds) -> Seconds:
    """Of channels that are kept apart; longer ones are refused."""
    longest = min(longest, 2 * longest / len(numbers))
    _refuse_long(sound, longest)
    return longest


def _refuse_different(sound: OpenSound) -> None:
    """Where nobody chose; reads the recording to its end."""
    if differ(sound):
        raise AudioError(
            f"{sound.name}: its {sound.channels} channels hold different sounds: channels=split judges each"
            " as a speaker, channels=mix their mean, channels=0 the first alone"
        )


def _refuse_strange(sound: OpenSound, longest: Seconds) -> None:
    _refuse_long(sound, longest)
    if not 1 <= sound.channels <= MOST_CHANNELS or not RATES[0] <= sound.rate <= RATES[1]:
        raise AudioError(
            f"{sound.name}: {sound.channels} channels at {sound.rate} Hz is not a recording of speech"
        )


def _refuse_long(sound: OpenSound, longest: Seconds) -> None:
    seconds = (sound.claimed or 0) / sound.rate
    if seconds > longest:
        raise AudioError(f"{sound.name}: {seconds:.0f} s is longer than the {longest:g} s allowed")


def _refuse_more(sound: OpenSound, longest: Seconds) -> None:
    if sound.place > longest * sound.rate:
        raise AudioError(f"{sound.name}: is longer than the {longest:g} s allowed")
