"""What the speech side learns: nine kinds, four classes, and what a network pays for missing them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from undertone.config import Config
from undertone.models.compact.classifiers import NONE, OTHER, class_scores

if TYPE_CHECKING:
    from studies.starter.clips import Spoken

__all__ = [
    "CLASSES",
    "KINDS",
    "MEANS",
    "Targets",
    "TargetsConfig",
    "head_start",
    "kinds_of",
    "loss",
    "targets",
]

CLASSES = ("angry", "happy", "sad", "neutral")
KINDS = (*CLASSES, "calm", "fearful", "disgusted", "surprised", "none")
"""What the speech side tells apart: RAVDESS' eight emotions, and what is no emotional speech."""
MEANS = (0, 1, 2, 3, 3, OTHER, OTHER, OTHER, NONE)
"""The class of each kind."""


class TargetsConfig(Config):
    """What counts how much."""

    smoothing: float = Field(0.05, ge=0.0, lt=1.0)
    """Share of each target that is dealt out to the other kinds."""
    coarse: float = Field(1.2, gt=0.0)
    """How much a clip counts of which only the class is known (EmoDB, read speech)."""
    fine: float = Field(0.5, ge=0.0)
    """How much the kind counts in a clip of which it is known, beside the class' 0.7."""
    level: float = Field(1.0, ge=0.0, le=1.0)
    """How far the classes are put on a level: at 1 no class is likelier for being common in the corpora."""


@dataclass(frozen=True)
class Targets:
    """The clips that a part learns from, then all the sounds that nobody speaks."""

    kinds: NDArray[np.int64]
    """(n,): index in KINDS, -1 where only the class is known."""
    classes: NDArray[np.int64]
    """(n,): index in CLASSES, -1 where it is of none."""
    rows: NDArray[np.int64]
    """(clips,): where each of the clips stands among all that there are."""

    @property
    def clips(self) -> NDArray[np.int64]:
        return np.arange(len(self.rows))

    @property
    def sounds(self) -> NDArray[np.int64]:
        return np.arange(len(self.rows), len(self.kinds))


def kinds_of(clip: Spoken) -> tuple[int, int]:
    """Kind and class of a clip; only RAVDESS names kinds."""
    kind = KINDS.index(clip.label)
    return (kind if clip.corpus == "ravdess" else -1), max(-1, MEANS[kind])


def targets(clips: Sequence[Spoken], chosen: Sequence[int], sounds: int) -> Targets:
    """Of the chosen clips and so many sounds."""
    labels = [kinds_of(clips[i]) for i in chosen] + [(KINDS.index("none"), -1)] * sounds
    kinds, classes = np.array(labels).T
    return Targets(kinds, classes, np.array(chosen))


def head_start(learned: Targets, config: TargetsConfig) -> Tensor:
    """(K,): what each kind is given while it is learned, because its class is common among the clips.

    Taken away afterwards, it leaves scores that count all classes as equally likely beforehand
    (logit adjustment, Menon et al. 2021).
    """
    known = learned.classes[learned.classes >= 0]
    common = np.bincount(known, minlength=len(CLASSES)).clip(min=1).astype(np.float64)
    gift = np.log(common / common.mean()) * config.level
    return torch.tensor([gift[mean] if mean >= 0 else 0.0 for mean in MEANS], dtype=torch.float32)


def loss(scores: Tensor, kinds: Tensor, classes: Tensor, config: TargetsConfig) -> Tensor:
    """(B,): the loss of each clip by what is known of it."""
    known, classed = kinds >= 0, classes >= 0
    by_kind = F.cross_entropy(scores, kinds.clamp(min=0), reduction="none", label_smoothing=config.smoothing)
    posterior = class_scores(scores, MEANS)
    picked = -posterior.gather(1, classes.clamp(min=0)[:, None])[:, 0]
    by_class = (1 - config.smoothing) * picked - config.smoothing * posterior.mean(1)
    both = config.fine * by_kind + 0.7 * by_class
    return torch.where(known & classed, both, torch.where(known, by_kind, config.coarse * by_class))
