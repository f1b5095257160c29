"""Systems of several members: trained in one pass, independent in effect, combined by their posteriors.

Independent in effect means: disjoint parameters; initial values and dropout drawn from a stream that
depends on the seed and the member's name alone; gradients clipped and best epochs kept by member (by
the loop). A member trained alone is therefore the same, number for number, as in company.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal, cast

import torch
from torch import Tensor, nn

from undertone.models.batch import Batch
from undertone.models.example import Dimensions
from undertone.models.system import Output, System, SystemConfig, scored

__all__ = ["Answer", "Ensemble", "Rule", "combine", "fit_exponents", "fit_weights"]

_LOUDEST = 10.0
"""The largest power of a member's evidence."""

Rule = Literal["mean", "weighted", "product", "pool"]
"""``mean`` of the posteriors; their ``weighted`` mean, weights fitted on validation; their ``product`` over
the class prior to the power of members - 1, the optimum where members err independently; or the ``pool``,
that product with each member's evidence to a power ≥ 0 fitted on validation: one that claims more than
the other is turned down, one that knows nothing falls silent."""


@dataclass
class Answer:
    """What one member says of a batch."""

    logits: Tensor
    """(B, C)"""
    here: Tensor
    """(B,) bool: had it anything to go by?"""
    vector: Tensor
    """(B, D), before the last map"""
    attention: dict[str, Tensor] = field(default_factory=dict)


def combine(scores: Tensor, here: Tensor, rule: Rule, weights: Tensor, prior: Tensor) -> Tensor:
    """(B, C) log posteriors from members' logits ``scores (M, B, C)``; those not ``here (M, B)`` say nothing.

    ``weights (M,)`` count only for ``weighted`` and, as powers, for ``pool``; ``prior (C,)`` only for
    ``product`` and ``pool``. By hand, two classes:

    >>> scores = torch.tensor([[[0.9, 0.1]], [[0.6, 0.4]]]).log()
    >>> here, even = torch.ones(2, 1, dtype=torch.bool), torch.tensor([0.5, 0.5])
    >>> combine(scores, here, "mean", even, even).exp()[0, 0].item()  # (0.9 + 0.6) / 2
    0.75
    >>> round(combine(scores, here, "product", even, even).exp()[0, 0].item(), 4)  # 0.54 / (0.54 + 0.04)
    0.931
    """
    logs = scores.float().log_softmax(-1)  # (M, B, C)
    if rule in ("product", "pool"):
        powers = here * (weights if rule == "pool" else torch.ones_like(weights))[:, None]  # (M, B)
        evidence = ((logs - prior.log()) * powers[..., None]).sum(0)
        return (torch.where(here.any(0)[:, None], prior.log(), 0.0) + evidence).log_softmax(-1)
    counts = (weights if rule == "weighted" else torch.ones_like(weights))[:, None] * here
    counts = counts / counts.sum(0).clamp(min=1e-12)  # (M, B)
    nothing = ~here.any(0)
    counts = torch.where(nothing, 1.0 / len(counts), counts)
    return torch.logsumexp(logs + counts.clamp(min=1e-12).log()[..., None], 0).log_softmax(-1)


def fit_weights(posteriors: Tensor, labels: Tensor, shrink: float, steps: int = 200) -> Tensor:
    """(M,) weights ≥ 0, summing to 1, of the mixture of ``posteriors (M, n, C)`` likeliest to say the labels.

    ``shrink`` utterances that speak for even weights are added, so that a small validation side
    changes little. Expectation-maximisation: the likelihood is concave in the weights.
    """
    members = len(posteriors)
    weights = torch.full((members,), 1.0 / members, dtype=torch.float64)
    right = posteriors.double()[:, torch.arange(len(labels)), labels].clamp(min=1e-12)  # (M, n)
    for _ in range(steps):
        shares = weights[:, None] * right
        shares = shares / shares.sum(0)
        weights = (shares.sum(1) + shrink / members) / (len(labels) + shrink)
    return weights.float()


def fit_exponents(
    posteriors: Tensor, labels: Tensor, prior: Tensor, shrink: float, sweeps: int = 60
) -> Tensor:
    """(M,) powers ≥ 0 of members' evidence in the proportion in which ``posteriors (M, n, C)`` make the
    labels likeliest; their mean, each counting by what it has to say, is 1.

    ``shrink`` utterances' worth of pull towards 1, the plain product, is added. The likelihood is concave, so
    each power in turn is brought to where its slope is 0. Only the proportion is kept: all powers below 1
    would lean towards frequent classes, and how sure all are together is for the temperature to say.
    """
    evidence = posteriors.double().clamp(min=1e-12).log() - prior.double().log()  # (M, n, C)
    powers = torch.ones(len(evidence), dtype=torch.float64)

    def slope(member: int) -> float:
        p = (torch.einsum("m,mnc->nc", powers, evidence) + prior.double().log()).softmax(-1)
        right = evidence[member].gather(-1, labels[:, None])[:, 0]
        expected = (p * evidence[member]).sum(-1)
        return float((right - expected).sum() - shrink * (powers[member] - 1.0))

    for _ in range(sweeps):
        before = powers.clone()
        for member in range(len(powers)):
            low, high = 0.0, _LOUDEST
            for _ in range(30):
                powers[member] = (low + high) / 2
                low, high = (
                    (float(powers[member]), high) if slope(member) > 0 else (low, float(powers[member]))
                )
            powers[member] = low
        if torch.allclose(before, powers, rtol=0.0, atol=1e-5):
            break
    said = powers * evidence.abs().mean((1, 2))  # what each has its say with
    return (powers * said.sum() / (powers * said).sum() if said.any() else torch.ones_like(powers)).float()


