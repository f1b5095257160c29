"""Small systems and data with a planted rule, for the tests of the loop. Also run as a script by some."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from undertone.models.batch import Batch
from undertone.models.example import Dimensions, Example
from undertone.models.system import Output, System, SystemConfig
from undertone.training.dataset import Dataset

DIMENSIONS = Dimensions(classes=3, speech=5, text=4)


class Pooled(nn.Module):
    """Masked means of both modalities to logits."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.inner = nn.Linear(DIMENSIONS.speech + DIMENSIONS.text, 8)
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(8, DIMENSIONS.classes)

    def forward(self, batch: Batch) -> Tensor:
        return self.out(self.dropout(self.inner(vectors(batch)).tanh()))


def vectors(batch: Batch) -> Tensor:
    speech = (batch.speech * batch.speech_mask[..., None]).sum(1) / batch.speech_lengths.clamp(min=1)[:, None]
    text = (batch.text * batch.text_mask[..., None]).sum(1) / batch.text_lengths.clamp(min=1)[:, None]
    return torch.cat([speech, text], -1)


class Tiny(System):
    """One member; a mean, a sum and a gathered term, as the real systems have."""

    def __init__(self, dropout: float = 0.0, config: SystemConfig | None = None) -> None:
        super().__init__(config or SystemConfig(), DIMENSIONS)
        self.pooled = Pooled(dropout)
        self.temperature = nn.Parameter(torch.zeros(()))
        self.weights = {"fused": 1.0, "summed": 0.01, "contrast": 0.1}
        self.reductions = {"summed": "sum", "contrast": "gathered"}

    def forward(self, batch: Batch, attention: bool = False) -> Output:
        logits = self.pooled(batch)
        return Output(logits, vectors={"fused": logits})

    def terms(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        everyone = self.gather(output.logits)
        likeness = everyone @ everyone.T * self.temperature.exp()
        contrast = nn.functional.cross_entropy(likeness, torch.arange(len(everyone)))
        return super().terms(output, batch) | {
            "summed": output.logits.square().sum(),
            "contrast": contrast,
        }


class Pair(System):
    """Two members that share nothing."""

    def __init__(self, first: Pooled, second: Pooled) -> None:
        super().__init__(SystemConfig(), DIMENSIONS)
        self.first, self.second = first, second
        self.weights = {"first": 1.0, "second": 1.0}
        self.register_buffer("mix", torch.tensor([0.5, 0.5]))

    def forward(self, batch: Batch, attention: bool = False) -> Output:
        both = {"first": self.first(batch), "second": self.second(batch)}
        mixed = self.mix[0] * both["first"].softmax(-1) + self.mix[1] * both["second"].softmax(-1)
        return Output(mixed.log(), members=both)

    def terms(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        return {name: self.criterion(logits, batch.labels) for name, logits in output.members.items()}

    def members(self) -> dict[str, nn.Module]:
        return {"first": self.first, "second": self.second}

    def fit_combination(self, posteriors, labels) -> None:  # type: ignore[no-untyped-def]
        self.mix.copy_(torch.tensor([0.9, 0.1]))


def dataset(count: int, seed: int = 0, noise: float = 0.3) -> Dataset:
    """Speech says whether the label is 0, text tells 1 from 2: only both together know it all."""
    random = np.random.default_rng(seed)
    return Dataset([_example(i, random, noise) for i in range(count)], DIMENSIONS)


def _example(index: int, random: np.random.Generator, noise: float) -> Example:
    label = index % 3
    speech = random.normal(0, noise, (random.integers(3, 40), 5)) + 5.0
    text = random.normal(0, noise, (random.integers(1, 9), 4))
    speech[:, 0] += 1.0 if label == 0 else -1.0
    text[:, 1] += 1.0 if label == 1 else -1.0
    return Example(f"u{index}", speech.astype(np.float32), text.astype(np.float32), label=label)


def recall(labels: np.ndarray, posteriors: np.ndarray) -> float:
    """Mean of the classes' recalls."""
    right = posteriors.argmax(-1) == labels
    return float(np.mean([right[labels == c].mean() for c in np.unique(labels)]))
