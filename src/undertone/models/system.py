"""What every system is: a network from a batch to logits, with its loss terms by name.

A system is one or several *members* with disjoint parameters. Most have one. ``multilevel`` and
``score`` have several, trained in one pass over the data but independent in effect: the loop clips
each member's gradient alone and keeps each member's own best epoch; afterwards ``fit_combination``
sees the members' validation posteriors, and only those, to weight them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from undertone.config import Config
from undertone.models.batch import IGNORE, Batch, Dimensions

__all__ = ["Output", "System", "SystemConfig", "cross_entropy"]


class SystemConfig(Config):
    """What all systems can be told."""

    modality_dropout: float = 0.0
    """Share of training utterances that lose one modality (which one: even odds)."""


@dataclass
class Output:
    """What a forward returns: the logits, and named intermediates for losses, plots and tests."""

    logits: Tensor
    """(B, C), or (B, U, C) at dialogue level: the fused perspective."""
    speech: Tensor | None = None
    """Logits of the speech branch alone, where the system has one."""
    text: Tensor | None = None
    """Logits of the text branch alone."""
    members: dict[str, Tensor] = field(default_factory=dict)
    """Logits of each member, for systems of several."""
    vectors: dict[str, Tensor] = field(default_factory=dict)
    """Pooled vectors: ``fused`` (B, D) for the embedding map, and others by name."""
    attention: dict[str, Tensor] = field(default_factory=dict)
    """When asked for: ``word`` / ``frame`` / ``token`` weights (B, S | T | L), each summing to 1."""
    extra: dict[str, Tensor] = field(default_factory=dict)
    """What the system's own loss terms need."""


class System(nn.Module):
    """Base of all systems. Subclasses define ``__init__(config, dimensions)``, ``forward``, ``terms``."""

    weights: dict[str, float]
    """How much each loss term counts; 0 switches a term off. Set by the subclass from its config."""

    def __init__(self, config: SystemConfig, dimensions: Dimensions) -> None:
        super().__init__()
        self.config = config
        self.dimensions = dimensions
        self.weights = {"fused": 1.0}

    def forward(self, batch: Batch, attention: bool = False) -> Output:
        """Logits and intermediates; ``attention`` asks for the weights too."""
        raise NotImplementedError

    def terms(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        """Each loss term by name, unweighted, a scalar."""
        return {"fused": cross_entropy(output.logits, batch.labels)}

    def members(self) -> dict[str, nn.Module]:
        """Disjoint parts trained independently in effect; names are prefixes of ``Output.members``."""
        return {"": self}

    def fit_combination(self, posteriors: Mapping[str, Tensor], labels: Tensor) -> None:
        """Weight the members from their validation posteriors (n, C); nothing to do for one member."""


def cross_entropy(
    logits: Tensor, labels: Tensor, weight: Tensor | None = None, reduction: str = "mean"
) -> Tensor:
    """Cross-entropy over everything that has a label; 0 (with a gradient of 0) where nothing has."""
    flat, target = logits.reshape(-1, logits.shape[-1]), labels.reshape(-1)
    if not bool((target != IGNORE).any()):
        return flat.sum() * 0.0
    return torch.nn.functional.cross_entropy(
        flat, target, weight=weight, ignore_index=IGNORE, reduction=reduction
    )
