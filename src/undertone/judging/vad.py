"""Where speech is: silero-vad through onnxruntime, its weights from the installed wheel; no torch."""

from __future__ import annotations

import importlib.util
import logging
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from undertone.runtimes import RunGraph, open_onnx

if TYPE_CHECKING:
    from undertone.types import Wave

__all__ = ["RATE", "STEP", "Everything", "Silero", "SpeechDetector", "detector"]

RATE = 16000
STEP = 512
"""Samples per probability: the network was trained for this length at 16 kHz."""
_CONTEXT = 64
"""Samples of the step before that the network wants in front."""

log = logging.getLogger(__name__)


class SpeechDetector(Protocol):
    """Detects speech in one recording from its beginning, step by step."""

    def __call__(self, step: Wave, /) -> float:
        """Probability of speech in ``step (STEP,)``, given all steps before it."""


class Silero:
    """silero-vad; one object per recording (it keeps a state), one network for all of them."""

    def __init__(self) -> None:
        self._network = _network()
        self._state = np.zeros((2, 1, 128), np.float32)
        self._context = np.zeros(_CONTEXT, np.float32)

    def __call__(self, step: Wave) -> float:
        samples = np.concatenate([self._context, step])[None].astype(np.float32, copy=False)
        probability, self._state = self._network(
            {"input": samples, "state": self._state, "sr": np.array(RATE, np.int64)}
        )
        self._context = step[-_CONTEXT:]
        return float(probability[0, 0])


class Everything:
    """Takes all of a recording for speech: where no detector is installed."""

    def __call__(self, _step: Wave) -> float:
        return 1.0


def detector() -> SpeechDetector:
    """A detector for one recording: silero-vad, or (warned once) none."""
    if _weights() is None or importlib.util.find_spec("onnxruntime") is None:
        _warn_once()
        return Everything()
    return Silero()


@cache
def _warn_once() -> None:
    log.warning(
        "no speech detector: silence in long recordings is judged like speech; pip install 'undertone[vad]'"
    )


@cache
def _weights() -> Path | None:
    spec = importlib.util.find_spec("silero_vad")  # not imported: that would import torch
    if spec is None or not spec.submodule_search_locations:
        return None
    path = Path(spec.submodule_search_locations[0]) / "data" / "silero_vad.onnx"
    return path if path.is_file() else None


@cache
def _network() -> RunGraph:
    path = _weights()
    assert path is not None  # ``detector`` has looked
    return open_onnx(path, threads=1, feature="the speech detector")
