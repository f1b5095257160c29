"""Every speech encoder through one door: ``speech_encoder(name)``.

``acoustic`` needs nothing, ``egemaps`` needs openSMILE, any other name is a pretrained network's
folder or hub name. All give frames with a clock, the same for a clip whatever its neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from undertone.config import Config, fingerprint
from undertone.errors import ConfigError
from undertone.features.acoustic import AcousticConfig, acoustic_frames, clock, columns
from undertone.features.checks import checked_frames, checked_wave
from undertone.features.longclips import LongClips
from undertone.features.precision import Precision, Wanted
from undertone.types import SpeechEncoder

if TYPE_CHECKING:
    from undertone.types import Wave

__all__ = ["Acoustic", "SpeechConfig", "build", "speech_encoder"]

CODE = 1
"""Raised whenever the same settings would give other numbers: part of every encoder's identity."""


class SpeechConfig(Config):
    """Which speech encoder, and how it is run."""

    name: str = "acoustic"
    """``acoustic``, ``egemaps``, or a pretrained network's folder or hub name."""
    revision: str | None = None
    """The hub's branch, tag or commit; None: its main branch. The commit found is recorded."""
    layer: int | Literal["last", "weighted"] = "last"
    """Which hidden state: an index (0 is before the first block), the last, or all for learned weights."""
    precision: Wanted = "auto"
    """What the network computes in; ``auto`` takes bf16 where the hardware has it."""
    keep: Literal["fp32", "fp16"] = "fp32"
    """What the store keeps."""
    runtime: Literal["torch", "openvino", "onnx"] = "torch"
    """What runs the network on the CPU."""
    device: str = "cpu"
    """``cpu``, ``cuda``, ``cuda:1`` …"""
    batch_frames: int = Field(6_000, ge=1)
    """On a GPU: frames, padding included, that share a batch (6,000 is two minutes)."""
    long: LongClips = LongClips()
    """When clips are windowed."""
    acoustic: AcousticConfig = AcousticConfig()
    """How acoustic frames are computed; only for ``acoustic``."""


def speech_encoder(
    name: str = "acoustic", layer: int | str = "last", precision: str = "auto", **more: Any
) -> SpeechEncoder:
    """The encoder of that name; ``more`` are the other fields of ``SpeechConfig``."""
    return build(SpeechConfig.parse({"name": name, "layer": layer, "precision": precision, **more}))


def build(config: SpeechConfig) -> SpeechEncoder:
    """The encoder that a config describes."""
    if config.name == "acoustic":
        return Acoustic(config)
    if config.name == "egemaps":
        from undertone.features.smile import Egemaps

        return Egemaps(config)
    from undertone.features.neural import PretrainedSpeech

    return PretrainedSpeech(config)


class Acoustic:
    """Log-mel, pitch, voicing and energy: no weights, nothing to download."""

    rate = 16_000
    layers = 0

    def __init__(self, config: SpeechConfig) -> None:
        if config.layer != "last":
            raise ConfigError(f"layer {config.layer}: acoustic frames have no layers; leave it at 'last'")
        self.config = config
        self.name = "acoustic"
        self.keep = config.keep
        self.dim = len(columns(config.acoustic))
        self.clock = clock(config.acoustic)
        self.precision = Precision("fp32", "acoustic frames are always fp32")
        settings = config.acoustic.plain()
        self.identity = fingerprint(
            {"code": CODE, "name": self.name, "keep": config.keep, "settings": settings}
        )

    def encode(self, waves: Sequence[Wave]) -> list[NDArray[np.float32]]:
        """Frames (T, D) of each wave."""
        settings = self.config.acoustic
        return [checked_frames(acoustic_frames(checked_wave(w), settings), self.name) for w in waves]

    def __reduce__(self) -> tuple[Any, ...]:
        return build, (self.config,)
