"""Training the networks over figures of whole clips: seconds each, so that several are averaged."""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, PositiveInt

from undertone.config import Config
from undertone.experiment.starter.frames import Variants
from undertone.experiment.starter.speech import Material, SpeechTraining, targets_loss
from undertone.models.compact_speech import spectrum
from undertone.models.compact_whole import Whole, figures

VERSION = 1
"""Of the figures; raised with every change that changes the numbers."""

__all__ = ["WholeTraining", "fit_whole", "told"]


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
    share: float = Field(0.6, ge=0.0, le=1.0)
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
    found: NDArray[np.float32] = figures(spectrum(padded, lengths)).numpy()
    return found


def fit_whole(
    net: Whole,
    items: Material,
    get: Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.float32]],
    config: WholeTraining,
    targets: SpeechTraining,
    seed: int,
) -> None:
    """Train ``net`` in place; ``get(items, variants)`` gives figures (n, F)."""
    torch.manual_seed(seed)
    rng = np.random.default_rng([seed, 19])
    pool = [get(items.clips, np.full(len(items.clips), v)) for v in range(int(items.variants.max()))]
    seen = np.concatenate(pool)
    net.standardise(torch.from_numpy(seen.mean(0)), torch.from_numpy(seen.std(0) + 1e-3))
    net.train()
    optimizer = torch.optim.AdamW(net.parameters(), config.rate, weight_decay=config.decay)
    size = len(items.clips) + targets.sounds
    total, done = config.epochs * (size // config.batch), 0
    for _ in range(config.epochs):
        order = rng.permutation(np.concatenate([items.clips, rng.choice(items.sounds, targets.sounds)]))
        for at in range(0, size // config.batch * config.batch, config.batch):
            chosen = order[at : at + config.batch]
            x = torch.from_numpy(get(chosen, rng.integers(items.variants[chosen])))
            for group in optimizer.param_groups:
                group["lr"] = config.rate * (0.5 + 0.5 * float(np.cos(np.pi * done / total)))
            kinds, classes = torch.from_numpy(items.kinds[chosen]), torch.from_numpy(items.classes[chosen])
            loss = targets_loss(net.judge(x), kinds, classes, targets).mean()
            optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            optimizer.step()
            done += 1
    net.eval()
