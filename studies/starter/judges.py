"""Training the classifiers of a clip's functionals: seconds each, so that several are averaged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, PositiveInt
from torch import Tensor

from studies.starter.frames import Variants
from studies.starter.targets import KINDS, TargetsConfig, head_start, loss
from undertone.config import Config
from undertone.files import whole
from undertone.models.batch import Batch, collate
from undertone.models.compact.classifiers import FunctionalsClassifier, SpeechDistance
from undertone.models.compact.functionals import VIEWS, View
from undertone.models.compact.spectrum import spectrum
from undertone.models.example import Dimensions, Example
from undertone.models.system import Output, System, SystemConfig
from undertone.training.config import TrainingConfig
from undertone.training.dataset import Dataset
from undertone.training.loop import fit

VERSION = 4
"""Of what is made of frames; raised with every change that changes the numbers."""
MOST = 20_000
"""Variants, at most, from which the distance from speech is learned."""

__all__ = ["VERSION", "Functionals", "JudgesConfig", "fit_distance", "fit_judge", "functionals", "selected"]

Functionals = Mapping[View, NDArray[np.float32]]
"""(items, variants, n) of each view."""


class JudgesConfig(Config):
    """The classifiers, and how they are trained."""

    views: tuple[tuple[View, ...], ...] = (*((view,) for view in VIEWS), tuple(VIEWS))
    """The views that each classifier gets."""
    networks: PositiveInt = 2
    """Of each, from other seeds; the log posteriors of all are averaged."""
    hidden: PositiveInt = 384
    dropout: float = Field(0.2, ge=0.0, lt=0.9)
    axes: PositiveInt = 64
    """Of the distance from all speech."""
    epochs: PositiveInt = 150
    batch: PositiveInt = 128
    rate: float = Field(1.5e-3, gt=0.0)
    decay: float = Field(0.3, ge=0.0)
    sounds: PositiveInt = 400
    """Sounds that nobody speaks in an epoch."""


def functionals(variants: Variants) -> dict[View, NDArray[np.float32]]:
    """The functionals of every variant, computed once and kept beside the frames."""
    paths = {view: variants.folder / f"{view}-{VERSION}.npy" for view in VIEWS}
    if not all(path.is_file() for path in paths.values()):
        rows = [
            _computed([variants.get(i, v) for v in range(variants.count)]) for i in range(len(variants.edges))
        ]
        for view, path in paths.items():
            with whole(path) as part:
                np.save(part, np.stack([row[view] for row in rows]))
    return {view: np.load(path, mmap_mode="r") for view, path in paths.items()}


@torch.inference_mode()
def _computed(frames: Sequence[NDArray[np.float32]]) -> dict[View, NDArray[np.float32]]:
    examples = [Example(str(n), speech=x) for n, x in enumerate(frames)]
    batch = collate(examples, Dimensions(classes=len(KINDS), speech=frames[0].shape[1]))
    clips = spectrum(batch.speech, batch.speech_lengths)
    return {view: compute(clips).numpy() for view, compute in VIEWS.items()}


def selected(
    values: Sequence[Functionals], views: Sequence[View], rows: NDArray[np.int64]
) -> NDArray[np.float32]:
    """(rows, variants, n): the views of some items side by side, all their variants one after another."""
    parts = [np.concatenate([one[view][rows] for view in views], 2) for one in values]
    return np.concatenate(parts, 1)


def fit_judge(
    net: FunctionalsClassifier,
    labels: NDArray[np.int64],
    spoken: NDArray[np.float32],
    sounds: NDArray[np.float32],
    config: JudgesConfig,
    targets: TargetsConfig,
    seed: int,
) -> None:
    """Train ``net`` in place on ``spoken (clips, variants, n)`` and its labels, and on ``sounds (m, n)``."""
    flat = spoken.reshape(-1, spoken.shape[2])
    net.standardise(torch.from_numpy(flat.mean(0)), torch.from_numpy(flat.std(0) + 1e-3))
    training = TrainingConfig(
        epochs=config.epochs,
        batch=config.batch,
        rate=config.rate,
        weight_decay=config.decay,
        warmup=0.0,
        clip=0.0,
        standardise=False,
        precision="fp32",
    )
    system = _Training(net, head_start(labels, targets), targets)
    fit(system, _Drawn(labels, spoken, sounds, config.sounds), None, training, seed=seed)
    net.cpu().eval()


class _Training(System):
    """One classifier with the loss of what is known of each clip."""

    prior: Tensor
    """(K,): added to the logits while they are learned."""

    def __init__(self, net: FunctionalsClassifier, prior: Tensor, targets: TargetsConfig) -> None:
        super().__init__(SystemConfig(), Dimensions(classes=len(KINDS), speech=len(net.mean)))
        self.net, self.targets = net, targets
        self.register_buffer("prior", prior)

    def forward(self, batch: Batch, attention: bool = False) -> Output:  # noqa: ARG002
        return Output(self.net(batch.speech[:, 0]))

    def terms(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        return {"fused": loss(output.logits + self.prior, batch.labels, self.targets).mean()}


class _Drawn(Dataset):
    """The clips, one variant of each, and ``count`` of the sounds: another draw in every epoch."""

    def __init__(
        self,
        labels: NDArray[np.int64],
        spoken: NDArray[np.float32],
        sounds: NDArray[np.float32],
        count: int,
    ) -> None:
        every = [*labels.tolist(), *[KINDS.index("none")] * count]
        examples = [Example(str(n), label=label) for n, label in enumerate(every)]
        super().__init__(examples, Dimensions(classes=len(KINDS), speech=spoken.shape[2]))
        self.spoken, self.sounds = spoken, sounds

    def batch(self, indices: NDArray[np.int64]) -> Batch:
        return collate(
            [replace(self.examples[i], speech=self._draw(i)[None]) for i in indices], self.dimensions
        )

    def _draw(self, index: int) -> NDArray[np.float32]:
        """(n,): from torch's stream, which the loop seeds for each epoch."""
        choices = self.spoken[index] if index < len(self.spoken) else self.sounds
        row: NDArray[np.float32] = choices[int(torch.randint(len(choices), ()))]
        return row


def fit_distance(net: SpeechDistance, spoken: NDArray[np.float32], seed: int) -> None:
    """Learn the distance from all speech, from ``spoken (clips, variants, n)``, all views of it."""
    flat = spoken.reshape(-1, spoken.shape[2])
    some = np.random.default_rng([seed, 23]).permutation(len(flat))[:MOST]
    net.learn(torch.from_numpy(flat[np.sort(some)]))