class Ensemble(System):
    """Members in groups: posteriors are combined within each group, then across groups, by one rule."""

    prior: Tensor
    """(C,) of the validation side, even until ``fit_combination``."""

    def __init__(
        self,
        config: SystemConfig,
        dimensions: Dimensions,
        build: Mapping[str, Callable[[], nn.Module]],
        groups: Sequence[Sequence[str]],
        rule: Rule,
        shrink: float,
    ) -> None:
        """``build`` makes each member; ``groups`` holds every member's name once."""
        super().__init__(config, dimensions)
        self.parts = nn.ModuleDict()
        for name, make in build.items():
            with _stream(torch.initial_seed(), name, None):
                self.parts[name] = make()
        self.groups = [list(group) for group in groups]
        self.rule: Rule = rule
        self.shrink = shrink
        self.weights = dict.fromkeys(build, 1.0)
        self.register_buffer("prior", torch.full((dimensions.classes,), 1.0 / dimensions.classes))
        sizes = {str(i): len(group) for i, group in enumerate(self.groups)} | {"all": len(self.groups)}
        for name, size in sizes.items():
            self.register_buffer(
                f"weights_{name}", torch.full((size,), 1.0 if rule == "pool" else 1.0 / size)
            )

    def answers(self, batch: Batch, attention: bool) -> dict[str, Answer]:
        """Each member asked; in training from its own stream, one number of the common stream a call."""
        if not self.training:
            return {name: part(batch, attention) for name, part in self.parts.items()}
        seed = int(torch.randint(2**62, ()))
        found = {}
        for name, part in self.parts.items():
            with _stream(seed, name, batch.speech.device):
                found[name] = part(batch, attention)
        return found

    def forward(self, batch: Batch, attention: bool = False) -> Output:
        answers = self.answers(batch, attention)
        fused, _ = self._combined(answers, self.rule)
        mean, _ = self._combined(answers, "mean")
        return Output(
            logits=fused,
            members={name: answer.logits for name, answer in answers.items()},
            vectors={"fused": torch.cat([a.vector for a in answers.values()], -1)},
            attention=_mean_attention(answers.values()),
            extra={"mean": mean, **{f"here {name}": a.here for name, a in answers.items()}},
        )

    def terms(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        """Cross-entropy of each member, under its name."""
        return {
            name: self.criterion(logits, scored(batch.labels, output.extra[f"here {name}"]))
            for name, logits in output.members.items()
        }

    def members(self) -> dict[str, nn.Module]:
        return dict(self.parts.items())

    def fit_combination(self, posteriors: Mapping[str, Tensor], labels: Tensor) -> None:
        """Set the prior and, for the rules that have any, the weights within groups and then across."""
        C = len(self.prior)
        counts = torch.bincount(labels, minlength=C) + 1.0
        self.prior.copy_(counts / counts.sum())
        if self.rule not in ("weighted", "pool"):
            return
        outer = [
            self._fitted(i, torch.stack([posteriors[name] for name in group]), labels)
            for i, group in enumerate(self.groups)
        ]
        if len(outer) > 1:
            self._fitted("all", torch.stack(outer), labels)

    def combined(self, answers: Mapping[str, Answer], names: Sequence[str]) -> Tensor:
        """(B, C) log posteriors of the mean of some members."""
        even = torch.full((len(names),), 1.0, device=self.prior.device)
        scores, here = _stack([answers[name] for name in names])
        return combine(scores, here, "mean", even, self.prior)

    def _combined(self, answers: Mapping[str, Answer], rule: Rule) -> tuple[Tensor, Tensor]:
        inner, here = [], []
        for i, group in enumerate(self.groups):
            scores, some = _stack([answers[name] for name in group])
            inner.append(combine(scores, some, rule, self._weights(i), self.prior))
            here.append(some.any(0))
        outer = torch.stack(here)
        return combine(torch.stack(inner), outer, rule, self._weights("all"), self.prior), outer

    def _fitted(self, group: int | str, posteriors: Tensor, labels: Tensor) -> Tensor:
        """Fit a group's weights on its members' posteriors (M, n, C); returns what it says with them."""
        prior = self.prior.cpu()
        if self.rule == "pool":
            weights = fit_exponents(posteriors, labels, prior, self.shrink)
        else:
            weights = fit_weights(posteriors, labels, self.shrink)
        self._weights(group).copy_(weights)
        here = torch.ones(posteriors.shape[:2], dtype=torch.bool)
        return combine(posteriors.clamp(min=1e-12).log(), here, self.rule, weights, prior).exp()

    def _weights(self, group: int | str) -> Tensor:
        return cast(Tensor, getattr(self, f"weights_{group}"))


def _stack(answers: Sequence[Answer]) -> tuple[Tensor, Tensor]:
    return torch.stack([a.logits for a in answers]), torch.stack([a.here for a in answers])


def _mean_attention(answers: Iterator[Answer] | Sequence[Answer] | object) -> dict[str, Tensor]:
    found: dict[str, list[Tensor]] = {}
    for answer in cast(Sequence[Answer], answers):
        for name, weights in answer.attention.items():
            found.setdefault(name, []).append(weights)
    return {name: torch.stack(weights).mean(0) for name, weights in found.items()}


@contextmanager
def _stream(seed: int, name: str, device: torch.device | None) -> Iterator[None]:
    """Random numbers that depend on the seed and the name alone; the common stream is left as it was."""
    own = int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:7], "little")
    cuda = [device] if device is not None and device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda):
        torch.manual_seed(own)
        yield
