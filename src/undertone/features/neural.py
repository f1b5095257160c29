"""Pretrained speech networks as encoders: a frontend and a body, so that both can be run piece by piece.

    wave (N,) --frontend--> features (T, F) --body--> hidden states (T, D) or layers (K, T, D)

The frontend (``frontends.py``) takes one clip at a time. The body attends over frames; padded batches need
a mask, which every architecture marked ``pads`` in ``FAMILIES`` honours exactly.

Hidden state ``k`` is the input of block ``k``; the last is what the network itself returns.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from undertone.config import fingerprint
from undertone.errors import ConfigError, ModelError
from undertone.features import engines
from undertone.features.assemble import averaged, checked_frames, checked_wave
from undertone.features.batching import at_level, of_lengths, plan, windows
from undertone.features.config import CODE, Layer, Runtime, SpeechConfig, choose_precision
from undertone.features.frontends import Convolutions, Filterbanks, Frontend, Spectrogram
from undertone.pretrained import Pretrained, architecture, in_plain_torch, load_speech

if TYPE_CHECKING:
    from undertone.types import Wave

__all__ = ["FAMILIES", "Body", "Family", "PretrainedSpeech", "whisper_states"]

GROUP = 64
"""On a GPU: clips decoded together, from which batches of like length are made."""


@dataclass(frozen=True)
class Family:
    """How the networks of one architecture are taken apart."""

    frontend: Callable[[Pretrained], Frontend]
    pads: bool
    """Does a masked, padded batch give what single clips give? If not: equal lengths only."""


FAMILIES: dict[str, Family] = {
    "wav2vec2": Family(Convolutions, pads=True),
    "hubert": Family(Convolutions, pads=True),
    "wavlm": Family(Convolutions, pads=True),
    "data2vec-audio": Family(Convolutions, pads=False),  # five position convolutions leak across the mask
    "wav2vec2-bert": Family(Filterbanks, pads=True),
    "whisper": Family(Spectrogram, pads=False),  # takes no mask; a few fixed lengths, so many are equal
}
"""By transformers' name of the architecture. Each is held to the contract by the same test."""


