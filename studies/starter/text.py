"""Training the text side on GoEmotions' training sentences, as written and as a recogniser writes."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, PositiveInt
from torch import Tensor
from torch.nn import functional as F

from studies.starter.sentences import Sentence, plain
from studies.starter.targets import CLASSES
from undertone.config import Config
from undertone.features.subword import Subword
from undertone.models.batch import Batch, collate
from undertone.models.compact.system import TextNet
from undertone.models.example import Dimensions, Example

__all__ = ["Coded", "TextTraining", "code", "fit", "fit_pieces", "scores", "split"]

log = logging.getLogger(__name__)
UNKNOWN = 1
RARE = 0.25
"""The power of how rare a class is by which it counts more. By the root (0.5), rare classes were named too
often for a good macro-F1 on the validation sentences."""
LONGEST = 60
"""Pieces of a sentence that are learned from; Reddit's sentences have 40 at most, but for a few."""


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
    """Share of sentences seen in lower case without punctuation or emoji."""
    lost: float = Field(0.06, ge=0.0, lt=1.0)
    """Share of pieces that become unknown."""
    smoothing: float = Field(0.05, ge=0.0, lt=1.0)
    emotions: float = Field(7.0, ge=0.0)
    """How much the 28 emotions count beside the four classes."""
    average: float = Field(0.995, ge=0.0, lt=1.0)
    """How slowly the averaged weights follow the trained ones."""
    validation: PositiveInt = 3000
    """Training sentences kept aside to choose the epoch and the temperature by."""


@dataclass(frozen=True)
class Coded:
    """Sentences as pieces, both ways of writing, with what they are to be taken for."""

    written: list[NDArray[np.int64]]
    plain: list[NDArray[np.int64]]
    classes: NDArray[np.int64]
    """(n,): index in CLASSES, -1 for none."""
    emotions: NDArray[np.float32]
    """(n, 28) zeros and ones."""


def split(sentences: Sequence[Sentence], count: int, seed: int) -> tuple[list[Sentence], list[Sentence]]:
    """What is trained on, and ``count`` sentences kept aside."""
    order = np.random.default_rng([seed, 11]).permutation(len(sentences))
    return [sentences[i] for i in sorted(order[count:])], [sentences[i] for i in sorted(order[:count])]


