"""Training those who judge figures of whole clips: seconds each, so that several are averaged."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, PositiveInt

from studies.starter.frames import Variants
from studies.starter.targets import Targets, TargetsConfig, head_start, loss
from undertone.config import Config
from undertone.models.compact.classifiers import FunctionalsClassifier, SpeechDistance
from undertone.models.compact.functionals import VIEWS, View
from undertone.models.compact.spectrum import spectrum

VERSION = 3
"""Of what is made of frames; raised with every change that changes the numbers."""
MET = 20_000
"""Of how many variants, at most, what all speech is like is learned."""

__all__ = ["VERSION", "Figures", "JudgesConfig", "drawn", "fit_judge", "fit_known", "told"]

Figures = Mapping[View, NDArray[np.float32]]
"""(items, variants, n) of each view."""


class JudgesConfig(Config):
    """Who judges, and how they are trained."""

    views: tuple[tuple[View, ...], ...] = (*((view,) for view in VIEWS), tuple(VIEWS))
    """What each is told."""
    networks: PositiveInt = 2
    """Of each, from other seeds; the log posteriors of all are averaged."""
    hidden: PositiveInt = 384
    dropout: float = Field(0.2, ge=0.0, lt=0.9)
    axes: PositiveInt = 64
    """Along which it is told whether a clip is like any speech."""
    epochs: PositiveInt = 150
    batch: PositiveInt = 128
    rate: float = Field(1.5e-3, gt=0.0)
    decay: float = Field(0.3, ge=0.0)
    sounds: PositiveInt = 400
    """Sounds that nobody speaks in an epoch."""


def told(variants: Variants) -> dict[View, NDArray[np.float32]]:
    """The figures of every variant, computed once and kept beside the frames."""
    paths = {view: variants.folder / f"{view}-{VERSION}.npy" for view in VIEWS}
    if not all(path.is_file() for path in paths.values()):
        rows = [
            _figures([variants.get(i, v) for v in range(variants.count)]) for i in range(len(variants.edges))
        ]
        for view, path in paths.items():
            part = path.with_suffix(f".{os.getpid()}.npy")
            np.save(part, np.stack([row[view] for row in rows]))
            part.replace(path)
    return {view: np.load(path, mmap_mode="r") for view, path in paths.items()}


@torch.inference_mode()
def _figures(frames: list[NDArray[np.float32]]) -> dict[View, NDArray[np.float32]]:
    lengths = torch.tensor([len(x) for x in frames])
    padded = torch.zeros(len(frames), int(lengths.max()), frames[0].shape[1])
    for row, x in zip(padded, frames, strict=True):
        row[: len(x)] = torch.from_numpy(x)
    found = spectrum(padded, lengths)
    return {view: tell(found).numpy() for view, tell in VIEWS.items()}


def drawn(figures: Sequence[Figures], views: Sequence[View], rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """(rows, variants, n): what some views tell of some items, all their variants one after another."""
    parts = [np.concatenate([one[view][rows] for view in views], 2) for one in figures]
    return np.concatenate(parts, 1)


def fit_judge(
    net: FunctionalsClassifier,
    learned: Targets,
    spoken: NDArray[np.float32],
    sounds: NDArray[np.float32],
    config: JudgesConfig,
    counting: TargetsConfig,
    seed: int,
) -> None:
    """Train ``net`` in place on ``spoken (clips, variants, n)`` and ``sounds (sounds, n)``."""
    rng = np.random.default_rng([seed, 19])
    flat = spoken.reshape(-1, spoken.shape[2])
    net.standardise(torch.from_numpy(flat.mean(0)), torch.from_numpy(flat.std(0) + 1e-3))
    net.train()
    gift = head_start(learned, counting)
    optimizer = torch.optim.AdamW(net.parameters(), config.rate, weight_decay=config.decay)
    size = len(learned.clips) + config.sounds
    batch = min(config.batch, size)
    total, done = config.epochs * (size // batch), 0
    for _ in range(config.epochs):
        order = rng.permutation(np.concatenate([learned.clips, rng.choice(learned.sounds, config.sounds)]))
        for at in range(0, size // batch * batch, batch):
            chosen = order[at : at + batch]
            for group in optimizer.param_groups:
                group["lr"] = config.rate * (0.5 + 0.5 * float(np.cos(np.pi * done / total)))
            scores = net(torch.from_numpy(_one_of_each(spoken, sounds, chosen, rng)))
            kinds, classes = (
                torch.from_numpy(learned.kinds[chosen]),
                torch.from_numpy(learned.classes[chosen]),
            )
            optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(loss(scores + gift, kinds, classes, counting).mean())
            optimizer.step()
            done += 1
    net.eval()


def _one_of_each(
    spoken: NDArray[np.float32],
    sounds: NDArray[np.float32],
    chosen: NDArray[np.int64],
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    """(chosen, n): one variant of each clip; what stands beyond the clips are sounds."""
    found = np.empty((len(chosen), spoken.shape[2]), np.float32)
    speech = chosen < len(spoken)
    found[speech] = spoken[chosen[speech], rng.integers(spoken.shape[1], size=speech.sum())]
    found[~speech] = sounds[chosen[~speech] - len(spoken)]
    return found


def fit_known(net: SpeechDistance, spoken: NDArray[np.float32], seed: int) -> None:
    """Learn what all speech is like from ``spoken (clips, variants, n)``, all views of it."""
    flat = spoken.reshape(-1, spoken.shape[2])
    some = np.random.default_rng([seed, 23]).permutation(len(flat))[:MET]
    net.learn(torch.from_numpy(flat[np.sort(some)]))
