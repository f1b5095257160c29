"""The base of every system: a network from a batch to logits, with its loss terms by name.

A system is one or several *members* with disjoint parameters. Most have one. ``multilevel`` and
``score`` have several, trained in one pass over the data but independent in effect: the loop clips
each member's gradient alone and keeps each member's own best epoch; afterwards ``fit_combination``
sees the members' validation posteriors, and only those, to weight them.

A missing modality is legal input for every system, in training and after: ``Batch.present`` decides,
and a missing side's values have no influence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal
from zlib import crc32

import torch
from pydantic import Field
from torch import Tensor, nn

from undertone.config import Config
from undertone.models.batch import Batch
from undertone.models.example import IGNORE, Dimensions
from undertone.models.targets import (
    Target,
    TargetHeads,
    decide,
    inputs,
    soft_cross_entropy,
    target_asides,
    widths,
)
from undertone.types import Tier

__all__ = ["Observer", "Output", "Reduction", "System", "SystemConfig", "cross_entropy", "scored"]


Reduction = Literal["mean", "sum", "gathered"]
"""``mean`` and ``sum`` are over this process' utterances; ``gathered`` is already the loss of all of them,
computed from vectors that went through ``System.gather``."""


class SystemConfig(Config):
    """Settings that all systems have."""

    modality_dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Share of training utterances that lose one modality (which one: even odds), taken by the loop."""
    convolutions: int = Field(default=0, ge=0)
    """Residual convolutions over five frames each, before everything else: for speech features that know
    nothing of their neighbours, as ``acoustic``. None of the published systems has any."""

    @property
    def by_statistics(self) -> bool:
        """Whether the mean and deviation of a clip's frames are all that the system takes of them."""
        return False

    @property
    def targets(self) -> tuple[str, ...]:
        """What of an utterance the loss needs beside the label: ``characters``, ``gender``, ``speaker``."""
        return ()

    @classmethod
    def upgraded(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        """The settings of a model folder of schema 1 such that the system is the one of that time."""
        return dict(values)


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
    """Logits of each member, for systems of several; the names are those of ``System.members()``."""
    vectors: dict[str, Tensor] = field(default_factory=dict)
    """Pooled vectors: ``fused`` (B, D) for the embedding map, and others by name."""
    attention: dict[str, Tensor] = field(default_factory=dict)
    """Where wanted: weights ``frame`` (B, T), ``phone``, ``syllable``, ``word`` (B, S of that tier) and
    ``token`` (B, L), those a system has, each summing to 1 where that modality is present."""
    extra: dict[str, Tensor] = field(default_factory=dict)
    """What the system's own loss terms need."""
    targets: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    """By member: what the heads of targets beside the class give (``targets.TargetHeads``)."""
    mixed: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)
    """By member whose vectors are mixed: the share (B,) of the own one, and which other (B,) has the rest."""
    second: Output | None = None
    """Of a second view of the batch, where the system's loss needs one."""
    batch: Batch | None = None
    """The batch of the head, where encoders in the graph changed the one that came in."""

    def sides(self) -> dict[str, Tensor]:
        """Logits by perspective: ``fused``, and ``speech`` and ``text`` where there is such a branch."""
        named = {"fused": self.logits, "speech": self.speech, "text": self.text}
        return {name: logits for name, logits in named.items() if logits is not None}


class Observer(nn.Module):
    """A part of a system that takes in the training part before any step."""

    def observe(self, batch: Batch) -> None:
        """Take in one batch, its frames standardised."""
        raise NotImplementedError