class PretrainedSpeech:
    """Frames from any architecture in ``FAMILIES``: one clip at a time on a CPU, masked batches on a GPU."""

    def __init__(self, config: SpeechConfig) -> None:
        engines.require(config.runtime)
        pretrained = _load(config.name, config.revision)
        self.name = config.name
        self.keep = config.keep
        self.revision = pretrained.revision
        self.device = torch.device(config.device)
        self.precision = choose_precision(config.precision, config.device, config.runtime)
        self.config = config.model_copy(
            update={"precision": self.precision.name, "revision": pretrained.revision or config.revision}
        )
        """As given, but with what ``auto`` and a branch's name were resolved to."""
        self.dtype = self.precision.dtype if config.runtime == "torch" else torch.float32
        pretrained.model.to(self.device, self.dtype)
        family = FAMILIES[pretrained.kind]
        self.frontend = family.frontend(pretrained)
        self.lengths = self.frontend.lengths[-1:] if config.window == "full" else self.frontend.lengths
        if config.window == "full" and not self.lengths:
            raise ConfigError(
                f"window = 'full' is for Whisper: {config.name} ({pretrained.kind}) takes any length"
            )
        self.body = Body(pretrained, config.layer)
        self._run_body: Callable[..., Tensor] = self.body
        if config.runtime != "torch":
            self._use_engines(config.runtime)
        self.pads = family.pads
        self.group = 1 if self.device.type == "cpu" else GROUP
        self.rate = int(pretrained.processor.sampling_rate)
        self.dim, self.layers = self.body.dim, self.body.layers
        self.clock = self.frontend.clock.averaged(config.average)
        self.blocks = self.body.blocks
        self.files = pretrained.files
        determining: dict[str, Any] = {
            "weights": pretrained.weights,
            "layer": self.body.layer,
            "keep": config.keep,
            "code": CODE,
        }
        determining |= {"lengths": list(self.lengths)} if self.lengths else {}
        determining |= {} if config.level is None else {"level": config.level}
        determining |= {} if config.average == 1 else {"average": config.average}
        self._determining = determining | {"long": config.long.plain()}
        self.identity = self.identity_in(config.runtime, self.precision.name)

    def identity_in(self, runtime: str, precision: str) -> str:
        """Its identity, were it run by that engine in that precision."""
        return fingerprint(self._determining | {"runtime": runtime, "precision": precision})

    def _use_engines(self, runtime: Runtime) -> None:
        """Hand both parts to another engine; long clips' fronts stay with torch, in blocks."""
        if self.device.type != "cpu":
            raise ConfigError(f"--runtime {runtime} is for the CPU; on {self.device} leave it at torch")
        precision, frames = self.precision.name, 64
        if isinstance(self.frontend, Convolutions):
            samples = self.frontend.receptive + (frames - 1) * self.frontend.stride
            self.frontend.run = engines.convert(self.frontend.stack, (1, samples), 1, runtime, precision)
        axis: int | None = 1
        if len(self.lengths) == 1:
            frames, axis = len(self.frontend(np.zeros(self.lengths[0], np.float32), torch.float32)), None
        self._run_body = engines.convert(self.body, (1, frames, self.frontend.dim), axis, runtime, precision)

    @torch.inference_mode()
    def encode(self, waves: Sequence[Wave]) -> list[NDArray[np.float32]]:
        """Frames (T, D), or layers (K, T, D), of each wave."""
        checked = [at_level(checked_wave(wave), self.config.level) for wave in waves]
        if self.lengths:
            return [self._finished(x) for x in self._of_fixed_lengths(checked)]
        features = [self.frontend(wave, self.dtype) for wave in checked]
        frames: list[NDArray[np.float32] | None] = [None] * len(features)
        limit = round(self.config.long.above / self.frontend.clock.hop)
        for index in [i for i, x in enumerate(features) if len(x) > limit]:
            frames[index] = self._windowed_frames(features[index])
        short = [i for i, x in enumerate(features) if len(x) <= limit]
        for batch in self._batches([len(features[i]) for i in short]):
            rows = [short[i] for i in batch]
            for index, out in zip(rows, self._bodies([features[i] for i in rows]), strict=True):
                frames[index] = out
        return [self._finished(x) for x in frames if x is not None]

    def _finished(self, frames: NDArray[np.float32]) -> NDArray[np.float32]:
        return averaged(checked_frames(frames, self.name), self.config.average)

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
        """Attention in overlapping windows over one long clip's frontend features."""
        long = self.config.long
        size, overlap = (round(seconds / self.frontend.clock.hop) for seconds in (long.window, long.overlap))
        parts = [
            self._bodies([features[window.start : window.stop]])[0][
                ..., keep.start - window.start : keep.stop - window.start, :
            ]
            for window, keep in windows(len(features), size, overlap)
        ]
        return np.concatenate(parts, axis=-2)

    def _of_fixed_lengths(self, waves: Sequence[Wave]) -> list[NDArray[np.float32]]:
        """Whisper's frames: each clip, or window of a long one, with silence after it; its frames are cut."""
        seconds = self.frontend.clock.hop
        hop, overlap = round(seconds * self.rate), round(self.config.long.overlap / seconds)
        cut = [of_lengths(wave, self.lengths, hop, overlap) for wave in waves]
        kept = [keep for parts in cut for _, keep in parts]
        features = [self.frontend(part, self.dtype) for parts in cut for part, _ in parts]
        frames: list[NDArray[np.float32]] = [np.empty(0, np.float32)] * len(features)
        for batch in self._batches([len(x) for x in features]):
            for row, out in zip(batch, self._bodies([features[row] for row in batch]), strict=True):
                frames[row] = np.ascontiguousarray(out[..., kept[row], :])
        ends = np.cumsum([len(parts) for parts in cut])
        return [np.concatenate(frames[e - len(p) : e], axis=-2) for e, p in zip(ends, cut, strict=True)]

    def __reduce__(self) -> tuple[Any, ...]:
        return PretrainedSpeech, (self.config,)


