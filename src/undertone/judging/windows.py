"""From samples to windows of speech, as they arrive.

A region of speech [a, b) is covered by windows of length W at distance H; what is left at its end
is covered by one more window that ends with it:

    a ├──── W ────┤                       b
          ├──── W ────┤                   │
              ├──── W ────┤               │
                       ├──── W ───────────┤   only if the others leave something

A window is given as soon as speech has reached its end, so a file fed at once and a stream fed in small
pieces give the same windows. Speech without a pause is cut into regions of ``region_up_to`` seconds, and
what lies before the open region is dropped: memory does not grow.
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from undertone.errors import install_line
from undertone.judging.settings import Segmenting
from undertone.runtimes import RunGraph, open_onnx

if TYPE_CHECKING:
    from undertone.types import Wave

__all__ = ["RATE", "STEP", "Everything", "Segmenter", "Silero", "SpeechDetector", "Window", "detector"]


RATE = 16000
STEP = 512
"""Samples per probability: the network was trained for this length at 16 kHz."""
AT_ONCE = 64
"""Steps that the detector gets in one call, two seconds: one at a time would take it three times as long."""
_CONTEXT = 64
"""Samples of the step before that the network wants in front."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Window:
    """One clip for the model; times in samples of the recording."""

    start: int
    end: int
    wave: Wave
    region: int
    """Start of the region of speech it belongs to: its name."""
    region_end: int | None = None
    """Where the region ended, on its last window only."""
    region_wave: Wave | None = None
    """All samples of the region, on its last window only."""


