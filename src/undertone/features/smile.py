"""eGeMAPS low-level descriptors through openSMILE: an extra, free for research only (see licences).

25 descriptors every 10 ms: loudness, spectral balance, mel-cepstra 1-4, pitch, jitter, shimmer,
harmonics, formants 1-3. The whole clip is given to openSMILE at once.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from undertone.config import fingerprint
from undertone.errors import ConfigError, MissingExtra
from undertone.features.assemble import checked_frames, checked_wave
from undertone.features.config import CODE, Precision, SpeechConfig
from undertone.types import FrameClock

if TYPE_CHECKING:
    from undertone.types import Wave

__all__ = ["Egemaps"]

LEAST = 16_000 // 10
"""Samples openSMILE needs before it gives a frame; shorter clips are padded with silence."""


class Egemaps:
    """The extended Geneva minimalistic set's descriptors, frame by frame."""

    rate = 16_000
    layers = 0

    def __init__(self, config: SpeechConfig) -> None:
        if importlib.util.find_spec("opensmile") is None:
            raise MissingExtra("the encoder 'egemaps'", "smile")
        if config.layer != "last":
            raise ConfigError(f"layer {config.layer}: eGeMAPS has no layers; leave it at 'last'")
        import opensmile

        self.smile = opensmile.Smile(
            feature_set=opensmile.FeatureSet.eGeMAPSv02,
            feature_level=opensmile.FeatureLevel.LowLevelDescriptors,
        )
        self.config = config
        self.name = "egemaps"
        self.keep = config.keep
        self.dim = len(self.smile.feature_names)
        self.clock = FrameClock(hop=0.010, offset=0.010)
        self.precision = Precision("fp32", "openSMILE is always fp32")
        self.identity = fingerprint(
            {"code": CODE, "name": self.name, "keep": config.keep, "opensmile": opensmile.__version__}
        )

    def encode(self, waves: Sequence[Wave]) -> list[NDArray[np.float32]]:
        """Frames (T, D) of each wave."""
        return [checked_frames(self._frames(checked_wave(wave)), self.name) for wave in waves]

    def _frames(self, wave: Wave) -> NDArray[np.float32]:
        padded = np.pad(wave, (0, max(0, LEAST - len(wave))))
        table = self.smile.process_signal(padded, self.rate)
        frames: NDArray[np.float32] = table.to_numpy(np.float32)
        return frames

    def __reduce__(self) -> tuple[Any, ...]:
        return Egemaps, (self.config,)