class Body(nn.Module):
    """Attention over frames, run only as deep as the wanted hidden state."""

    def __init__(self, pretrained: Pretrained, layer: Layer) -> None:
        super().__init__()
        self.project = getattr(pretrained.model, "feature_projection", None)
        self.encoder: Any = (
            pretrained.model.encoder if self.project is not None else pretrained.model.get_encoder()
        )
        self.blocks = len(self.encoder.layers)
        self.layer = _checked_layer(layer, self.blocks, pretrained.name)
        self.several = _several(self.layer, self.blocks)
        deepest = self.layer if isinstance(self.layer, int) else self.several.stop - 1
        if self.layer != "last" and deepest < self.blocks:
            self.encoder.layers = self.encoder.layers[: max(deepest, 1)]
        self.dim = int(pretrained.settings.hidden_size)
        self.layers = len(self.several)

    def forward(self, features: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, T, F) with mask (B, T) → (B, T, D), or (B, K, T, D) for several states."""
        states: list[Tensor] = []
        last: Tensor
        with self._collecting(states):
            if self.project is None:
                last = whisper_states(self.encoder, features)
            else:
                hidden = self.project(features)
                hidden = hidden[0] if isinstance(hidden, tuple) else hidden
                with warnings.catch_warnings():  # WavLM adds a float bias to a boolean mask
                    warnings.filterwarnings("ignore", "Support for mismatched key_padding_mask")
                    last = self.encoder(hidden, attention_mask=mask).last_hidden_state
        if self.layer == "last":
            return last
        if not self.several:
            return states[-1]
        whole = self.several.stop > self.blocks
        return torch.stack(
            [*states, last][self.several.start :] if whole else states[self.several.start :], 1
        )

    @contextmanager
    def _collecting(self, states: list[Tensor]) -> Iterator[None]:
        """Collect the input of each block (where several are wanted), or the one hidden state wanted."""

        def before(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            states.append(args[0] if args else kwargs["hidden_states"])

        def after(_module: nn.Module, _args: Any, out: Any) -> None:
            states.append(out[0] if isinstance(out, tuple) else out)

        layers, hooks = self.encoder.layers, []
        if self.several:
            hooks = [layer.register_forward_pre_hook(before, with_kwargs=True) for layer in layers]
            if self.several.stop <= self.blocks:
                hooks.append(layers[-1].register_forward_hook(after))
        elif self.layer == 0:
            hooks = [layers[0].register_forward_pre_hook(before, with_kwargs=True)]
        elif isinstance(self.layer, int):
            hooks = [layers[-1].register_forward_hook(after)]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()


def whisper_states(encoder: Any, mel: Tensor) -> Tensor:
    """(B, T, D) from log-mel (B, 2T, F): transformers' forward of Whisper's encoder, which takes 30 s alone.

    A shorter input has the position embeddings of its own length, the first T of 1,500.
    """
    hidden = nn.functional.gelu(encoder.conv1(mel.transpose(1, 2)))
    hidden = nn.functional.gelu(encoder.conv2(hidden)).transpose(1, 2)
    hidden = hidden + encoder.embed_positions.weight[: hidden.shape[1]]
    for block in encoder.layers:
        hidden = block(hidden, None)
        hidden = hidden[0] if isinstance(hidden, tuple) else hidden
    normal: Tensor = encoder.layer_norm(hidden)
    return normal


def _several(layer: Layer, blocks: int) -> range:
    """The hidden states of ``weighted`` or of ``2-4``; none for one state."""
    if layer == "weighted":
        return range(blocks + 1)
    if isinstance(layer, int) or layer == "last":
        return range(0)
    low, high = map(int, layer.split("-"))
    return range(low, high + 1)


def _load(name: str, revision: str | None = None) -> Pretrained:
    """A pretrained network of one of the families; ModelError when it is of another kind."""
    kind = architecture(name, revision)
    if kind not in FAMILIES:
        raise ModelError(f"{name}: '{kind}' is not a speech encoder; known: {', '.join(FAMILIES)}")
    return in_plain_torch(name, revision) or load_speech(name, revision)


def _checked_layer(layer: Layer, blocks: int, name: str) -> Layer:
    if layer in ("last", "weighted"):
        return layer
    if isinstance(layer, str) and layer.count("-") == 1 and layer.replace("-", "").isdecimal():
        low, high = map(int, layer.split("-"))
        if not low < high <= blocks:
            raise ConfigError(f"layer {layer}: {name} has hidden states 0 to {blocks}, as 1-{blocks}")
        return "weighted" if (low, high) == (0, blocks) else layer
    if isinstance(layer, bool) or not isinstance(layer, int) or not -blocks - 1 <= layer <= blocks:
        raise ConfigError(f"layer {layer}: {name} has hidden states 0 to {blocks}, 'last' and 'weighted'")
    index = layer % (blocks + 1)
    return "last" if index == blocks else index