class Segmenter:
    """Audio of one recording in, windows of speech out. Mono at 16 kHz."""

    def __init__(
        self, settings: Segmenting | None = None, detect: SpeechDetector | None = None, origin: int = 0
    ) -> None:
        """``origin``: the recording's sample that the first one fed is."""
        self._settings = settings or Segmenting()
        self._detect = detect or detector()
        self._kept = np.zeros(0, np.float32)
        self._kept_from = origin  # the recording's sample that _kept[0] is
        self._detected = origin  # samples before this the detector has seen
        self._start: int | None = None  # of the open region
        self._speech_until = 0  # end of the last step that was speech
        self._floor = origin  # where the region before ended: padding stops there
        self._next = 0  # start of the open region's next window

    @property
    def received(self) -> int:
        """The recording's sample up to which samples were fed."""
        return self._kept_from + len(self._kept)

    @property
    def speaking(self) -> bool:
        return self._start is not None

    def feed(self, samples: Wave) -> list[Window]:
        """Windows that these samples complete."""
        self._kept = np.concatenate([self._kept, np.asarray(samples, np.float32)])
        windows: list[Window] = []
        while count := min(AT_ONCE, (self.received - self._detected) // STEP):
            steps = self._slice(self._detected, self._detected + count * STEP).reshape(count, STEP)
            for probability in self._detect(steps):
                windows += self._advance(float(probability))
        self._forget()
        return windows

    def close(self) -> list[Window]:
        """The recording is over: the last windows. A rest shorter than a step counts as the step before."""
        end = self.received
        windows: list[Window] = []
        if self._start is not None and self._speech_until == self._detected:
            self._speech_until = end
            windows += self._cut(self._start + _samples(self._settings.region_up_to))
        return [*windows, *self._end_region(end)]

    def _advance(self, probability: float) -> Iterator[Window]:
        self._detected += STEP
        settings = self._settings
        if self._start is None:
            if probability >= settings.speech_on:
                self._open(self._detected - STEP)
        elif probability >= settings.speech_off:
            self._speech_until = self._detected
        elif self._detected - self._speech_until >= _samples(settings.min_silence):
            yield from self._end_region(self._speech_until + _samples(settings.pad))
        if self._start is not None:
            yield from self._cut(self._start + _samples(settings.region_up_to))
            yield from self._full_windows(self._speech_until)

    def _cut(self, limit: int) -> Iterator[Window]:
        """Speech that has reached ``limit`` without a pause ends its region there and opens the next."""
        if self._speech_until >= limit:
            yield from self._end_region(limit)
            self._start = self._next = limit

    def _open(self, at: int) -> None:
        self._start = self._next = max(self._floor, at - _samples(self._settings.pad))
        self._speech_until = self._detected

    def _full_windows(self, reached: int) -> Iterator[Window]:
        length, hop = _samples(self._settings.window), _samples(self._settings.hop)
        while self._next + length <= reached:
            yield self._window(self._next, self._next + length)
            self._next += hop

    def _end_region(self, limit: int) -> Iterator[Window]:
        """The open region ends, padded as far as ``limit``: its remaining windows, the last one marked."""
        start, length = self._start, _samples(self._settings.window)
        if start is None:
            return
        end = min(self._speech_until + _samples(self._settings.pad), limit)
        spoken = self._speech_until - start
        windows = list(self._full_windows(end))
        covered = self._next - _samples(self._settings.hop) + length if self._next > start else start
        if covered < end and spoken >= _samples(self._settings.min_speech):
            windows.append(self._window(max(start, end - length), end))
        wave = self._slice(start, end).copy()
        if windows:
            tail = windows.pop()
            windows.append(Window(tail.start, tail.end, tail.wave, start, end, wave))
        elif self._next > start:  # all its windows are out already: an empty one marks the end
            windows.append(Window(end, end, np.zeros(0, np.float32), start, end, wave))
        self._start, self._floor = None, end
        yield from windows

    def _window(self, start: int, end: int) -> Window:
        assert self._start is not None
        return Window(start, end, self._slice(start, end).copy(), self._start)

    def _slice(self, start: int, end: int) -> Wave:
        return self._kept[start - self._kept_from : end - self._kept_from]

    def _forget(self) -> None:
        """Drop what nothing will need: before the open region, or before the next one's padding."""
        needed = self._detected - _samples(self._settings.pad) if self._start is None else self._start
        drop = max(0, needed - self._kept_from)
        if drop:
            self._kept = self._kept[drop:].copy()
            self._kept_from += drop


def _samples(seconds: float) -> int:
    return round(seconds * RATE)


# ---- where speech is -----------------------------------------------------------------------------------


class SpeechDetector(Protocol):
    """Detects speech in one recording from its beginning, step by step."""

    def __call__(self, steps: Wave, /) -> Iterable[float]:
        """Probability of speech in each of ``steps (n, STEP)``, given all steps before it."""


class Silero:
    """silero-vad; one object per recording (it keeps a state), one network for all of them."""

    def __init__(self) -> None:
        self._network = _network()
        self._hidden = self._cell = np.zeros((1, 1, 128), np.float32)
        self._context = np.zeros(_CONTEXT, np.float32)

    def __call__(self, steps: Wave) -> Wave:
        samples = np.concatenate([self._context, steps.ravel()])
        inputs = np.lib.stride_tricks.sliding_window_view(samples, _CONTEXT + STEP)[::STEP]
        probabilities, self._hidden, self._cell = self._network(
            {"input": np.ascontiguousarray(inputs), "h": self._hidden, "c": self._cell}
        )
        self._context = samples[-_CONTEXT:].copy()
        return np.asarray(probabilities)


class Everything:
    """Takes all of a recording for speech: where no detector is installed."""

    def __call__(self, steps: Wave) -> Wave:
        return np.ones(len(steps), np.float32)


def detector() -> SpeechDetector:
    """A detector for one recording: silero-vad, or (warned once) none."""
    if _weights() is None or importlib.util.find_spec("onnxruntime") is None:
        _warn_once()
        return Everything()
    return Silero()


@cache
def _warn_once() -> None:
    log.warning(
        "no speech detector: silence in long recordings is judged like speech; %s", install_line("vad")
    )


@cache
def _weights() -> Path | None:
    spec = importlib.util.find_spec("silero_vad")  # not imported: that would import torch
    if spec is None or not spec.submodule_search_locations:
        return None
    path = Path(spec.submodule_search_locations[0]) / "data" / "silero_vad_16k_sequence.onnx"
    return path if path.is_file() else None


@cache
def _network() -> RunGraph:
    path = _weights()
    assert path is not None  # ``detector`` has looked
    return open_onnx(path, threads=1, feature="the speech detector")