class System(nn.Module):
    """Base of all systems. Subclasses define ``__init__(config, dimensions)``, ``forward``, ``terms``."""

    sides: tuple[Literal["speech", "text"], ...] = ("speech", "text")
    """The modalities that the system judges by."""
    cost: float = 4.0
    """How long training takes, relative to the other systems, roughly: long jobs are started first."""
    rank: int = 0
    """Without a choice by the user the highest rank is taken; 0 for systems that others are compared with."""
    solutions: int = 0
    """Where a system is solved rather than trained in steps: how many solutions ``solve`` has, each of which
    takes the place of an epoch."""
    demonstrated: bool = True
    """Whether ``undertone demo`` runs it when no systems are named."""
    takes_prompts: bool = False
    """Whether its classes are prompts, set by ``describe``: then other classes may be given at prediction."""
    exportable: bool = True
    """Whether the graph is the same for every clip, so that it can be exported."""

    weights: dict[str, float]
    """How much each loss term counts; 0 switches a term off. Set by the subclass from its config."""
    reductions: dict[str, Reduction]
    """How a term is reduced over the batch, where it is not a mean: training over several processes and
    over accumulated batches scales each kind so that the gradient is that of the whole batch."""
    criterion: Callable[[Tensor, Tensor], Tensor]
    """Mean loss of logits (…, C) against labels: cross-entropy unless the trainer sets class weights
    or focal loss. Terms that are a plain classification loss go through it."""
    soft_criterion: Callable[[Tensor, Tensor], Tensor]
    """As ``criterion``, of logits (n, C) against the fractions of votes (n, C)."""
    target: Target
    """What is learned; the class alone until ``aim``."""
    speech_mean: Tensor
    speech_std: Tensor
    """(Ds,), or (K, 1, Ds), of the training part's frames, 0 and 1 until ``standardise`` sets them. Every
    call sees frames standardised by them, so that a saved model carries its own normalisation."""
    temperature: Tensor
    """What logits are divided by in ``posteriors``: 1 until ``calibration`` has fitted it on validation.
    Saved with the model."""
    gather: Callable[[Tensor], Tensor]
    """(B, …) → (B of all processes, …), with gradient and own rows at their place; the identity in one
    process. Contrastive terms see the other processes' vectors through it."""

    def __init__(self, config: SystemConfig, dimensions: Dimensions) -> None:
        super().__init__()
        self.config = config
        self.dimensions = dimensions
        self.weights = {"fused": 1.0}
        self.reductions = {}
        self.criterion, self.soft_criterion = cross_entropy, soft_cross_entropy
        self.target = Target()
        self.gather = _identity
        layers = (dimensions.speech_layers, 1) if dimensions.speech_layers else ()
        self.register_buffer("speech_mean", torch.zeros(*layers, dimensions.speech))
        self.register_buffer("speech_std", torch.ones(*layers, dimensions.speech))
        self.register_buffer("temperature", torch.ones(()))
        self.register_forward_pre_hook(_standardised)
        self.register_forward_hook(_with_targets)

    @property
    def layout(self) -> Dimensions:
        """The sizes by which a batch is laid out: of what comes in, before any encoder in the graph."""
        return self.dimensions

    @property
    def tiers(self) -> tuple[Tier, ...]:
        """The alignment tiers that the system uses, in the order of ``TIERS``."""
        return ()

    def standardise(self, mean: Tensor, std: Tensor) -> None:
        """From now on frames are shifted by ``mean`` and divided by ``std``, (Ds,) or (K, Ds)."""
        self.speech_mean.copy_(mean.view(-1, *self.speech_mean.shape[1:]).expand_as(self.speech_mean))
        self.speech_std.copy_(std.view(-1, *self.speech_std.shape[1:]).expand_as(self.speech_std))

    def aim(self, target: Target) -> None:
        """Learn these targets: heads with fresh weights are added to each member."""
        self.target = target
        if target.further:
            sizes = widths(self)
            for name, member in self.members().items():
                with torch.random.fork_rng(devices=[]):  # a member's do not depend on which others there are
                    torch.manual_seed(torch.initial_seed() + crc32(f"{name} targets".encode()))
                    heads = TargetHeads(sizes[name], self.dimensions.classes, target)
                member.add_module("target_heads", heads.to(self.temperature.device))
        own = target.weights.get("class", 0.0)
        self.weights = {name: own * weight for name, weight in self.weights.items() if own}
        self.weights |= {f"{kind} target": target.weights[kind] for kind in target.further}
        self.reductions = self.reductions | {f"{kind} target": "gathered" for kind in target.further}

    def aimed(self) -> dict[str, TargetHeads]:
        """By member: the heads of targets beside the class."""
        return {n: m.target_heads for n, m in self.members().items() if hasattr(m, "target_heads")}  # type: ignore[misc]

    def describe(self, prompts: Tensor) -> None:
        """Take the classes' prompts (C, P), as ``inputs.bag`` makes them, where ``takes_prompts``."""
        raise NotImplementedError

    @torch.no_grad()
    def observe(self, batch: Batch) -> None:
        """Take in a batch of the training part before any step: pooled vectors are standardised by it."""
        parts = [part for part in self.modules() if isinstance(part, Observer)]
        if parts:
            batch = self.standardised(batch)
            for part in parts:
                part.observe(batch)

    @property
    def observes(self) -> bool:
        """Whether ``observe`` has anything to take in."""
        return any(isinstance(part, Observer) for part in self.modules())

    def complete(self) -> None:
        """Read the weights that are otherwise read when they are first needed."""

    def standardised(self, batch: Batch) -> Batch:
        """The batch with its frames standardised; every call gets one."""
        return replace(batch, speech=(batch.speech - self.speech_mean).div_(self.speech_std))

    def encoded(self, batch: Batch) -> Batch:
        """The batch after the encoders in the graph, whose frames are standardised; most have none."""
        return batch

    def layers_above(self, name: str) -> int | None:  # noqa: ARG002
        """How many blocks of its encoder in the graph lie above a parameter; None for all others."""
        return None

    def forward(self, batch: Batch, attention: bool = False) -> Output:
        """Logits and intermediates; with the weights where ``attention`` is True."""
        raise NotImplementedError

    def second_view(self, output: Output, batch: Batch) -> Output | None:  # noqa: ARG002
        """The output of a second view of the batch, for loss terms that compare both; most need none."""
        return None

    def terms(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        """Each loss term by name, unweighted, a scalar."""
        return {"fused": self.criterion(output.logits, batch.labels)}

    def solve(self, batches: Iterable[Batch], number: int) -> dict[str, float]:
        """Become the solution of this number on the training part; returns its losses by name."""
        raise NotImplementedError

    def posteriors(self, logits: Tensor) -> Tensor:
        """(…, C) calibrated probabilities of the fused logits."""
        return (logits.float() / self.temperature).softmax(-1)

    def asides(self, output: Output) -> dict[str, Tensor]:
        """Further posteriors (B, n) by name, ``group/name`` for one of several: those of targets beside the
        class; most systems have no others.

        The card names what they are over under ``asides``; without that it is the classes.
        """
        return target_asides(self, output)

    def members(self) -> dict[str, nn.Module]:
        """Disjoint parts trained independently in effect; a system of one is its own, under no name."""
        return {"": self}

    def fit_combination(self, posteriors: Mapping[str, Tensor], labels: Tensor) -> None:
        """Weight the members from their validation posteriors (n, C); nothing to do for one member."""


def scored(labels: Tensor, present: Tensor) -> Tensor:
    """The labels (B,) or (B, U), IGNORE for every utterance where ``present (B,)`` is False."""
    return torch.where(present if labels.ndim == present.ndim else present[:, None], labels, IGNORE)


def _identity(vectors: Tensor) -> Tensor:
    return vectors


def _standardised(system: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    assert isinstance(system, System)
    return system.standardised(inputs[0]), *inputs[1:]


def _with_targets(system: nn.Module, _: tuple[Any, ...], output: Output) -> None:
    assert isinstance(system, System)
    if not system.target.further or output.targets:  # of a tuned system its head has made them
        return
    for name, heads in system.aimed().items():
        given = output.extra[f"heads {name}"] = inputs(system, output, name)
        output.targets[name] = heads(given)
    if output.targets:
        decide(system, output)


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
