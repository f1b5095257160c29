"""What a system learns of an utterance, one idea for all systems: a head a target on its fused vector and
on its posteriors, those of its sides among them.

    class          the label, by the system's own last layers and losses
    distribution   the fractions of the raters' votes: soft cross-entropy, recorded as their divergence
    multilabel     several emotions at once: binary cross-entropy against the fractions, present above 1/C
    dimensions     arousal, valence, dominance in 0…1: 1 - CCC over the batch, and the spread around the mean

CCC is computed over the whole batch because it is no mean over utterances: it compares the predictions' mean
and variance with those of the ratings, and of one utterance there is neither. (A squared error alone is least
for predictions drawn towards the mean, which CCC counts against them.)

Where the class is no target, the posterior is the distribution's, else that of the emotions scaled to sum to
1; of dimensions alone it is even. Systems of several members have heads for each, trained and chosen with it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from pydantic import Field, PositiveFloat
from torch import Tensor, nn
from torch.nn import functional as F

from undertone.config import Config
from undertone.models.batch import collate
from undertone.models.example import Dimensions, Example, dialogue

if TYPE_CHECKING:
    from undertone.models.batch import Batch
    from undertone.models.system import Output, System

__all__ = [
    "Target",
    "TargetHeads",
    "TargetKind",
    "blend",
    "decide",
    "inputs",
    "minimise",
    "soft_cross_entropy",
    "target_asides",
    "target_loss",
    "target_terms",
    "truth_of",
    "widths",
]

TargetKind = Literal["class", "distribution", "dimensions", "multilabel"]
DimensionsLoss = Literal["ccc", "squared"]
ROUNDS = 100
"""Iterations of one solution at most; the probe's starts from that of the penalty before."""
SMALLEST = 0.01
"""The least spread, as a share of the scale."""
SPREAD = 0.1
"""Weight of the spread's likelihood beside 1 - CCC; it reaches the spread's own map alone."""


class Target(Config):
    """The targets of a system with their weights."""

    weights: dict[TargetKind, PositiveFloat] = Field(default={"class": 1.0}, min_length=1)
    """How much each target's loss counts; with the class all of the system's own terms."""
    trunk: Literal["shared", "detached"] = "shared"
    """``detached``: the targets beside the class change nothing below their heads, so that the class is
    learned as it is alone; at the end the heads are solved for it (``training/heads``)."""
    dimensions: tuple[str, ...] = ()
    """Those that the head of the dimensions gives, in its order."""
    error: DimensionsLoss = "ccc"
    """The loss of the dimensions: 1 - CCC over the batch, or the ``squared`` error of ratings in 0…1."""

    @property
    def further(self) -> tuple[TargetKind, ...]:
        """The targets that have a head of their own."""
        return tuple(kind for kind in self.weights if kind != "class")

    @property
    def judged(self) -> TargetKind | None:
        """The target that gives the posterior; None for dimensions alone."""
        order: tuple[TargetKind, ...] = ("class", "distribution", "multilabel")
        return next((kind for kind in order if kind in self.weights), None)


class TargetHeads(nn.Module):
    """A linear map a target from the vector before a system's last layer and from its posteriors.

    The posteriors matter: in a system whose logits are a sum over sides, that vector is one summand's alone.
    """

    def __init__(self, width: int, classes: int, target: Target) -> None:
        super().__init__()
        self.dimensions, self.detached = len(target.dimensions), target.trunk == "detached"
        sizes = {"distribution": classes, "multilabel": classes, "dimensions": self.dimensions}
        self.maps = nn.ModuleDict({kind: nn.Linear(width, sizes[kind]) for kind in target.further})
        self.spread = nn.Linear(width, self.dimensions) if "dimensions" in target.weights else None

    def forward(self, vector: Tensor) -> dict[str, Tensor]:
        """Logits (…, C) of ``distribution`` and ``multilabel``; ``dimensions`` and ``spread`` (…, n), 0…1."""
        vector = vector.detach() if self.detached else vector
        made = {kind: one(vector).float() for kind, one in self.maps.items()}
        if self.spread is not None:
            made["dimensions"] = made["dimensions"].sigmoid()
            # from a detached vector: how sure the mean is should not change what it is
            made["spread"] = SMALLEST + F.softplus(self.spread(vector.detach()).float() - 2.0)
        return made


