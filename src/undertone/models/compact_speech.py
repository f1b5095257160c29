"""The speech side of ``compact``: half a million parameters from frames to class scores.

    frames (B, T, D)   mel columns, then energy, pitch, voicing, as ``features.acoustic`` makes them
      │ levelled       levels against the clip's own loud moments, so that gain and silence do not matter
      │ cropped        from the first to the last active frame, so that silence around the speech goes
      │                too; noise that is as strong in the clip's quiet moments counts as silence
      ├─▶ convolutions over frequency and time ─▶ with pitch, a GRU ─▶ attentive mean and spread ─┐
      └─▶ mean and spread of every column and of its slope ───────────────────────────────────────┴─▶ scores

A clip is judged by itself: nothing is taken from other clips, and padding is silent in every layer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from undertone.models.batch import mask_from
from undertone.models.layers import masked_mean, masked_softmax
from undertone.models.recurrence import BiGRU

__all__ = ["SpeechNet", "Spectrum", "spectrum"]

PROSODY = 3
"""Energy, pitch and voicing stand behind the mel columns."""
SPREAD = 3.0
"""Nepers in one unit of the level columns."""
AUDIBLE = 6.9 / SPREAD
"""What lies further below the loudest frame is not speech: 30 dB."""
FLOOR = 8.0 / SPREAD
"""How far below the clip's level a band is still told from silence: 35 dB."""
DECIBEL = math.log(10.0) / 10.0 / SPREAD
"""One of them in units of the level columns."""
QUIET = 0.1
"""The share of a clip's frames that tell its noise."""
ABOVE = 3.0 * DECIBEL
"""What is no more than this above the quiet frames is noise …"""
LOUD = 12.0 * DECIBEL
"""… unless it is within this of the loudest: a clip may have no quiet frames."""
DEEPEST = 0.1
"""Of the power of a band, at least this share stays when noise is taken off."""
MARGIN = 5
"""Frames kept before and after what is active."""
STEPS = 4
"""Frames to one step of the GRU."""


@dataclass(frozen=True)
class Spectrum:
    """A batch of clips, levelled and cropped; zeros beyond each clip's length."""

    mel: Tensor
    """(B, T, M) against the clip's own level, from -FLOOR up; 0 at the floor."""
    prosody: Tensor
    """(B, T, 4): energy, pitch where voiced, pitch against the clip's own, voicing."""
    lengths: Tensor
    """(B,)"""
    first: Tensor
    """(B,): the frame of the clip that stands first."""


def spectrum(frames: Tensor, lengths: Tensor, clear: bool = False) -> Spectrum:
    """Level and crop ``frames (B, T, D)``, first taking steady noise off if ``clear``."""
    real = mask_from(lengths, frames.shape[1])
    frames = torch.where(real[..., None], frames, 0.0)
    mels = frames.shape[2] - PROSODY
    top = frames[..., mels].masked_fill(~real, -1e4).amax(1, keepdim=True)
    loudness = ((frames[..., mels] - top) * SPREAD).clamp(-30.0, 0.0).exp() * real
    loudness = loudness / loudness.sum(1, keepdim=True).clamp(min=1e-6)  # (B, T), sums to 1
    noise = _quiet(frames[..., : mels + 1], real)
    heard = frames[..., mels] > torch.maximum(
        top - AUDIBLE, torch.minimum(noise[..., mels] + ABOVE, top - LOUD)
    )
    levels = _without(frames[..., : mels + 1], noise) if clear else frames[..., : mels + 1]
    mel, energy = levels[..., :mels], levels[..., mels]
    level = (mel.mean(-1) * loudness).sum(1)[:, None]
    mel = (mel - level[..., None] + FLOOR).clamp(min=0.0, max=2 * FLOOR)
    energy = (energy - (energy * loudness).sum(1, keepdim=True)).clamp(min=-FLOOR)
    pitch, voicing = frames[..., mels + 1], frames[..., mels + 2]
    voiced = ((voicing > 0.5) & real).to(frames.dtype)
    usual = (pitch * voiced).sum(1, keepdim=True) / voiced.sum(1, keepdim=True).clamp(min=1.0)
    prosody = torch.stack([energy, pitch * voiced, (pitch - usual) * voiced, voicing], -1)
    return _cropped(mel, prosody, heard & real, lengths)


