"""Training the classifiers of pooled frames: seconds each, so that several are averaged."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, PositiveInt
from torch import Tensor

from studies.starter.targets import KINDS, MEANS, TargetsConfig, loss
from undertone.config import Config
from undertone.models.batch import Batch
from undertone.models.example import Dimensions, Example
from undertone.models.kinds import KindClassifier, NoiseShare, SpeechDistance, View
from undertone.models.system import Output, System, SystemConfig
from undertone.training.config import TrainingConfig
from undertone.training.dataset import Dataset
from undertone.training.loop import fit

__all__ = ["Draws", "JudgesConfig", "fit_distance", "fit_judge", "fit_noise", "shares"]

MOST = 12_000
"""Regions, at most, from which the distance from speech is learned."""


class Draws(Config):
    """What of all draws is no recording as it is, in shares."""

    varied: float = Field(0.1, ge=0.0, lt=1.0)
    """Variants of every sort."""
    noisy: float = Field(0.0, ge=0.0, lt=1.0)
    """In noise alone."""
    voices: float = Field(0.0, ge=0.0, lt=1.0)
    """With voices in the background."""

    @property
    def each(self) -> tuple[float, ...]:
        """By sort: as recorded, varied, in noise, among voices."""
        return 1 - self.varied - self.noisy - self.voices, self.varied, self.noisy, self.voices


class JudgesConfig(Config):
    """The classifiers, and how they are trained."""

    views: tuple[View, ...] = ("upper", "upper", "all", "linear")
    """What each classifier gets; a view that stands twice counts twice."""
    noise_views: tuple[View, ...] = ("upper", "all")
    """And those that answer as far as there is noise."""
    networks: PositiveInt = 2
    """Of each, from other seeds; the log posteriors of all are averaged."""
    hidden: PositiveInt = 256
    dropout: float = Field(0.4, ge=0.0, lt=0.9)
    axes: PositiveInt = 64
    """Of the distance from all speech."""
    steps: PositiveInt = 800
    batch: PositiveInt = 128
    rate: float = Field(1e-3, gt=0.0)
    decay: float = Field(0.3, ge=0.0)
    draws: Draws = Draws()
    noise_draws: Draws = Draws(varied=0.1, noisy=0.45, voices=0.1)
    """Of those that answer in noise."""
    read: float = Field(0.06, ge=0.0, lt=1.0)
    """Weight of read speech (TIMIT) beside that of one class of a corpus: 0.06 makes 0.4 % of all draws."""
    sounds: float = Field(0.05, ge=0.0, lt=1.0)
    """Share of sounds that nobody speaks."""


def shares(
    corpora: NDArray[np.str_],
    kinds: NDArray[np.int64],
    sorts: NDArray[np.int64],
    draws: Draws,
    read: float = 1.0,
) -> NDArray[np.float64]:
    """(regions,): how often each is drawn. Every corpus counts the same, and in it every class; what is of no
    class counts as much as its share of the corpus. ``sorts``: places in ``draws.each``; ``read``: the weight
    of read speech."""
    classes = np.array(MEANS)[kinds]
    share = np.zeros(len(kinds))
    for corpus in np.unique(corpora):
        for sort, weight in enumerate(draws.each):
            inside = (corpora == corpus) & (sorts == sort)
            other = (classes < 0) & inside
            weight *= read if corpus == "timit" else 1.0
            for label in range(4):
                own = inside & (classes == label)
                share[own] = weight / max(1, own.sum()) / 4
            share[other] = weight / max(1, inside.sum())
    drawn: NDArray[np.float64] = share / share.sum()
    return drawn


def fit_judge(
    net: KindClassifier,
    rows: NDArray[np.float32],
    kinds: NDArray[np.int64],
    drawn: NDArray[np.float64],
    config: JudgesConfig,
    targets: TargetsConfig,
    seed: int,
) -> None:
    """Train ``net`` in place on pooled frames ``(regions, n)``, each as often as ``drawn`` says."""
    net.standardise(*_moments(rows, drawn))
    training = TrainingConfig(
        epochs=1,
        batch=config.batch,
        rate=config.rate,
        weight_decay=config.decay,
        averaging=8.0,
        standardise=False,
        precision="fp32",
    )
    torch.manual_seed(seed)
    order = np.random.default_rng([seed, 5]).choice(len(rows), config.steps * config.batch, p=drawn)
    fit(_Training(net, rows.shape[1], targets), _Drawn(rows, kinds, order), None, training, seed=seed)
    net.cpu().eval()


def _moments(rows: NDArray[np.float32], drawn: NDArray[np.float64]) -> tuple[Tensor, Tensor]:
    mean = drawn @ rows
    deviation = np.sqrt(np.maximum(drawn @ np.square(rows) - np.square(mean), 0.0)) + 1e-3
    return torch.from_numpy(mean).float(), torch.from_numpy(deviation).float()


class _Training(System):
    """One classifier with the loss of kinds and classes."""

    def __init__(self, net: KindClassifier, width: int, targets: TargetsConfig) -> None:
        super().__init__(SystemConfig(), Dimensions(classes=len(KINDS), speech=width))
        self.net, self.targets = net, targets

    def forward(self, batch: Batch, attention: bool = False) -> Output:  # noqa: ARG002
        return Output(self.net(batch.speech[:, 0]))

    def terms(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        return {"fused": loss(output.logits, batch.labels, self.targets).mean()}


class _Drawn(Dataset):
    """Regions in an order drawn beforehand."""

    def __init__(self, rows: NDArray[np.float32], kinds: NDArray[np.int64], order: NDArray[np.int64]) -> None:
        examples = [Example(str(n), label=int(kinds[i])) for n, i in enumerate(order)]
        super().__init__(examples, Dimensions(classes=len(KINDS), speech=rows.shape[1]))
        self.rows, self.kinds, self.order = rows, kinds, order

    def batch(self, indices: NDArray[np.int64]) -> Batch:
        rows = self.order[indices]
        count = len(rows)
        none, speech = torch.zeros(count, dtype=torch.long), torch.from_numpy(self.rows[rows])[:, None]
        return Batch(
            ids=tuple(map(str, indices)),
            speech=speech,
            speech_lengths=torch.ones_like(none),
            text=torch.zeros(count, 1, 0),
            text_lengths=none,
            segments={},
            token_word=none[:, None] - 1,
            labels=torch.from_numpy(self.kinds[rows]),
            present=torch.tensor([[True, False]]).expand(count, 2),
        )


def fit_noise(
    net: NoiseShare, rows: NDArray[np.float32], sorts: NDArray[np.int64], drawn: NDArray[np.float64]
) -> None:
    """Learn which pooled frames ``(regions, n)`` are of speech in noise or among voices."""
    noisy = torch.from_numpy((sorts > 1).astype(np.float32))
    net.learn(torch.from_numpy(rows), noisy, torch.from_numpy(drawn).float())


def fit_distance(net: SpeechDistance, rows: NDArray[np.float32], seed: int) -> None:
    """Learn the distance from all speech, from pooled frames ``(regions, n)``."""
    some = np.random.default_rng([seed, 23]).permutation(len(rows))[:MOST]
    net.learn(torch.from_numpy(rows[np.sort(some)]))