def inputs(system: System, output: Output, member: str) -> Tensor:
    """(…, n): what a member's heads take, its vector and its posteriors, C·p - 1 each: 0 where all are even.

    Systems whose classes may be others at prediction, and those that are solved, have the vector alone.
    """
    vector = output.vectors[member or "fused"]
    if system.takes_prompts or system.solutions:
        return vector
    logits = [output.members[member]] if output.members else list(output.sides().values())
    return torch.cat([vector, *(x.shape[-1] * x.softmax(-1).to(vector.dtype) - 1.0 for x in logits)], -1)


def widths(system: System) -> dict[str, int]:
    """By member: the width of ``inputs``, measured with one small utterance."""
    sizes = system.layout
    training = system.training
    system.eval()
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        output: Output = system(collate([_smallest(system, sizes)], sizes))
    system.train(training)
    return {name: inputs(system, output, name).shape[-1] for name in system.members()}


def _smallest(system: System, sizes: Dimensions) -> Example:
    """Two words in four frames; at dialogue level one turn."""
    turns = getattr(system.config, "level", "utterance") == "dialogue"
    frames, tokens = (1, 1) if turns else (4, 2)
    layers = (sizes.speech_layers,) if sizes.speech_layers else ()
    spans = np.array([[0, 2], [2, 4]])
    example = Example(
        "smallest",
        speech=np.ones((*layers, frames, sizes.speech), np.float32),
        text=np.zeros(tokens, np.int64) if sizes.vocabulary else np.ones((tokens, sizes.text), np.float32),
        segments={} if turns else dict.fromkeys(("phone", "syllable", "word"), spans),
        segment_word={} if turns else dict.fromkeys(("phone", "syllable", "word"), np.arange(2)),
        token_word=None if turns else np.arange(2),
    )
    return dialogue("smallest", [example], [None]) if turns else example


def decide(system: System, output: Output) -> None:
    """Where the class is no target, put the posterior of another in its place, of each member and of all."""
    kind = system.target.judged
    if kind == "class":
        return

    def scores(made: dict[str, Tensor], like: Tensor) -> Tensor:
        if kind is None:
            return torch.zeros_like(like)
        return made[kind].log_softmax(-1) if kind == "distribution" else F.logsigmoid(made[kind])

    if output.members:
        output.members = {name: scores(output.targets[name], x) for name, x in output.members.items()}
        posteriors = {name: x.softmax(-1) for name, x in output.members.items()}
        output.logits = _mean(posteriors, output).clamp(min=1e-12).log()
    else:
        output.logits = scores(output.targets[""], output.logits)
    alone = output.logits if len(system.sides) == 1 else None
    output.speech = alone if "speech" in system.sides else None
    output.text = alone if "text" in system.sides else None


def target_asides(system: System, output: Output) -> dict[str, Tensor]:
    """(B, n) by name: the means of ``dimensions`` and their ``spread`` in 0…1, the ``distribution`` of votes,
    the probabilities of ``several`` emotions; a distribution that is the posterior is not among them."""
    made: dict[str, Tensor] = {}
    for kind in system.target.further:
        if kind == "dimensions":
            for name in ("dimensions", "spread"):
                made[name] = _mean({m: x[name] for m, x in output.targets.items()}, output)
        elif kind == "multilabel":
            made["several"] = _mean({m: x[kind].sigmoid() for m, x in output.targets.items()}, output)
        elif system.target.judged != kind:
            made[kind] = _mean({m: x[kind].softmax(-1) for m, x in output.targets.items()}, output)
    return made


def _mean(values: dict[str, Tensor], output: Output) -> Tensor:
    """The mean over the members that are present, over all where none is."""
    if len(values) == 1:
        return next(iter(values.values()))
    given = torch.stack([output.extra[f"present {name}"] for name in values]).float()  # (M, B)
    given = torch.where(given.any(0), given, torch.ones_like(given))
    stacked = torch.stack(list(values.values()))
    return (stacked * given[..., None]).sum(0) / given.sum(0)[..., None]


def target_terms(system: System, output: Output, batch: Batch) -> dict[str, Tensor]:
    """The loss of each target but the class, by ``KIND target``: the sum of its members' losses."""
    terms: dict[str, Tensor] = {}
    for kind in system.target.further:
        losses = []
        for name, made in output.targets.items():
            truth = truth_of(system, output, batch, name, kind)
            if truth is None:
                losses.append(made[kind].sum() * 0.0)
                continue
            rows = {key: system.gather(made[key].flatten(0, -2)) for key in made if key in (kind, "spread")}
            losses.append(target_loss(system, kind, rows, system.gather(truth.flatten(0, -2))))
        terms[f"{kind} target"] = torch.stack(losses).sum()
    return terms


