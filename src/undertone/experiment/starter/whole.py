"""Training the networks over figures of whole clips: seconds each, so that several are averaged."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, PositiveInt

from undertone.config import Config
from undertone.experiment.starter.frames import Variants
from undertone.experiment.starter.speech import Material, SpeechTraining, targets_loss
from undertone.models.compact_speech import spectrum
from undertone.models.compact_whole import Whole, figures

VERSION = 2
"""Of what the networks make of frames; raised with every change that changes the numbers."""

__all__ = ["VERSION", "Figures", "WholeTraining", "fit_whole", "told"]


class WholeTraining(Config):
    """How the networks over figures are trained."""

    networks: int = Field(5, ge=0)
    """Trained one after another from other seeds; their log posteriors are averaged."""
    hidden: PositiveInt = 384
    dropout: float = Field(0.2, ge=0.0, lt=0.9)
    epochs: PositiveInt = 150
    batch: PositiveInt = 128
    rate: float = Field(1.5e-3, gt=0.0)
    decay: float = Field(0.3, ge=0.0)
    noisy: PositiveInt = 1
    """How often a variant in noise is drawn to once of any other."""
    sounds: PositiveInt = 400
    """Sounds that nobody speaks in an epoch."""
    share: float = Field(0.5, ge=0.0, le=1.0)
    """How much these networks count beside those over the spectrum."""


def told(variants: Variants) -> NDArray[np.float32]:
    """(items, variants, n): the figures of every variant, computed once and kept beside the frames."""
    kept = variants.folder / f"figures-{VERSION}.npy"
    if not kept.is_file():
        rows = [
            _figures([variants.get(i, v) for v in range(variants.count)]) for i in range(len(variants.edges))
        ]
        part = kept.with_suffix(f".{os.getpid()}.npy")
        np.save(part, np.stack(rows))
        part.replace(kept)
    found: NDArray[np.float32] = np.load(kept, mmap_mode="r")
    return found


@torch.inference_mode()
def _figures(frames: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    lengths = torch.tensor([len(x) for x in frames])
    padded = torch.zeros(len(frames), int(lengths.max()), frames[0].shape[1])
    for row, x in zip(padded, frames, strict=True):
        row[: len(x)] = torch.from_numpy(x)
    found: NDArray[np.float32] = figures(spectrum(padded, lengths, clear=True)).numpy()
    return found


@dataclass(frozen=True)
class Figures:
    """What a fit draws from: figures of every variant of the clips, and of the sounds."""

    spoken: NDArray[np.float32]
    """(clips, variants, n)"""
    sounds: NDArray[np.float32]
    """(sounds, 1, n)"""

    def draw(self, items: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.float32]:
        """(items, n): one variant of each; items beyond the clips are sounds."""
        clips = len(self.spoken)
        found = np.empty((len(items), self.spoken.shape[2]), np.float32)
        speech = items < clips
        found[speech] = self.spoken[items[speech], rng.integers(self.spoken.shape[1], size=speech.sum())]
        found[~speech] = self.sounds[items[~speech] - clips, 0]
        return found


def fit_whole(
    net: Whole, items: Material, told: Figures, config: WholeTraining, targets: SpeechTraining, seed: int
) -> None:
    """Train ``net`` in place."""
    rng = np.random.default_rng([seed, 19])
    seen = told.spoken.reshape(-1, told.spoken.shape[2])
    net.standardise(torch.from_numpy(seen.mean(0)), torch.from_numpy(seen.std(0) + 1e-3))
    net.train()
    optimizer = torch.optim.AdamW(net.parameters(), config.rate, weight_decay=config.decay)
    size = len(items.clips) + config.sounds
    batch = min(config.batch, size)
    total, done = config.epochs * (size // batch), 0
    for _ in range(config.epochs):
        order = rng.permutation(np.concatenate([items.clips, rng.choice(items.sounds, config.sounds)]))
        for at in range(0, size // batch * batch, batch):
            chosen = order[at : at + batch]
            for group in optimizer.param_groups:
                group["lr"] = config.rate * (0.5 + 0.5 * float(np.cos(np.pi * done / total)))
            kinds, classes = torch.from_numpy(items.kinds[chosen]), torch.from_numpy(items.classes[chosen])
            scores = net.judge(torch.from_numpy(told.draw(chosen, rng)))
            optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(targets_loss(scores, kinds, classes, targets).mean())
            optimizer.step()
            done += 1
    net.eval()
