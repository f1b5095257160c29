"""Frontends of speech networks: from a whole clip's wave to the input of attention.

Run on one clip at a time, never padded: the group norm of wav2vec2-base has no mask, so padding would
change it. A long clip can still be worked in blocks: each frame sees only its receptive field, and
what belongs to the whole clip (the wave's mean and deviation, the group norm's statistics) is measured
over all of it first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from undertone.pretrained import Pretrained
from undertone.types import FrameClock

if TYPE_CHECKING:
    from undertone.types import Wave

__all__ = ["LENGTHS", "Convolutions", "Filterbanks", "Frontend", "Spectrogram"]

BLOCK = 20 * 16_000
"""Samples the convolutional frontend takes at once; 512 channels at 3.2 kHz make 130 MB of it."""

LENGTHS = (2, 4, 6, 8, 12, 16, 20, 25)
"""Seconds to which a clip for Whisper is padded with silence; a longer clip fills the network's own 30 s.
Few, so that clips meet in batches of equal length; most utterances of speech corpora last 2 to 8 s."""


class Frontend:
    """From a wave to the body's input."""

    dim: int
    clock: FrameClock
    receptive: int
    """Samples that one frame sees: the least a clip can have."""
    lengths: tuple[int, ...] = ()
    """Where the network takes no mask: the numbers of samples that a wave may have, ascending."""

    def __call__(self, wave: Wave, dtype: torch.dtype) -> Tensor:
        """(T, F) of one whole clip."""
        raise NotImplementedError


class ConvStack(nn.Module):
    """The strided convolutions alone: (1, N) samples → (1, T, F)."""

    def __init__(self, layers: nn.ModuleList) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, samples: Tensor) -> Tensor:
        hidden = samples[:, None]
        for layer in self.layers:
            hidden = layer(hidden)
        return hidden.transpose(1, 2)


