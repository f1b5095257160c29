"""Training the text side on GoEmotions' training sentences, as written and as a recogniser writes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, PositiveInt
from torch import Tensor
from torch.nn import functional as F

from studies.starter.sentences import Sentence, plain
from studies.starter.targets import CLASSES
from undertone.config import Config
from undertone.evaluation.metrics import macro_f1
from undertone.features.subword import Subword
from undertone.models.batch import Batch, collate
from undertone.models.compact.system import TextNet
from undertone.models.example import IGNORE, Dimensions, Example
from undertone.models.system import Output, System, SystemConfig
from undertone.training.config import TrainingConfig
from undertone.training.dataset import Dataset
from undertone.training.loop import Fitted, fit
from undertone.training.objective import classification_loss

__all__ = ["EMOTIONS", "TextTraining", "fit_text", "spellings", "split"]

EMOTIONS = 28
"""Labels of GoEmotions, which help the text side learn."""
UNKNOWN = 1
RARE = 0.25
"""The power of a class' rarity that is its weight. With the root (0.5), rare classes were predicted too often
for a good macro-F1 on the validation sentences."""
LONGEST = 60
"""Pieces of a sentence that are used; Reddit's sentences have 40 at most, but for a few."""


class TextTraining(Config):
    """How the text side is trained."""

    pieces: PositiveInt = 8000
    """Subword pieces of the vocabulary."""
    width: PositiveInt = 128
    """Of the embeddings and of the recurrent part."""
    networks: PositiveInt = 3
    """Trained one after another from other seeds; their log posteriors are averaged."""
    dropout: float = Field(0.3, ge=0.0, lt=0.9)
    epochs: PositiveInt = 3
    batch: PositiveInt = 128
    rate: float = Field(3e-3, gt=0.0)
    decay: float = Field(0.05, ge=0.0)
    plainly: float = Field(0.5, ge=0.0, le=1.0)
    """Share of sentences that are plain: lower case, no punctuation, no emoji."""
    lost: float = Field(0.06, ge=0.0, lt=1.0)
    """Share of pieces that are replaced by the unknown piece."""
    smoothing: float = Field(0.05, ge=0.0, lt=1.0)
    emotions: float = Field(7.0, ge=0.0)
    """Weight of the 28 emotions beside the four classes."""
    averaging: float = Field(8.0, ge=0.0)
    """As ``TrainingConfig.averaging``."""
    validation: PositiveInt = 3000
    """Training sentences that are kept for validation: they choose the epoch and the temperature."""


def split(sentences: Sequence[Sentence], count: int, seed: int) -> tuple[list[Sentence], list[Sentence]]:
    """What is trained on, and ``count`` sentences for validation."""
    order = np.random.default_rng([seed, 11]).permutation(len(sentences))
    return [sentences[i] for i in sorted(order[count:])], [sentences[i] for i in sorted(order[:count])]


def spellings(sentences: Sequence[Sentence]) -> list[str]:
    """Every sentence as it is written, then every one plain."""
    texts = [sentence.text for sentence in sentences]
    return [*texts, *map(plain, texts)]


def fit_text(
    net: TextNet,
    sentences: Sequence[Sentence],
    validation: Sequence[Sentence],
    pieces: Subword,
    sizes: Dimensions,
    config: TextTraining,
    seed: int,
    state: Path,
) -> Fitted:
    """Train ``net`` in place; it ends with the averaged weights of its best epoch by macro-F1.

    The validation sentences must all have a class; they are scored in both spellings.
    """
    training = TrainingConfig(
        epochs=config.epochs,
        patience=config.epochs,
        batch=config.batch,
        rate=config.rate,
        weight_decay=config.decay,
        averaging=config.averaging,
        standardise=False,
        precision="fp32",
    )
    kinds = {sentence.emotions: sentence.label for sentence in sentences}
    train = _Sentences(sentences, list(kinds), pieces, sizes, config)
    classes = [IGNORE if label is None else CLASSES.index(label) for label in kinds.values()]
    counts = np.bincount(np.array(classes)[train.targets] + 1, minlength=len(CLASSES) + 1)[1:]
    system = _Training(net, sizes, _many_hot(list(kinds)), torch.tensor(classes), _weights(counts), config)
    labels = [CLASSES.index(str(sentence.label)) for sentence in validation] * 2
    examples = [
        Example(str(n), text=_ids(pieces, text), label=label)
        for n, (text, label) in enumerate(zip(spellings(validation), labels, strict=True))
    ]
    fitted = fit(system, train, Dataset(examples, sizes), training, score=_macro_f1, seed=seed, state=state)
    net.cpu().eval()
    return fitted


