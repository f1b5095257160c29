"""Training the words: MiniLM's upper blocks and a head, on sentences as written and as a recogniser writes.

Two models come of it: ``written``, of Reddit's sentences alone, and ``spoken``, which goes on from there with
turns of dialogues among them, every class as often, and whose weights are then averaged with those before:
that is better on both than either.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, PositiveInt

from studies.starter.sentences import Sentence, plain
from studies.starter.targets import CLASSES
from undertone import pretrained
from undertone.config import Config
from undertone.evaluation.metrics import macro_f1
from undertone.features.subword import Subword
from undertone.features.text import token_limit
from undertone.models.batch import Batch, collate
from undertone.models.example import Dimensions, Example
from undertone.models.table import build
from undertone.models.towers import TextTower, TuneConfig
from undertone.models.tuned import Tuned
from undertone.training.config import TrainingConfig
from undertone.training.dataset import Dataset
from undertone.training.inference import infer
from undertone.training.loop import Fitted, fit

__all__ = ["TextTraining", "evenly", "fit_text", "network", "scores", "spellings", "split", "tokenizer"]


class TextTraining(Config):
    """How the words are trained."""

    encoder: str = "minilm-l6"
    """The network whose upper blocks learn."""
    top: PositiveInt = 3
    """How many of them."""
    width: PositiveInt = 256
    """Of the head."""
    dropout: float = Field(0.2, ge=0.0, lt=0.9)
    """In the head."""
    epochs: PositiveInt = 2
    """Over the written sentences."""
    further: PositiveInt = 1
    """Over written and spoken ones, from there."""
    turns: PositiveInt = 2000
    """Turns of dialogue among them, of each class; of a class with fewer they come several times."""
    batch: PositiveInt = 32
    rate: float = Field(5e-4, gt=0.0)
    """Of the head."""
    encoder_rate: float = Field(2e-4, gt=0.0)
    """Of the uppermost block."""
    plainly: float = Field(0.4, ge=0.0, le=1.0)
    """Share of sentences that are plain: lower case, no punctuation, no emoji."""
    smoothing: float = Field(0.05, ge=0.0, lt=1.0)
    level: float = Field(0.3, ge=0.0, le=1.0)
    """How far classes are balanced afterwards: at 1 none is likelier for being common among the sentences."""
    spoken_level: float = Field(0.15, ge=0.0, le=1.0)
    """The same for the model of spoken words too, whose turns are balanced already."""
    speech_level: float = Field(1.0, ge=0.0, le=1.0)
    """The same for words that were spoken, by either model: at 1 no class is likelier beforehand."""
    validation: PositiveInt = 2200
    """Written sentences that are kept for validation: they choose the epoch and the temperature."""
    seed: int = 0


def split(sentences: Sequence[Sentence], count: int, seed: int) -> tuple[list[Sentence], list[Sentence]]:
    """What is trained on, and ``count`` sentences for validation."""
    order = np.random.default_rng([seed, 11]).permutation(len(sentences))
    return [sentences[i] for i in sorted(order[count:])], [sentences[i] for i in sorted(order[:count])]


def spellings(sentences: Sequence[Sentence]) -> list[str]:
    """Every sentence as it is written, then every one plain."""
    texts = [sentence.text for sentence in sentences]
    return [*texts, *(plain(text) or text for text in texts)]


def tokenizer(config: TextTraining) -> Subword:
    """The network's own."""
    source = pretrained.load_text(config.encoder)
    return Subword.of(source.processor, token_limit(source.processor, source.settings))


def network(config: TextTraining) -> Tuned:
    """A ``text`` system over the encoder, before it is trained."""
    source = pretrained.load_text(config.encoder)
    sizes = Dimensions(classes=len(CLASSES), text=int(source.settings.hidden_size))
    settings = {"width": config.width, "pooling": "mean", "dropout": config.dropout}
    tower = TextTower(source.model, TuneConfig(tune="top-k", top=config.top))
    return Tuned(build("text", settings, sizes), text=tower)


def fit_text(
    system: Tuned,
    sentences: Sequence[Sentence],
    validation: Sequence[Sentence],
    pieces: Subword,
    config: TextTraining,
    epochs: int,
    state: Path,
) -> Fitted:
    """Train ``system`` in place; it ends with its best epoch by macro-F1 on both spellings of ``validation``.

    All sentences have a class.
    """
    training = TrainingConfig(
        epochs=epochs,
        patience=epochs,
        batch=config.batch,
        rate=config.rate,
        encoder_rate=config.encoder_rate,
        layer_decay=0.85,
        smoothing=config.smoothing,
        standardise=False,
        precision="fp32",
    )
    train = _Sentences(sentences, pieces, system.layout, config.plainly)
    ready = _both_spellings(system, validation, pieces)
    fitted = fit(system, train, ready, training, score=_macro_f1, seed=config.seed, state=state)
    system.cpu().eval()
    return fitted


def scores(system: Tuned, sentences: Sequence[Sentence], pieces: Subword) -> NDArray[np.float32]:
    """(2, n, C): the logits of sentences that have a class, as written and plain."""
    outputs = infer(system, _both_spellings(system, sentences, pieces))
    return outputs.logits.reshape(2, len(sentences), -1)


def evenly(sentences: Sequence[Sentence], each: int, seed: int) -> list[Sentence]:
    """So many of every class, drawn; of a class with fewer all of them again and again."""
    rng = np.random.default_rng([seed, 29])
    drawn: list[Sentence] = []
    for label in CLASSES:
        own = [sentence for sentence in sentences if sentence.label == label]
        rounds = -(-each // len(own)) if own else 0
        order = [i for _ in range(rounds) for i in rng.permutation(len(own))]
        drawn += [own[i] for i in order[:each]]
    return drawn


def _both_spellings(system: Tuned, sentences: Sequence[Sentence], pieces: Subword) -> Dataset:
    texts = zip(spellings(sentences), [*sentences, *sentences], strict=True)
    examples = [_example(pieces, str(n), text, one) for n, (text, one) in enumerate(texts)]
    return Dataset(examples, system.layout)


class _Sentences(Dataset):
    """Sentences for training: one of the two spellings, drawn anew in every epoch."""

    def __init__(
        self, sentences: Sequence[Sentence], pieces: Subword, sizes: Dimensions, plainly: float
    ) -> None:
        super().__init__([_example(pieces, f"{n}-{s.id}", s.text, s) for n, s in enumerate(sentences)], sizes)
        self.plain = [pieces.encode(plain(s.text) or s.text)[0] for s in sentences]
        self.plainly = plainly

    def batch(self, indices: NDArray[np.int64]) -> Batch:
        share = torch.rand(len(indices))  # the loop seeds torch for each epoch
        rows = [
            replace(self.examples[i], text=self.plain[i]) if one < self.plainly else self.examples[i]
            for i, one in zip(indices, share.tolist(), strict=True)
        ]
        return collate(rows, self.dimensions)


def _example(pieces: Subword, name: str, text: str, sentence: Sentence) -> Example:
    return Example(name, text=pieces.encode(text)[0], label=CLASSES.index(str(sentence.label)))


def _macro_f1(labels: NDArray[np.int64], posteriors: NDArray[Any]) -> float:
    return macro_f1(labels, posteriors.argmax(-1), len(CLASSES))