def fit_pieces(sentences: Sequence[Sentence], size: int) -> Subword:
    """The vocabulary of the sentences, as they are and plain."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=size, special_tokens=["[PAD]", "[UNK]"], unk_token="[UNK]", show_progress=False
    )
    texts = [s.text for s in sentences]
    tokenizer.train_from_iterator([*texts, *map(plain, texts)], trainer)
    return Subword(tokenizer)


def code(sentences: Sequence[Sentence], pieces: Subword) -> Coded:
    """Sentences as their pieces."""

    def ids(text: str) -> NDArray[np.int64]:
        found = pieces.encode(text)[0][:LONGEST]
        return found if len(found) else np.array([UNKNOWN])

    emotions = np.zeros((len(sentences), 28), np.float32)
    for row, sentence in zip(emotions, sentences, strict=True):
        row[list(sentence.emotions)] = 1.0
    classes = [CLASSES.index(s.label) if s.label else -1 for s in sentences]
    return Coded(
        [ids(s.text) for s in sentences],
        [ids(plain(s.text)) for s in sentences],
        np.array(classes),
        emotions,
    )


def fit(
    net: TextNet,
    train: Coded,
    validation: Coded,
    dimensions: Dimensions,
    config: TextTraining,
    seed: int,
    tell: Callable[[int, float], None] | None = None,
) -> list[float]:
    """Train ``net`` in place; it ends with the averaged weights of the epoch that validation liked best.

    Returns the validation side's macro-F1 after each epoch, the mean over both ways of writing.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng([seed, 13])
    optimizer = torch.optim.AdamW(net.parameters(), config.rate, weight_decay=config.decay)
    total = config.epochs * -(-len(train.written) // config.batch)
    weight = _weights(train.classes)
    mean = copy.deepcopy(net).eval()
    best, found, done = copy.deepcopy(net.state_dict()), [], 0
    for epoch in range(config.epochs):
        net.train()
        for chosen in _batches(train, config.batch, rng):
            for group in optimizer.param_groups:
                group["lr"] = config.rate * _share(done / total)
            loss = _loss(net, train, chosen, dimensions, config, weight, rng)
            optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
            _follow(mean, net, min(config.average, (1 + done) / (10 + done)))
            done += 1
        found.append(_score(mean, validation, dimensions))
        if tell is not None:
            tell(epoch + 1, found[-1])
        if found[-1] == max(found):
            best = copy.deepcopy(mean.state_dict())
    net.load_state_dict(best)
    net.eval()
    return found


def _share(part: float) -> float:
    if part < 0.1:
        return 0.04 + 0.96 * part / 0.1
    return 0.5 + 0.5 * float(np.cos(np.pi * min(1.0, (part - 0.1) / 0.9)))


def _weights(classes: NDArray[np.int64]) -> Tensor:
    """Rare classes count more; 1 on average."""
    counts = np.bincount(classes[classes >= 0], minlength=len(CLASSES))
    weight = np.maximum(counts, 1) ** -RARE
    return torch.tensor(weight / weight.mean(), dtype=torch.float32)


@torch.no_grad()
def _follow(mean: TextNet, net: TextNet, keep: float) -> None:
    for kept, value in zip(mean.parameters(), net.parameters(), strict=True):
        kept.lerp_(value, 1 - keep)


def _batches(train: Coded, size: int, rng: np.random.Generator) -> list[NDArray[np.int64]]:
    lengths = np.array([len(ids) for ids in train.written])
    order = np.argsort(lengths + rng.normal(0, 3, len(lengths)))
    batches = [order[at : at + size] for at in range(0, len(order), size)]
    return [batches[i] for i in rng.permutation(len(batches))]


def _loss(
    net: TextNet,
    train: Coded,
    chosen: NDArray[np.int64],
    dimensions: Dimensions,
    config: TextTraining,
    weight: Tensor,
    rng: np.random.Generator,
) -> Tensor:
    ids = [(train.plain if rng.random() < config.plainly else train.written)[i] for i in chosen]
    ids = [np.where(rng.random(len(one)) < config.lost, UNKNOWN, one) for one in ids]
    found = net(_batch(ids, dimensions))
    classes = torch.from_numpy(train.classes[chosen])
    known, count = classes >= 0, len(CLASSES)
    fine = F.binary_cross_entropy_with_logits(found[:, count:], torch.from_numpy(train.emotions[chosen]))
    loss = config.emotions * fine
    if bool(known.any()):
        loss = loss + F.cross_entropy(
            found[known, :count], classes[known], weight=weight, label_smoothing=config.smoothing
        )
    return loss


def _batch(ids: Sequence[NDArray[np.int64]], dimensions: Dimensions) -> Batch:
    return collate([Example("", text=one) for one in ids], dimensions)


@torch.inference_mode()
def scores(net: TextNet, ids: Sequence[NDArray[np.int64]], dimensions: Dimensions) -> Tensor:
    """(n, C) class scores of sentences as pieces."""
    order = np.argsort([len(one) for one in ids], kind="stable")
    found = torch.zeros(len(ids), len(CLASSES))
    for at in range(0, len(order), 256):
        chosen = order[at : at + 256]
        found[chosen] = net(_batch([ids[i] for i in chosen], dimensions))[:, : len(CLASSES)]
    return found


def _score(net: TextNet, validation: Coded, dimensions: Dimensions) -> float:
    """Macro-F1 over both ways of writing."""
    from sklearn.metrics import f1_score

    known = validation.classes >= 0
    truth = validation.classes[known]
    both = (validation.written, validation.plain)
    guesses = [scores(net, ids, dimensions).argmax(-1).numpy()[known] for ids in both]
    return float(np.mean([f1_score(truth, guess, average="macro") for guess in guesses]))
