"""Pretrained speech networks as encoders: one clip at a time on a CPU, masked buckets on a GPU."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from undertone.config import fingerprint
from undertone.errors import ConfigError
from undertone.features import engines
from undertone.features.batching import plan
from undertone.features.checks import checked_frames, checked_wave
from undertone.features.fronts import Convolutions
from undertone.features.longclips import windows
from undertone.features.networks import FAMILIES, Body, load
from undertone.features.precision import choose
from undertone.features.speech import CODE, SpeechConfig
from undertone.features.speech import build as rebuild

if TYPE_CHECKING:
    from undertone.types import Wave

__all__ = ["PretrainedSpeech"]

log = logging.getLogger(__name__)

GROUP = 64
"""On a GPU: clips decoded together, from which batches of like length are made."""


class PretrainedSpeech:
    """Frames from any architecture in ``networks.FAMILIES``."""

    def __init__(self, config: SpeechConfig) -> None:
        engines.require(config.runtime)
        found = load(config.name, config.revision)
        self.name = config.name
        self.keep = config.keep
        self.revision = found.revision
        self.device = torch.device(config.device)
        self.precision = choose(config.precision, config.device, config.runtime)
        self.config = config.model_copy(
            update={"precision": self.precision.name, "revision": found.revision or config.revision}
        )
        """As asked for, but with what was found in place of ``auto`` and of a branch's name."""
        self.dtype = self.precision.dtype if config.runtime == "torch" else torch.float32
        found.model.to(self.device, self.dtype)
        family = FAMILIES[found.kind]
        self.front = family.front(found)
        self.body = Body(found, config.layer)
        self._run_body: Callable[..., Tensor] = self.body
        if config.runtime != "torch":
            self._use_engines(config.runtime)
        self.pads = family.pads
        self.group = 1 if self.device.type == "cpu" else GROUP
        self.rate = int(found.processor.sampling_rate)
        self.dim, self.layers, self.clock = self.body.dim, self.body.layers, self.front.clock
        self.identity = fingerprint(self._determining(found.weights))

    def _determining(self, weights: str) -> dict[str, Any]:
        """Everything that makes the numbers what they are."""
        return {
            "code": CODE,
            "weights": weights,
            "layer": self.body.layer,
            "precision": self.precision.name,
            "keep": self.keep,
            "runtime": self.config.runtime,
            "long": self.config.long.plain(),
        }

    def _use_engines(self, runtime: engines.Runtime) -> None:
        """Hand both parts to another engine; long clips' fronts stay with torch, in blocks."""
        if self.device.type != "cpu":
            raise ConfigError(f"--runtime {runtime} is for the CPU; on {self.device} leave it at torch")
        precision, frames = self.precision.name, 64
        if isinstance(self.front, Convolutions):
            samples = self.front.receptive + (frames - 1) * self.front.stride
            self.front.run = engines.convert(self.front.stack, (1, samples), 1, runtime, precision)
        frames = frames if self.front.window is None else self.front.body_frames
        axis = 1 if self.front.window is None else None
        self._run_body = engines.convert(self.body, (1, frames, self.front.dim), axis, runtime, precision)

    @torch.inference_mode()
    def encode(self, waves: Sequence[Wave]) -> list[NDArray[np.float32]]:
        """Frames (T, D), or layers (K, T, D), of each wave."""
        checked = [checked_wave(wave) for wave in waves]
        if self.front.window is not None:
            return [self._windowed_waves(wave) for wave in checked]
        features = [self.front(wave, self.dtype) for wave in checked]
        frames: list[NDArray[np.float32] | None] = [None] * len(features)
        limit = round(self.config.long.above / self.clock.hop)
        for index in [i for i, x in enumerate(features) if len(x) > limit]:
            frames[index] = self._windowed_frames(features[index])
        short = [i for i, x in enumerate(features) if len(x) <= limit]
        for batch in self._batches([len(features[i]) for i in short]):
            rows = [short[i] for i in batch]
            for index, out in zip(rows, self._bodies([features[i] for i in rows]), strict=True):
                frames[index] = out
        return [checked_frames(x, self.name) for x in frames if x is not None]

    def _batches(self, lengths: Sequence[int]) -> list[list[int]]:
        if self.device.type == "cpu":  # padding would cost more than sharing gains
            return [[i] for i in range(len(lengths))]
        return plan(lengths, self.config.batch_frames, self.pads)

    def _bodies(self, features: Sequence[Tensor]) -> list[NDArray[np.float32]]:
        """The body over a batch, padded if lengths differ."""
        lengths = [len(x) for x in features]
        mask = None
        if len(set(lengths)) > 1:
            mask = (
                torch.arange(max(lengths), device=self.device)
                < torch.tensor(lengths, device=self.device)[:, None]
            )
        padded = torch.nn.utils.rnn.pad_sequence(list(features), batch_first=True)
        out = self._run_body(padded) if mask is None else self._run_body(padded, mask)
        numbers = out.float().cpu().numpy()
        return [np.ascontiguousarray(x[..., :n, :]) for x, n in zip(numbers, lengths, strict=True)]

    def _windowed_frames(self, features: Tensor) -> NDArray[np.float32]:
        """Attention in overlapping windows over one long clip's front features."""
        long = self.config.long
        size, overlap = (round(seconds / self.clock.hop) for seconds in (long.window, long.overlap))
        parts = [
            self._bodies([features[see.start : see.stop]])[0][
                ..., keep.start - see.start : keep.stop - see.start, :
            ]
            for see, keep in windows(len(features), size, overlap)
        ]
        return np.concatenate(parts, axis=-2)

    def _windowed_waves(self, wave: Wave) -> NDArray[np.float32]:
        """A network of a fixed window (Whisper): each window padded with silence, its frames cut."""
        assert self.front.window is not None
        hop = round(self.clock.hop * self.rate)
        size = self.front.window // hop
        overlap = min(round(self.config.long.overlap / self.clock.hop), (size - 1) // 2)
        parts = []
        for see, keep in windows(-(-len(wave) // hop), size, overlap):
            features = self.front(wave[see.start * hop : see.stop * hop], self.dtype)
            out = self._bodies([features])[0]
            parts.append(out[..., keep.start - see.start : keep.stop - see.start, :])
        return np.concatenate(parts, axis=-2)

    def __reduce__(self) -> tuple[Any, ...]:
        return rebuild, (self.config,)
