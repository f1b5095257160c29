"""Published classifiers put together: each side's logits to one set of classes, combined by the product rule.

A member gives logits over its own classes. They become evidence over ours: for a class that it knows the log
ratio of its posterior to its prior, for one that it lacks 0, so that the probability of that class stays what
it is without this member. The fused log posterior is the log prior and all evidence that is present.

Untrained, temperatures are 1, mixes the identity and biases 0; ``experiment/fuse`` fits them.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from undertone.config import Config
from undertone.errors import ModelError
from undertone.models.batch import Batch
from undertone.models.example import Dimensions
from undertone.models.system import Output, System, SystemConfig

__all__ = ["SideConfig", "Sides", "SidesConfig", "evidence"]


class SideConfig(Config):
    """One classifier of a side."""

    name: str
    side: Literal["speech", "text"]
    classes: tuple[int, ...]
    """Of each of its logits the class here, -1 where it is left out."""
    task: Literal["single", "multi", "regression"] = "single"
    """As ``pretrained.classifiers`` has it; a regression gives no evidence, but dimensions."""
    temperature: float = Field(1.0, gt=0.0)
    weight: float = Field(1.0, ge=0.0)
    """Power of its evidence."""


class SidesConfig(SystemConfig):
    """The members, in the order of their logits within each side."""

    members: tuple[SideConfig, ...] = ()
    prior: tuple[float, ...] = ()
    """Of each class; empty: even."""


def evidence(logits: Tensor, member: SideConfig, temperature: Tensor, mix: Tensor, prior: Tensor) -> Tensor:
    """(n, C) log likelihood ratios of a member's ``logits (n, K)``; 0 for classes that it lacks.

    ``mix (C, C)`` maps the ratios before they are normalised: under ``prior (C,)``, restricted to the classes
    that the member knows, their expectation is 1. By hand, three classes of which it lacks the last:

    >>> member = SideConfig(name="m", side="text", classes=(0, 1))
    >>> even, one = torch.full((3,), 1 / 3), torch.ones(())
    >>> ratios = evidence(torch.tensor([[0.8, 0.2]]).log(), member, one, torch.eye(3), even).exp()
    >>> [round(x, 3) for x in ratios[0].tolist()]
    [1.6, 0.4, 1.0]
    """
    scaled = logits.float() / temperature
    logs = nn.functional.logsigmoid(scaled) if member.task == "multi" else scaled.log_softmax(-1)
    classes = len(prior)
    known = sorted(set(member.classes) - {-1})
    merged = torch.stack(
        [logs[:, [k for k, c in enumerate(member.classes) if c == c_]].logsumexp(-1) for c_ in known], -1
    ).log_softmax(-1)
    ratios = (merged + math.log(len(known))) @ mix[known][:, known].T
    inside = prior[known] / prior[known].sum()
    ratios = ratios - (ratios + inside.log()).logsumexp(-1, keepdim=True)
    places = torch.zeros(len(known), classes)
    for row, column in enumerate(known):
        places[row, column] = 1.0
    return ratios @ places.to(ratios)


class Sides(System):
    """Published classifiers of speech and of text, combined by the product rule or as fitted."""

    cost = 0.5
    config: SidesConfig
    prior: Tensor
    """(C,)"""
    bias: Tensor
    """(C,) added to the log prior: where classes are more or less frequent than it states."""
    temperatures: Tensor
    """(M,)"""
    mix: Tensor
    """(M, C, C): each member's power on the diagonal; what a stacker takes from other classes beside it."""

    def __init__(self, config: SidesConfig, dimensions: Dimensions) -> None:
        super().__init__(config, dimensions)
        self.weights = {}
        given = {member.side for member in config.members}
        self.sides = tuple(side for side in System.sides if side in given)
        C = dimensions.classes
        widths = {s: sum(len(m.classes) for m in config.members if m.side == s) for s in ("speech", "text")}
        if widths != {"speech": dimensions.speech, "text": dimensions.text}:
            raise ModelError(f"members give {widths} logits, not {dimensions.speech} and {dimensions.text}")
        prior = torch.tensor(config.prior or [1.0] * C, dtype=torch.float32)
        self.register_buffer("prior", prior / prior.sum())
        self.register_buffer("bias", torch.zeros(C))
        self.register_buffer("temperatures", torch.tensor([m.temperature for m in config.members]))
        self.register_buffer("mix", torch.stack([torch.eye(C) * m.weight for m in config.members]))

    def parts(self, speech: Tensor, text: Tensor) -> list[Tensor]:
        """Each member's logits (B, K), of both sides' (B, ΣK)."""
        at = {"speech": 0, "text": 0}
        rows = {"speech": speech, "text": text}
        made = []
        for member in self.config.members:
            begin = at[member.side]
            at[member.side] = begin + len(member.classes)
            made.append(rows[member.side][:, begin : at[member.side]])
        return made

    def forward(self, batch: Batch, attention: bool = False) -> Output:  # noqa: ARG002
        parts = self.parts(batch.speech[:, 0], batch.text[:, 0])
        start = (self.prior.log() + self.bias) + 0.0 * batch.present[:, :1]  # (B, C), of any B in a graph
        sums = {side: torch.zeros_like(start) for side in ("speech", "text")}
        extra = {}
        for index, (member, logits) in enumerate(zip(self.config.members, parts, strict=True)):
            if member.task == "regression":
                extra["dimensions"] = logits
                continue
            given = batch.present[:, 0 if member.side == "speech" else 1]
            ratios = evidence(logits, member, self.temperatures[index], self.mix[index], self.prior)
            sums[member.side] = sums[member.side] + ratios * given[:, None]
        fused = (start + sums["speech"] + sums["text"]).log_softmax(-1)
        alone = {side: (start + sums[side]).log_softmax(-1) for side in self.sides}
        return Output(fused, alone.get("speech"), alone.get("text"), extra=extra)

    def asides(self, output: Output) -> dict[str, Tensor]:
        """Arousal, dominance, valence where a member gives them, under the names of the card."""
        return dict(output.extra)
