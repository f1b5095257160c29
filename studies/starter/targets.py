"""What the speech side learns: nine kinds, four classes, and the loss of a clip by what is known of it."""

from __future__ import annotations

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
    "LABELS",
    "MEANS",
    "TargetsConfig",
    "head_start",
    "kinds_of",
    "label_of",
    "loss",
]

CLASSES = ("angry", "happy", "sad", "neutral")
KINDS = (*CLASSES, "calm", "fearful", "disgusted", "surprised", "none")
"""Of the speech side: RAVDESS' eight emotions, and no emotional speech."""
MEANS = (0, 1, 2, 3, 3, OTHER, OTHER, OTHER, NONE)
"""The class of each kind."""
LABELS = (
    *((kind, max(-1, mean)) for kind, mean in enumerate(MEANS)),
    *((-1, label) for label in range(len(CLASSES))),
)
"""All that may be known of a clip: its kind and its class, -1 where it has none or the kind is not known."""


class TargetsConfig(Config):
    """Weights of the loss."""

    smoothing: float = Field(0.05, ge=0.0, lt=1.0)
    """Share of each target spread evenly over all kinds."""
    coarse: float = Field(1.2, gt=0.0)
    """Weight of a clip of which only the class is known (EmoDB, read speech)."""
    fine: float = Field(0.5, ge=0.0)
    """Weight of the kind in a clip of which it is known, beside the class' 0.7."""
    level: float = Field(1.0, ge=0.0, le=1.0)
    """How far classes are balanced: at 1 no class is likelier for being common in the corpora."""


def kinds_of(clip: Spoken) -> tuple[int, int]:
    """Kind and class of a clip; only RAVDESS names kinds."""
    kind = KINDS.index(clip.label)
    return (kind if clip.corpus == "ravdess" else -1), max(-1, MEANS[kind])


def label_of(clip: Spoken) -> int:
    """The index in ``LABELS`` of what is known of a clip."""
    return LABELS.index(kinds_of(clip))


def head_start(labels: NDArray[np.int64], config: TargetsConfig) -> Tensor:
    """(K,): added to each kind's logit in training, for how common its class is among ``labels (n,)``.

    Without it afterwards, the scores take all classes as equally likely beforehand
    (logit adjustment, Menon et al. 2021).
    """
    classes = np.array(LABELS)[labels, 1]
    known = classes[classes >= 0]
    common = np.bincount(known, minlength=len(CLASSES)).clip(min=1).astype(np.float64)
    prior = np.log(common / common.mean()) * config.level
    return torch.tensor([prior[mean] if mean >= 0 else 0.0 for mean in MEANS], dtype=torch.float32)


def loss(scores: Tensor, labels: Tensor, config: TargetsConfig) -> Tensor:
    """(B,): the loss of each clip by what is known of it, ``labels (B,)`` in ``LABELS``."""
    kinds, classes = torch.tensor(LABELS, device=labels.device)[labels].unbind(1)
    known, classed = kinds >= 0, classes >= 0
    by_kind = F.cross_entropy(scores, kinds.clamp(min=0), reduction="none", label_smoothing=config.smoothing)
    posterior = class_scores(scores, MEANS)
    picked = -posterior.gather(1, classes.clamp(min=0)[:, None])[:, 0]
    by_class = (1 - config.smoothing) * picked - config.smoothing * posterior.mean(1)
    both = config.fine * by_kind + 0.7 * by_class
    return torch.where(known & classed, both, torch.where(known, by_kind, config.coarse * by_class))
