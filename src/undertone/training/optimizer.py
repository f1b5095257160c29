"""The optimizer, its rate at every step, and the bound on each member's gradient."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from undertone.models.system import System
from undertone.training.config import TrainingConfig

__all__ = ["clip_members", "make_optimizer", "rate_at", "set_rate"]


def make_optimizer(system: System, config: TrainingConfig) -> torch.optim.Optimizer:
    """Adam in one fused step; each group of parameters remembers its own peak rate."""
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in system.named_parameters():
        if parameter.requires_grad:
            above = system.layers_above(name)
            rate = config.rate if above is None else config.encoder_rate * config.layer_decay**above
            # AdamW does not decay biases, norms and temperatures; published Adam recipes decay everything
            decays = parameter.ndim > 1 or config.optimizer == "adam"
            groups.setdefault((rate, config.weight_decay if decays else 0.0), []).append(parameter)
    kind = torch.optim.AdamW if config.optimizer == "adamw" else torch.optim.Adam
    return kind(
        [
            {"params": members, "lr": rate, "peak": rate, "weight_decay": decay}
            for (rate, decay), members in groups.items()
        ],
        fused=True,
    )


def rate_at(step: int, total: int, config: TrainingConfig) -> float:
    """The learning rate at a step, as a share of its peak.

    >>> [round(rate_at(s, 10, TrainingConfig(warmup=0.2)), 2) for s in (0, 1, 2, 6, 9)]
    [0.5, 1.0, 1.0, 0.5, 0.04]
    """
    warm = round(config.warmup * total)
    if step < warm:
        return (step + 1) / warm
    if config.schedule == "constant":
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, total - warm)))


def set_rate(optimizer: torch.optim.Optimizer, share: float) -> None:
    """Every group's rate becomes this share of its peak."""
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * share


def clip_members(system: System, largest: float) -> dict[str, Any]:
    """Bound each member's gradient norm alone, so that no member's affects another's, and that of the heads
    of further targets apart from it; returns the norms of the members."""
    norms = {}
    for name, member in system.members().items():
        heads = [p for n, p in member.named_parameters() if "target_heads." in n]
        rest = [p for n, p in member.named_parameters() if "target_heads." not in n]
        nn.utils.clip_grad_norm_(heads, largest or math.inf)
        norms[name] = nn.utils.clip_grad_norm_(rest, largest or math.inf)
    return norms