def _quiet(levels: Tensor, real: Tensor) -> Tensor:
    """(B, 1, D): what each column of ``levels (B, T, D)`` is at in the clip's quiet frames."""
    ordered = levels.masked_fill(~real[..., None], 1e4).sort(1).values
    place = (QUIET * (real.sum(1) - 1).clamp(min=0)).round().long()
    return ordered.gather(1, place[:, None, None].expand(-1, 1, levels.shape[2]))


def _without(levels: Tensor, noise: Tensor) -> Tensor:
    """Logarithmic ``levels`` less the power of the ``noise``, but for a rest."""
    rest = 1.0 - ((noise - levels) * SPREAD).exp()
    return levels + rest.clamp(min=DEEPEST).log() / SPREAD


def _cropped(mel: Tensor, prosody: Tensor, heard: Tensor, lengths: Tensor) -> Spectrum:
    """From the first to the last frame that is ``heard (B, T)``, and a margin."""
    size = heard.shape[1]
    places = torch.arange(size, device=heard.device)
    some = heard.any(1)
    first = torch.where(heard, places, size).amin(1).clamp(max=size - 1)
    first = (first - MARGIN).clamp(min=0)
    last = torch.where(heard, places, -1).amax(1) + 1
    last = torch.minimum(last + MARGIN, lengths)
    lengths = torch.where(some, last - first, 0)
    longest = max(1, int(lengths.max()))
    index = (first[:, None] + torch.arange(longest, device=heard.device)).clamp(max=size - 1)
    kept = mask_from(lengths, longest)[..., None]

    def take(x: Tensor) -> Tensor:
        return x.gather(1, index[..., None].expand(-1, -1, x.shape[-1])) * kept

    return Spectrum(take(mel), take(prosody), lengths, first)


class _Norm(nn.BatchNorm2d):
    """Batch norm that takes what it has learned where a batch is but one number a channel."""

    def forward(self, x: Tensor) -> Tensor:
        if self.training and x.numel() == x.shape[1]:
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return super().forward(x)


class _Silenced(torch.autograd.Function):
    """Zeros beyond the lengths, in place: of batches of like lengths that is next to nothing to do, where a
    product with a mask would read and write everything twice."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, lengths: list[int]) -> Tensor:
        ctx.mark_dirty(x)
        ctx.lengths = lengths
        return _zeroed(x, lengths)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return _zeroed(gradients[0].clone(memory_format=torch.preserve_format), ctx.lengths), None


def _zeroed(x: Tensor, lengths: list[int]) -> Tensor:
    for row, length in zip(x, lengths, strict=True):
        if length < x.shape[3]:
            row[..., length:] = 0.0
    return x


def _silent(x: Tensor, lengths: Tensor) -> Tensor:
    """``x (B, C, F, T)``, which nobody else needs, with zeros beyond the lengths."""
    if torch.is_grad_enabled():
        silenced: Tensor = _Silenced.apply(x, lengths.tolist())  # type: ignore[no-untyped-call]
        return silenced
    return x * mask_from(lengths, x.shape[3])[:, None, None].to(x.dtype)


class _Block(nn.Module):
    """Two convolutions with a way around them; channels are weighted by what the whole clip holds."""

    def __init__(self, inputs: int, outputs: int, stride: tuple[int, int]) -> None:
        super().__init__()
        self.stride = stride[1]
        self.one = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.two = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norms = nn.ModuleList([_Norm(outputs), _Norm(outputs)])
        self.squeeze, self.excite = nn.Linear(outputs, outputs // 4), nn.Linear(outputs // 4, outputs)
        self.around = nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, F, T) with zeros beyond the lengths, and the same of the output."""
        lengths = _strided(lengths, self.stride)
        y = _silent(self.norms[0](self.one(x)), lengths).relu()
        y = _silent(self.norms[1](self.two(y)), lengths)
        mean = y.sum((2, 3)) / (lengths.clamp(min=1) * y.shape[2])[:, None]
        weight = self.excite(F.silu(self.squeeze(mean))).sigmoid()
        return (y * weight[..., None, None] + self.around(x)).relu(), lengths