def truth_of(system: System, output: Output, batch: Batch, member: str, kind: TargetKind) -> Tensor | None:
    """(…, n): what a member's head should give, nan where it has no modality; None where nothing is known."""
    wanted = batch.targets.get("ratings" if kind == "dimensions" else "votes")
    if wanted is None:
        return None
    sides = [("speech", "text").index(side) for side in system.sides]
    given = output.extra.get(f"present {member}", batch.modalities[..., sides].any(-1))
    truth = torch.where(given[..., None], wanted.float(), torch.nan)
    return blend(truth, output.mixed[member]) if member in output.mixed else truth


def blend(values: Tensor, mixed: tuple[Tensor, Tensor]) -> Tensor:
    """(B, n): each row times its share, and another's times the rest."""
    share, other = mixed
    return share[:, None] * values + (1.0 - share[:, None]) * values[other]


def target_loss(system: System, kind: TargetKind, made: dict[str, Tensor], truth: Tensor) -> Tensor:
    """The loss of what one member's heads give (n, …) against ``truth (n, …)``; rows of nan do not count."""
    if kind == "dimensions":
        mean, spread = made["dimensions"], made["spread"]
        apart = _concordance if system.target.error == "ccc" else _squared
        return apart(mean, truth) + SPREAD * _likelihood(mean, spread, truth)
    known = truth.isfinite().all(-1)
    logits, shares = made[kind][known], truth[known]
    if not len(shares):
        return made[kind].sum() * 0.0
    if kind == "distribution":
        return system.soft_criterion(logits, shares)
    return F.binary_cross_entropy_with_logits(logits, shares)


def _concordance(mean: Tensor, truth: Tensor) -> Tensor:
    """1 - CCC of each dimension that varies in the batch, their mean."""
    known = truth.isfinite()
    losses = [mean.sum() * 0.0]
    for column in range(truth.shape[1]):
        x, y = mean[known[:, column], column], truth[known[:, column], column]
        if len(y) > 1 and bool((y != y[0]).any()):
            apart = (x.mean() - y.mean()).square()
            covariance = ((x - x.mean()) * (y - y.mean())).mean()
            losses.append(1.0 - 2.0 * covariance / (x.var(correction=0) + y.var(correction=0) + apart))
    return torch.stack(losses).sum() / max(1, len(losses) - 1)


def _squared(mean: Tensor, truth: Tensor) -> Tensor:
    known = truth.isfinite()
    return (mean - truth)[known].square().mean() if bool(known.any()) else mean.sum() * 0.0


def _likelihood(mean: Tensor, spread: Tensor, truth: Tensor) -> Tensor:
    """Mean negative log likelihood of the ratings by their spread alone."""
    known = truth.isfinite()
    if not bool(known.any()):
        return spread.sum() * 0.0
    error = (truth - mean.detach())[known].square()
    return (spread[known].log() + error / (2.0 * spread[known].square())).mean()


def soft_cross_entropy(
    logits: Tensor, shares: Tensor, weight: Tensor | None = None, smoothing: float = 0.0
) -> Tensor:
    """Mean divergence of the posteriors of ``logits (n, C)`` from ``shares (n, C)``, nats; its gradient is
    that of the cross-entropy. ``weight (C,)``: an utterance counts as its shares of the classes do."""
    wanted = (1 - smoothing) * shares + smoothing / shares.shape[-1]
    loss = (torch.xlogy(wanted, wanted) - wanted * logits.float().log_softmax(-1)).sum(-1)
    if weight is not None:
        loss = loss * (shares * weight.to(loss.device)).sum(-1)
    return loss.mean()


def minimise(part: nn.Module, loss: Callable[[], Tensor], count: int, strength: float) -> None:
    """Solve a part of a system for the loss, a mean over ``count`` utterances, and its penalty."""
    optimizer = torch.optim.LBFGS(
        part.parameters(), max_iter=ROUNDS, tolerance_grad=1e-5, line_search_fn="strong_wolfe"
    )

    def closure() -> float:
        optimizer.zero_grad()
        size = torch.stack([p.square().sum() for p in part.parameters() if p.ndim > 1]).sum()
        value = loss() + 0.5 * size / (strength * max(1, count))
        value.backward()  # type: ignore[no-untyped-call]
        return float(value.detach())

    with torch.enable_grad():
        optimizer.step(closure)  # type: ignore[no-untyped-call]
    optimizer.zero_grad()
