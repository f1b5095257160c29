"""Systems of several members: trained in one pass, independent in effect, combined by their posteriors.

Independent in effect means: disjoint parameters; initial values and dropout drawn from a random stream that
depends on the seed and the member's name alone; gradients clipped and best epochs kept by member (by the
loop). A member trained alone is therefore the same, number for number, as one trained with others.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal, cast

import torch
from torch import Tensor, nn

from undertone.models.batch import Batch
from undertone.models.example import Dimensions
from undertone.models.system import Output, System, SystemConfig, scored

__all__ = ["Ensemble", "MemberOutput", "Rule", "combine", "fit_exponents", "fit_weights"]

_LARGEST = 10.0
"""The largest power of a member's evidence."""

Rule = Literal["mean", "weighted", "product", "pool"]
"""``mean`` of the posteriors; their ``weighted`` mean, weights fitted on validation; their ``product`` over
the class prior to the power of members - 1, the optimum where members err independently; or the ``pool``,
that product with each member's evidence to a power ≥ 0 fitted on validation: an overconfident member gets a
small power, an uninformative one 0."""


@dataclass
class MemberOutput:
    """One member's output for a batch."""

    logits: Tensor
    """(B, C)"""
    present: Tensor
    """(B,) bool: whether any modality that it uses is present."""
    vector: Tensor
    """(B, D), before the last map"""
    attention: dict[str, Tensor] = field(default_factory=dict)
    mixed: tuple[Tensor, Tensor] | None = None
    """As ``Output.mixed`` has it."""


def combine(scores: Tensor, present: Tensor, rule: Rule, weights: Tensor, prior: Tensor) -> Tensor:
    """(B, C) log posteriors from members' logits ``scores (M, B, C)``; only those ``present (M, B)`` count.

    ``weights (M,)`` count only for ``weighted`` and, as powers, for ``pool``; ``prior (C,)`` only for
    ``product`` and ``pool``. By hand, two classes:

    >>> scores = torch.tensor([[[0.9, 0.1]], [[0.6, 0.4]]]).log()
    >>> present, even = torch.ones(2, 1, dtype=torch.bool), torch.tensor([0.5, 0.5])
    >>> combine(scores, present, "mean", even, even).exp()[0, 0].item()  # (0.9 + 0.6) / 2
    0.75
    >>> round(combine(scores, present, "product", even, even).exp()[0, 0].item(), 4)  # 0.54 / (0.54 + 0.04)
    0.931
    """
    logs = scores.float().log_softmax(-1)  # (M, B, C)
    if rule in ("product", "pool"):
        powers = present * (weights if rule == "pool" else torch.ones_like(weights))[:, None]  # (M, B)
        evidence = ((logs - prior.log()) * powers[..., None]).sum(0)
        return (torch.where(present.any(0)[:, None], prior.log(), 0.0) + evidence).log_softmax(-1)
    counts = (weights if rule == "weighted" else torch.ones_like(weights))[:, None] * present
    counts = counts / counts.sum(0).clamp(min=1e-12)  # (M, B)
    missing = ~present.any(0)
    counts = torch.where(missing, 1.0 / len(counts), counts)
    return torch.logsumexp(logs + counts.clamp(min=1e-12).log()[..., None], 0).log_softmax(-1)


