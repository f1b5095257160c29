"""Every speech encoder through one door: ``speech_encoder(name)``.

``acoustic`` needs nothing, ``egemaps`` needs openSMILE, any other name is a pretrained network's
folder or hub name. All give frames with a clock, the same for a clip whatever its neighbours.
"""

from __future__ import annotations

from typing import Any

from undertone.errors import ConfigError
from undertone.features.acoustic import Acoustic
from undertone.features.config import SpeechConfig, check_device
from undertone.features.smile import Egemaps
from undertone.types import SpeechEncoder

__all__ = ["build", "speech_encoder"]


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