def _strided(lengths: Tensor, stride: int) -> Tensor:
    return (lengths + stride - 1) // stride


class SpeechNet(nn.Module):
    """Frames to scores."""

    def __init__(self, columns: int, channels: int, width: int, outputs: int, dropout: float) -> None:
        super().__init__()
        self.mels = columns - PROSODY
        self.stem = nn.Conv2d(2, channels, 5, 2, 2, bias=False)
        self.stem_norm = _Norm(channels)
        sizes = [channels, channels, 2 * channels, 4 * channels, 4 * channels]
        strides = [(1, 1), (2, 1), (2, 2), (2, 1)]
        self.blocks = nn.ModuleList(_Block(*pair) for pair in zip(sizes, sizes[1:], strides, strict=False))
        bands = self.mels
        for _ in range(STEPS):  # the stem and three of the blocks halve the bands
            bands = (bands + 1) // 2
        self.project = nn.Linear(sizes[-1] * bands, width)
        self.melody = nn.Conv1d(4, width // 4, 9, STEPS, 4)
        self.gru = BiGRU(width + width // 4, width)
        self.look = nn.Sequential(
            nn.Linear(width, width // 2), nn.Tanh(), nn.Linear(width // 2, 1, bias=False)
        )
        wide = 2 * (2 * self.mels + 4)
        self.whole = nn.Sequential(
            nn.LayerNorm(wide), nn.Dropout(dropout), nn.Linear(wide, width // 2), nn.ReLU()
        )
        self.dropout = nn.Dropout(dropout)
        self.last = nn.Linear(2 * width + width // 2, outputs)

    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """Scores (B, outputs) of ``frames (B, T, D)``."""
        return self.scores(spectrum(frames, lengths))

    def scores(self, found: Spectrum) -> Tensor:
        """Scores (B, outputs) of what was levelled and cropped."""
        scores: Tensor = self.last(self.dropout(self.vector(found)))
        return scores

    def vector(self, found: Spectrum) -> Tensor:
        """What the scores are read off, (B, 2.5 width)."""
        steps, step_lengths = self._steps(found)
        mask = mask_from(step_lengths, steps.shape[1])
        looks = masked_softmax(self.look(steps)[..., 0], mask)[..., None]
        mean = (steps * looks).sum(1)
        spread = ((steps - mean[:, None]) ** 2 * looks).sum(1).clamp(min=1e-4).sqrt()
        return torch.cat([mean, spread, self.whole(_statistics(found))], -1)

    def _steps(self, found: Spectrum) -> tuple[Tensor, Tensor]:
        """What the GRU says at every step (B, T / 4, width), and how many steps are real."""
        slope = _slope(found.mel)
        kept = mask_from(found.lengths, slope.shape[1])[:, None, None]
        x = torch.stack([found.mel, slope], 1).transpose(2, 3)  # (B, 2, M, T)
        x = x.contiguous(memory_format=torch.channels_last)
        lengths = _strided(found.lengths, 2)
        x = _silent(self.stem_norm(self.stem(x * kept)), lengths).relu()
        for block in self.blocks:
            x, lengths = block(x, lengths)
        spoken = self.project(x.permute(0, 3, 1, 2).flatten(2)).relu()  # (B, T / 4, width)
        sung = self.melody(found.prosody.transpose(1, 2)).relu().transpose(1, 2)
        both = torch.cat([spoken, sung], -1) * mask_from(lengths, x.shape[3])[..., None]
        return self.gru(both.float(), lengths), lengths


def _slope(x: Tensor) -> Tensor:
    """(B, T, D): each frame's right neighbour less its left one, zeros beyond the ends."""
    return F.pad(x, (0, 0, 0, 1))[:, 1:] - F.pad(x, (0, 0, 1, 0))[:, :-1]


def _statistics(found: Spectrum) -> Tensor:
    """(B, 2 (2 M + 4)): mean and spread of every column over the clip; of slopes, their size."""
    columns = torch.cat([found.mel, _slope(found.mel).abs(), found.prosody], -1)
    mask = mask_from(found.lengths, columns.shape[1])
    mean = masked_mean(columns, mask)
    spread = masked_mean((columns - mean[:, None]) ** 2, mask).clamp(min=1e-4).sqrt()
    return torch.cat([mean, spread], -1)