def fit_weights(posteriors: Tensor, labels: Tensor, shrink: float, steps: int = 200) -> Tensor:
    """(M,) weights ≥ 0, summing to 1, with which ``posteriors (M, n, C)`` make the labels likeliest.

    ``shrink`` utterances for even weights are added as a prior, so that a small validation part changes
    little. Expectation-maximisation: the likelihood is concave in the weights.
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
    labels likeliest; their mean, weighted by each member's mean absolute evidence, is 1.

    A prior for 1, the plain product, is added; it weighs as ``shrink`` utterances. The likelihood is concave,
    so each power in turn is set to where its slope is 0. Only the proportion is kept: all powers below 1
    would favour frequent classes, and the common confidence is left to the temperature.
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
            low, high = 0.0, _LARGEST
            for _ in range(30):
                powers[member] = (low + high) / 2
                low, high = (
                    (float(powers[member]), high) if slope(member) > 0 else (low, float(powers[member]))
                )
            powers[member] = low
        if torch.allclose(before, powers, rtol=0.0, atol=1e-5):
            break
    size = powers * evidence.abs().mean((1, 2))
    return (powers * size.sum() / (powers * size).sum() if size.any() else torch.ones_like(powers)).float()


class Ensemble(System):
    """Members in groups: posteriors are combined within each group, then across groups, by one rule."""

    prior: Tensor
    """(C,) of the validation part, even until ``fit_combination``."""

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

    def _outputs(self, batch: Batch, attention: bool) -> dict[str, MemberOutput]:
        """Each member's output; in training each draws from a stream of its own."""
        if not self.training:
            return {name: part(batch, attention) for name, part in self.parts.items()}
        seed = int(torch.randint(2**62, ()))
        outputs = {}
        for name, part in self.parts.items():
            with _stream(seed, name, batch.speech.device):
                outputs[name] = part(batch, attention)
        return outputs

    def forward(self, batch: Batch, attention: bool = False) -> Output:
        outputs = self._outputs(batch, attention)
        return Output(
            logits=self._combined(outputs),
            members={name: o.logits for name, o in outputs.items()},
            vectors={"fused": torch.cat([o.vector for o in outputs.values()], -1)}
            | {name: o.vector for name, o in outputs.items()},
            attention=_mean_attention(outputs.values()),
            extra={f"present {name}": o.present for name, o in outputs.items()},
            mixed={name: o.mixed for name, o in outputs.items() if o.mixed is not None},
        )

    def terms(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        """Cross-entropy of each member, under its name."""
        return {
            name: self.criterion(logits, scored(batch.labels, output.extra[f"present {name}"]))
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

    def _combined(self, outputs: Mapping[str, MemberOutput]) -> Tensor:
        """(B, C) log posteriors of all members."""
        inner, present = [], []
        for i, group in enumerate(self.groups):
            scores, known = _stack([outputs[name] for name in group])
            inner.append(combine(scores, known, self.rule, self._weights(i), self.prior))
            present.append(known.any(0))
        scores, known = torch.stack(inner), torch.stack(present)
        return combine(scores, known, self.rule, self._weights("all"), self.prior)

    def _fitted(self, group: int | str, posteriors: Tensor, labels: Tensor) -> Tensor:
        """Fit a group's weights on its members' posteriors (M, n, C); returns its own, (n, C), with them."""
        prior = self.prior.cpu()
        if self.rule == "pool":
            weights = fit_exponents(posteriors, labels, prior, self.shrink)
        else:
            weights = fit_weights(posteriors, labels, self.shrink)
        self._weights(group).copy_(weights)
        present = torch.ones(posteriors.shape[:2], dtype=torch.bool)
        return combine(posteriors.clamp(min=1e-12).log(), present, self.rule, weights, prior).exp()

    def _weights(self, group: int | str) -> Tensor:
        return cast(Tensor, getattr(self, f"weights_{group}"))


def _stack(outputs: Sequence[MemberOutput]) -> tuple[Tensor, Tensor]:
    return torch.stack([o.logits for o in outputs]), torch.stack([o.present for o in outputs])


def _mean_attention(outputs: Iterable[MemberOutput]) -> dict[str, Tensor]:
    attention: dict[str, list[Tensor]] = {}
    for output in outputs:
        for name, weights in output.attention.items():
            attention.setdefault(name, []).append(weights)
    return {name: torch.stack(weights).mean(0) for name, weights in attention.items()}


@contextmanager
def _stream(seed: int, name: str, device: torch.device | None) -> Iterator[None]:
    """Random numbers that depend on the seed and the name alone; the common stream does not advance."""
    own = int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:7], "little")
    cuda = [device] if device is not None and device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda):
        torch.manual_seed(own)
        yield
