"""Every speech encoder through one door: ``speech_encoder(name)``.

``acoustic`` needs nothing, ``egemaps`` needs openSMILE, any other name is a pretrained network's
folder or hub name. All give frames with a clock, the same for a clip whatever its neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from undertone import audio
from undertone.audio.noise import mixed
from undertone.config import fingerprint
from undertone.errors import ConfigError
from undertone.features.acoustic import Acoustic
from undertone.features.config import SpeechConfig, check_device
from undertone.features.smile import Egemaps
from undertone.types import SpeechEncoder

if TYPE_CHECKING:
    from undertone.types import Wave

__all__ = ["Changed", "build", "speech_encoder"]

SPEED = 0.15
"""Largest change of a copy's speed, and so of its pitch, as a natural logarithm."""
NOISE = (10.0, 30.0)
"""Decibels of speech over the white noise that every second copy gets."""


def speech_encoder(
    name: str = "acoustic", layer: int | str = "last", precision: str = "auto", **more: Any
) -> SpeechEncoder:
    """The encoder of that name; ``more`` are the other fields of ``SpeechConfig``."""
    return build(SpeechConfig.parse({"name": name, "layer": layer, "precision": precision, **more}))


def build(config: SpeechConfig) -> SpeechEncoder:
    """The encoder that a config describes."""
    check_device(config.device)
    if config.level is not None and config.name in ("acoustic", "egemaps"):
        raise ConfigError(f"level: is for pretrained networks, not for '{config.name}'")
    if config.average > 1 and config.name in ("acoustic", "egemaps"):
        more = "; acoustic.stack does that" if config.name == "acoustic" else ""
        raise ConfigError(f"average: is for pretrained networks, not for '{config.name}'{more}")
    if config.name == "acoustic":
        return Acoustic(config)
    if config.name == "egemaps":
        return Egemaps(config)
    from undertone.features.neural import PretrainedSpeech  # imports torch

    return PretrainedSpeech(config)


class Changed:
    """An encoder of copies to train on: each recording at another speed, every second one with noise.

    What is changed depends on the recording's samples and the copy's ``number``, and on nothing else.
    """

    def __init__(self, within: SpeechEncoder, number: int) -> None:
        self.within, self.number = within, number
        self.name, self.rate, self.dim = within.name, within.rate, within.dim
        self.layers, self.clock = within.layers, within.clock
        self.keep, self.group = getattr(within, "keep", "fp32"), getattr(within, "group", 1)
        self.identity = fingerprint({"of": within.identity, "copy": number, "speed": SPEED, "noise": NOISE})

    def encode(self, waves: Sequence[Wave]) -> list[NDArray[np.float32]]:
        """Frames of a copy of each wave."""
        return self.within.encode([self.copy_of(wave) for wave in waves])

    def copy_of(self, wave: Wave) -> Wave:
        """The wave at another speed, and with noise or without."""
        drawn = np.random.default_rng([self.number, crc32(wave.tobytes())])
        speed = float(np.exp(drawn.uniform(-SPEED, SPEED)))
        copy = audio.resample(wave, round(self.rate * speed), self.rate)
        if self.number % 2:
            return copy
        noise = drawn.standard_normal(len(copy))
        return mixed(copy, noise, float(drawn.uniform(*NOISE)), self.rate)