class Convolutions(Frontend):
    """wav2vec 2.0 and kin: the wave normalised as a whole, then a stack of strided convolutions."""

    def __init__(self, pretrained: Pretrained, block: int = BLOCK) -> None:
        self.extractor = pretrained.processor
        self.rate = int(pretrained.processor.sampling_rate)
        self.layers = pretrained.model.feature_extractor.conv_layers
        self.stack = ConvStack(self.layers)
        self.run: Callable[[Tensor], Tensor] = self.stack
        convs: list[Any] = [layer.conv for layer in self.layers]
        self.stride, self.receptive = _geometry(convs)
        self.clock = FrameClock(hop=self.stride / self.rate, offset=self.receptive / 2 / self.rate)
        self.dim = int(convs[-1].out_channels)
        self.block = max(block // self.stride, 1)

    def __call__(self, wave: Wave, dtype: torch.dtype) -> Tensor:
        padded = np.pad(wave, (0, max(0, self.receptive - len(wave))))
        normal = self.extractor(padded, sampling_rate=self.rate, return_tensors="np").input_values[0]
        samples = _moved(normal, self._device, dtype)
        count = (len(samples) - self.receptive) // self.stride + 1
        if count <= self.block:
            return self.run(samples[None])[0]
        with self._whole_clip_norms(samples):
            return torch.cat([self.stack(self._part(samples, rows)[None])[0] for rows in self._blocks(count)])

    @property
    def _device(self) -> torch.device:
        device: torch.device = next(self.layers.parameters()).device
        return device

    def _blocks(self, count: int) -> Iterator[range]:
        return (range(i, min(i + self.block, count)) for i in range(0, count, self.block))

    def _part(self, samples: Tensor, rows: range) -> Tensor:
        return samples[rows.start * self.stride : (rows.stop - 1) * self.stride + self.receptive]

    @contextmanager
    def _whole_clip_norms(self, samples: Tensor) -> Iterator[None]:
        """Group norms see a block as part of its clip: they use the whole clip's mean and variance."""
        replaced: list[tuple[nn.Module, nn.Module]] = []
        try:
            for depth, layer in enumerate(self.layers):
                norm = getattr(layer, "layer_norm", None)
                if isinstance(norm, nn.GroupNorm):
                    fixed = self._measure(samples, depth, norm)
                    replaced.append((layer, norm))
                    layer.layer_norm = fixed
            yield
        finally:
            for layer, norm in replaced:
                layer.layer_norm = norm

    def _measure(self, samples: Tensor, depth: int, norm: nn.GroupNorm) -> nn.Module:
        """The norm with statistics over the clip of what comes out of the convolution before it."""
        assert norm.num_groups == norm.num_channels, "statistics are per channel in these networks"
        layers = self.layers[:depth]
        conv = self.layers[depth].conv
        stride, receptive = _geometry([layer.conv for layer in self.layers[: depth + 1]])
        count = (len(samples) - receptive) // stride + 1
        size = self.block * self.stride // stride
        total = torch.zeros(norm.num_channels, dtype=torch.float64, device=samples.device)
        square = torch.zeros_like(total)
        for begin in range(0, count, size):
            end = min(begin + size, count)
            hidden = samples[None, None, begin * stride : (end - 1) * stride + receptive]
            for layer in layers:
                hidden = layer(hidden)
            values = conv(hidden)[0].double()
            total += values.sum(1)
            square += values.square().sum(1)
        mean = total / count
        return _FixedNorm(norm, mean, (square / count - mean.square()).clamp(min=0))


class _FixedNorm(nn.Module):
    """A group norm whose statistics are already known."""

    def __init__(self, norm: nn.GroupNorm, mean: Tensor, variance: Tensor) -> None:
        super().__init__()
        scale = norm.weight.double() / (variance + norm.eps).sqrt()
        self.scale = scale.to(norm.weight.dtype)[:, None]
        self.shift = (norm.bias.double() - mean * scale).to(norm.weight.dtype)[:, None]

    def forward(self, hidden: Tensor) -> Tensor:
        return hidden * self.scale + self.shift


class Filterbanks(Frontend):
    """w2v-BERT: Kaldi-like filterbanks, normalised over the clip, two stacked into one frame."""

    def __init__(self, pretrained: Pretrained) -> None:
        self.extractor = pretrained.processor
        self.rate = int(pretrained.processor.sampling_rate)
        self.device = next(pretrained.model.parameters()).device
        bank, step = _bank_geometry(self.extractor, self.rate)
        stack = int(self.extractor.stride)
        self.receptive = bank + step * (stack - 1)
        self.clock = FrameClock(hop=stack * step / self.rate, offset=self.receptive / 2 / self.rate)
        self.dim = int(self.extractor.num_mel_bins) * stack

    def __call__(self, wave: Wave, dtype: torch.dtype) -> Tensor:
        padded = np.pad(wave, (0, max(0, self.receptive - len(wave))))
        features = self.extractor(
            padded, sampling_rate=self.rate, return_tensors="np", return_attention_mask=True
        )
        real = features["attention_mask"][0].astype(bool)
        return _moved(features["input_features"][0][real], self.device, dtype)


class Spectrogram(Frontend):
    """Whisper: log-mel of a wave that already has one of ``lengths``; the longest is the published 30 s."""

    def __init__(self, pretrained: Pretrained) -> None:
        self.extractor = pretrained.processor
        self.rate = int(pretrained.processor.sampling_rate)
        encoder = pretrained.model.get_encoder()
        self.device = next(encoder.parameters()).device
        hop = int(pretrained.processor.hop_length)
        stride, receptive = _geometry([encoder.conv1, encoder.conv2])
        self.stride = stride * hop
        self.receptive = 1
        longest = int(encoder.config.max_source_positions) * self.stride
        lengths = (seconds * self.rate // self.stride * self.stride for seconds in LENGTHS)
        self.lengths = (*(n for n in lengths if n < longest), longest)
        offset = (receptive - 1) / 2 - encoder.conv1.padding[0] - encoder.conv2.padding[0]
        self.clock = FrameClock(hop=self.stride / self.rate, offset=offset * hop / self.rate)
        self.dim = int(pretrained.processor.feature_size)

    def __call__(self, wave: Wave, dtype: torch.dtype) -> Tensor:
        assert len(wave) in self.lengths
        features = self.extractor(
            wave, sampling_rate=self.rate, return_tensors="np", padding="max_length", max_length=len(wave)
        )
        return _moved(features.input_features[0].T, self.device, dtype)


def _moved(array: NDArray[Any], device: torch.device, dtype: torch.dtype) -> Tensor:
    """The array on the device; to a GPU from pinned memory, without waiting for it."""
    tensor = torch.from_numpy(np.ascontiguousarray(array, np.float32))
    if device.type == "cuda":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True).to(dtype)


def _geometry(convs: list[Any]) -> tuple[int, int]:
    """Stride and receptive field, in input samples, of convolutions one after another."""
    stride, receptive = 1, 1
    for conv in convs:
        receptive += (conv.kernel_size[0] - 1) * conv.dilation[0] * stride
        stride *= conv.stride[0]
    return stride, receptive


def _bank_geometry(extractor: Any, rate: int) -> tuple[int, int]:
    """Samples of one filterbank's window and from one to the next, measured on the extractor itself."""

    def frames(samples: int) -> int:
        wave: NDArray[np.float32] = np.zeros(samples, np.float32)
        return len(extractor._extract_fbank_features(wave))

    window = len(extractor.window)
    step = round(rate / (frames(window + rate) - frames(window)))
    return window, step
