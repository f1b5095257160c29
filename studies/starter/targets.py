"""What the speech side learns: nine kinds, four classes, and the loss."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from undertone.config import Config
from undertone.models.kinds import NONE, OTHER, class_scores

if TYPE_CHECKING:
    from studies.starter.clips import Spoken

__all__ = ["CLASSES", "KINDS", "MEANS", "TargetsConfig", "class_of", "kind_of", "loss"]

CLASSES = ("angry", "happy", "sad", "neutral")
KINDS = (*CLASSES, "calm", "fearful", "disgusted", "surprised", "none")
"""Of the speech side: RAVDESS' eight emotions, and no emotional speech."""
MEANS = (0, 1, 2, 3, 3, OTHER, OTHER, OTHER, NONE)
"""The class of each kind."""


class TargetsConfig(Config):
    """Weights of the loss."""

    smoothing: float = Field(0.1, ge=0.0, lt=1.0)
    """Share of each target spread evenly."""
    kind: float = Field(0.5, ge=0.0)
    """Weight of a clip's kind beside its class."""


def kind_of(clip: Spoken) -> int:
    """The index of a clip's kind."""
    return KINDS.index(clip.label)


def class_of(clip: Spoken) -> int:
    """The index of a clip's class, -1 where it is none of them."""
    return max(-1, MEANS[kind_of(clip)])


def loss(scores: Tensor, kinds: Tensor, config: TargetsConfig) -> Tensor:
    """(B,): the loss of each clip by its kind, and by its class where it has one."""
    classes = torch.tensor(MEANS, device=kinds.device)[kinds]
    by_kind = F.cross_entropy(scores, kinds, reduction="none", label_smoothing=config.smoothing)
    posterior = class_scores(scores, MEANS)
    picked = -posterior.gather(1, classes.clamp(min=0)[:, None])[:, 0]
    by_class = (1 - config.smoothing) * picked - config.smoothing * posterior.mean(1)
    return config.kind * by_kind + torch.where(classes >= 0, by_class, 0.5 * by_kind)