class _Training(System):
    """The text network with its loss. A label is one of the sets of emotions that training sentences have."""

    many_hot: Tensor
    """(sets, 28)"""
    classes: Tensor
    """(sets,): the class of each, IGNORE where it has none."""
    class_weights: Tensor

    def __init__(
        self,
        net: TextNet,
        sizes: Dimensions,
        many_hot: Tensor,
        classes: Tensor,
        class_weights: Tensor,
        config: TextTraining,
    ) -> None:
        super().__init__(SystemConfig(), sizes)
        self.net, self.smoothing = net, config.smoothing
        self.weights = {"classes": 1.0, "emotions": config.emotions}
        self.register_buffer("many_hot", many_hot)
        self.register_buffer("classes", classes)
        self.register_buffer("class_weights", class_weights)

    def forward(self, batch: Batch, attention: bool = False) -> Output:  # noqa: ARG002
        logits = self.net(batch)
        return Output(logits[:, : len(CLASSES)], extra={"emotions": logits[:, len(CLASSES) :]})

    def terms(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        classes, emotions = self.classes[batch.labels], self.many_hot[batch.labels]
        return {
            "classes": classification_loss(
                output.logits, classes, self.class_weights, smoothing=self.smoothing
            ),
            "emotions": F.binary_cross_entropy_with_logits(output.extra["emotions"], emotions),
        }


class _Sentences(Dataset):
    """Sentences for training: one of the two spellings, some pieces unknown, drawn anew in every epoch."""

    def __init__(
        self,
        sentences: Sequence[Sentence],
        kinds: Sequence[tuple[int, ...]],
        pieces: Subword,
        sizes: Dimensions,
        config: TextTraining,
    ) -> None:
        label = {emotions: index for index, emotions in enumerate(kinds)}
        examples = [Example(s.id, text=_ids(pieces, s.text), label=label[s.emotions]) for s in sentences]
        super().__init__(examples, sizes)
        self.plain = [_ids(pieces, plain(s.text)) for s in sentences]
        self.config = config

    def batch(self, indices: NDArray[np.int64]) -> Batch:
        rng = np.random.default_rng(int(torch.randint(1 << 31, ())))  # the loop seeds torch for each epoch
        rows = []
        for i in indices:
            written = self.examples[i]
            ids = self.plain[i] if rng.random() < self.config.plainly else written.text
            assert ids is not None
            rows.append(
                replace(written, text=np.where(rng.random(len(ids)) < self.config.lost, UNKNOWN, ids))
            )
        return collate(rows, self.dimensions)


def _ids(pieces: Subword, text: str) -> NDArray[np.int64]:
    """(L,): at least one piece."""
    ids = pieces.encode(text)[0][:LONGEST]
    return ids if len(ids) else np.array([UNKNOWN])


def _many_hot(kinds: Sequence[tuple[int, ...]]) -> Tensor:
    rows = torch.zeros(len(kinds), EMOTIONS)
    for row, emotions in zip(rows, kinds, strict=True):
        row[list(emotions)] = 1.0
    return rows


def _weights(counts: NDArray[np.int64]) -> Tensor:
    """(C,): rare classes count more; 1 on average over what is counted."""
    weight = np.maximum(counts, 1) ** -RARE
    return torch.tensor(weight * counts.sum() / (weight * counts).sum(), dtype=torch.float32)


def _macro_f1(labels: NDArray[np.int64], posteriors: NDArray[Any]) -> float:
    return macro_f1(labels, posteriors.argmax(-1), len(CLASSES))
