"""How a fusion of sides is fitted on labelled clips, and how honest numbers come of few.

Where the classes of the labelled clips come in clearly other proportions than the prior states, the counted
ones take its place: they need no fit. Every candidate is then a small change of the product rule, penalised
towards it, and the rule itself is a candidate too. Cross-validation over speakers goes from the most cautious
one on and takes the next where it is clearly better (Student's bound, speakers as units). Around that choice
stands an outer cross-validation, so that no clip is judged by what was chosen or fitted on its speaker.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor

from undertone import manifest as manifests
from undertone.errors import DataError, LabelError
from undertone.evaluation import metrics, significance
from undertone.experiment.fuse import Joined, Judged, Wishes, clip_of, joined, judged, milliseconds
from undertone.experiment.score import overlap_stamps
from undertone.labels.synonyms import meaning
from undertone.models.sides import SideConfig, Sides, evidence

if TYPE_CHECKING:
    from undertone.types import Utterance

__all__ = ["CANDIDATES", "Candidate", "choose", "fit", "fit_sides", "logs_of", "nested"]

FEWEST = 40
"""Labelled clips below which nothing is fitted."""
FOLDS = 5
STEPS = 25
COUNTED = 20.0
"""Clips that the stated prior is worth beside the counted one."""


@dataclass(frozen=True)
class Candidate:
    """What may differ from the untrained rule, and how strongly each change is held back."""

    name: str
    temperatures: bool = False
    bias: bool = False
    weights: bool = False
    stacker: bool = False
    """Evidence of every class for every class."""
    counted: bool = False
    """Start from the classes' proportions in the clips, not from the stated prior."""
    shrink: float = 1.0
    """Utterances that a change of one nat, or of a factor e, must be worth."""


CANDIDATES = (
    Candidate("untrained"),
    *(
        Candidate(f"{name}, shrinkage {shrink:g}", shrink=shrink, **dict.fromkeys(parts, True))
        for name, parts, shrinks in (
            ("temperatures", ("temperatures",), (10.0,)),
            ("temperatures and biases", ("temperatures", "bias"), (20.0, 3.0)),
            ("temperatures, biases and weights", ("temperatures", "bias", "weights"), (10.0,)),
            ("stacker", ("temperatures", "bias", "weights", "stacker"), (10.0,)),
        )
        for shrink in shrinks
    ),
)


@dataclass(frozen=True)
class Fit:
    """Values of a fitted fusion."""

    temperatures: Tensor
    mix: Tensor
    bias: Tensor


def untrained(system: Sides) -> Fit:
    """As the system was made."""
    return Fit(system.temperatures.double(), system.mix.double(), system.bias.double())


def logs_of(system: Sides, fit_: Fit, data: Judged) -> Tensor:
    """(n, C) fused log posteriors."""
    prior = system.prior.double()
    total = (prior.log() + fit_.bias).expand(len(data), -1)
    for index, member in enumerate(system.config.members):
        if member.task != "regression":
            ratios = _evidence(data.parts[index], member, fit_.temperatures[index], fit_.mix[index], prior)
            total = total + ratios * data.present[index][:, None]
    return total.log_softmax(-1)


def _evidence(logits: Tensor, member: SideConfig, temperature: Tensor, mix: Tensor, prior: Tensor) -> Tensor:
    return evidence(logits, member, temperature, mix.to(torch.float32), prior.float()).double()


def fit(system: Sides, data: Judged, candidate: Candidate) -> Fit:
    """The likeliest values under a normal prior around the untrained ones, by L-BFGS."""
    start = untrained(system)
    if candidate.counted:
        start = replace(start, bias=start.bias + _counted(system.prior.double(), data.labels))
    M, C = len(system.config.members), len(start.bias)
    heat = torch.zeros(M, dtype=torch.float64, requires_grad=True)
    power = torch.zeros(M, dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(C, dtype=torch.float64, requires_grad=True)
    stack = torch.zeros(M, C, C, dtype=torch.float64, requires_grad=True)
    wanted = {"temperatures": heat, "weights": power, "bias": bias, "stacker": stack}
    learned = [value for name, value in wanted.items() if getattr(candidate, name)]
    if not learned:
        return start

    def values() -> Fit:
        centred = bias - bias.mean()
        return Fit(
            start.temperatures * heat.exp(),
            start.mix * power.exp()[:, None, None] + stack,
            start.bias + centred,
        )

    def loss() -> Tensor:
        logs = logs_of(system, values(), data)
        right = logs.gather(-1, data.labels[:, None])[:, 0]
        held = torch.stack([value.square().sum() for value in learned]).sum()
        return (candidate.shrink * held / 2 - right.sum()) / len(data)

    optimizer = torch.optim.LBFGS(learned, max_iter=STEPS, line_search_fn="strong_wolfe")

    def closure() -> float:
        optimizer.zero_grad()
        value = loss()
        value.backward()  # type: ignore[no-untyped-call]
        return float(value.detach())

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    made = values()
    return Fit(made.temperatures.detach(), made.mix.detach(), made.bias.detach())


def folds_of(speakers: NDArray[np.str_], count: int = FOLDS) -> list[NDArray[np.bool_]]:
    """Which clips each fold tests: whole speakers, folds of about the same size."""
    names, counts = np.unique(speakers, return_counts=True)
    sizes = [0] * min(count, len(names))
    fold: dict[str, int] = {}
    for index in np.argsort(-counts, kind="stable"):
        smallest = int(np.argmin(sizes))
        fold[str(names[index])] = smallest
        sizes[smallest] += int(counts[index])
    of = np.array([fold[str(s)] for s in speakers])
    return [of == number for number in range(len(sizes))]


def choose(
    system: Sides, data: Judged, candidates: Sequence[Candidate] = CANDIDATES
) -> tuple[Candidate, dict[str, float]]:
    """The candidate by cross-validation over speakers, and each one's loss.

    In the order given, the most cautious first, each is taken that is clearly better than the one before.
    """
    if _shifted(system.prior.double().numpy(), data):
        candidates = [replace(c, name=f"counted prior, {c.name}", counted=True) for c in candidates]
    losses = {one.name: np.zeros(len(data)) for one in candidates}
    for test in folds_of(data.speakers):
        train, rest = data.of(~test), data.of(test)
        for one in candidates:
            logs = logs_of(system, fit(system, train, one), rest)
            losses[one.name][test] = -logs.gather(-1, rest.labels[:, None])[:, 0].numpy()
    chosen = candidates[0]
    for one in candidates[1:]:
        gain = losses[chosen.name] - losses[one.name]
        if gain.mean() > _bound(gain, data.speakers):
            chosen = one
    return chosen, {name: float(loss.mean()) for name, loss in losses.items()}


def _shifted(prior: NDArray[np.float64], data: Judged) -> bool:
    """Whether some class is clearly more or less frequent than ``prior (C,)`` states."""
    off = (data.labels.numpy()[:, None] == np.arange(len(prior))) - prior  # (n, C)
    level = 1 - 0.05 / (2 * len(prior))  # two-sided, over all classes together
    return any(abs(one.mean()) > _bound(one, data.speakers, level) for one in off.T)


def _counted(prior: Tensor, labels: Tensor) -> Tensor:
    """(C,) what to add to the log of ``prior`` for the classes' proportions, drawn a little towards it."""
    counts = torch.bincount(labels, minlength=len(prior)).double() + COUNTED * prior
    added = (counts / counts.sum() / prior).log()
    return added - added.mean()


def _bound(values: NDArray[np.float64], units: NDArray[np.str_], level: float = 0.95) -> float:
    """How far a mean may be off: Student's bound with speakers as units, wide where they are few."""
    names, which = np.unique(units, return_inverse=True)
    if len(names) < 2:
        return float(np.inf)
    sums = np.bincount(which, values - values.mean())
    error = np.sqrt((sums**2).sum() * len(names) / (len(names) - 1)) / len(values)
    return float(stats.t.ppf(level, len(names) - 1) * error)


def nested(system: Sides, data: Judged) -> Tensor:
    """(n, C) log posteriors of every clip, by what was chosen and fitted without its speaker."""
    logs = torch.zeros(len(data), len(system.prior), dtype=torch.float64)
    for test in folds_of(data.speakers):
        train = data.of(~test)
        chosen, _ = choose(system, train)
        logs[torch.from_numpy(test)] = logs_of(system, fit(system, train, chosen), data.of(test))
    return logs


def scores(logs: Tensor, data: Judged) -> dict[str, Any]:
    """UA with its interval over speakers, WA, calibration error and loss."""
    labels, shares = data.labels.numpy(), logs.exp().numpy()
    classes, predicted = shares.shape[1], shares.argmax(-1)
    tallies = significance.tally(labels, predicted, list(data.speakers), classes)
    interval = significance.interval(tallies)
    return {
        "ua": interval.value,
        "interval": [interval.low, interval.high],
        "wa": metrics.wa(labels, predicted),
        "ece": metrics.ece(labels, shares),
        "nll": metrics.nll(labels, shares),
    }


def fit_sides(
    made: Joined,
    manifest: Path,
    wishes: Wishes,
    allow_overlap: bool = False,
    budget: float | None = None,
    watch: Callable[[int, int], None] | None = None,
) -> tuple[Joined, dict[str, Any]]:
    """The joined system fitted on a manifest, and what its card keeps: honest numbers beside untrained."""
    listed = manifests.read(manifest)
    corpus = listed.meta.corpus or manifest.stem
    stamps = overlap_stamps({one.given: one.trained for one in made.sides}, corpus, allow_overlap)
    utterances, truth = _labelled(listed.resolved(), made.labels, manifest)
    data = judged(made, utterances, truth, watch)
    cost = milliseconds(made.sides, [clip_of(u) for u in utterances[:5]])
    made, data, left = pruned(made, data, wishes, cost, budget)
    chosen, losses = choose(made.system, data)
    rows = {"untrained": scores(logs_of(made.system, untrained(made.system), data), data)}
    rows["fitted"] = scores(nested(made.system, data), data)
    for index, one in enumerate(made.sides):
        if one.mapped:
            rows[one.given] = scores(logs_of(made.system, untrained(made.system), only(data, index)), data)
    system = copy.deepcopy(made.system)
    final = fit(system, data, chosen)
    with torch.no_grad():
        system.temperatures.copy_(final.temperatures)
        system.mix.copy_(final.mix)
        system.bias.copy_(final.bias)
    fusion = {
        "metrics": rows,
        "chosen": chosen.name,
        "cross_validated_losses": losses,
        "protocol": "nested cross-validation over speakers; sides alone and untrained without any fitting",
        "clips": len(data),
        "speakers": len(np.unique(data.speakers)),
        "left_out": left,
        "stamps": stamps,
    }
    more = {
        "corpus": corpus,
        "protocol": {"split": "kfold-speaker", "stamps": stamps},
        "fusion": fusion,
        "milliseconds": {name: ms for name, ms in cost.items() if name not in left},
        "metrics": {"mean": {"ua": rows["fitted"]["ua"], "wa": rows["fitted"]["wa"]}},
    }
    return replace(made, system=system), more


def only(data: Judged, member: int) -> Judged:
    """As if no other member had anything."""
    kept = torch.zeros_like(data.present)
    kept[member] = data.present[member]
    return replace(data, present=kept)


def pruned(
    made: Joined, data: Judged, wishes: Wishes, cost: Mapping[str, float], budget: float | None
) -> tuple[Joined, Judged, list[str]]:
    """Without the sides that validation does not miss, nor, under a budget, those that are missed least.

    None is left out that alone knows a class. A side is left out where the untrained rule without it has a
    loss that is not higher; over the budget the one goes whose leaving costs least loss for each millisecond,
    until the rest fits.
    """
    left: list[str] = []
    while free := _spare(made):
        whole = _loss(made.system, data)
        losses = {i: _loss(made.system, data.without(i)) - whole for i in free}
        total = sum(cost[one.given] for one in made.sides)
        per = {i: lost / max(cost[made.sides[i].given], 0.1) for i, lost in losses.items()}
        out = min(per, key=per.__getitem__)
        if losses[out] > 0 and (budget is None or total <= budget):
            break
        left.append(made.sides[out].given)
        kept = [i for i in range(len(made.sides)) if i != out]
        ordered = [made.sides[i] for i in kept]
        rest = joined(ordered, replace(wishes, classes=made.labels, weights=_of(wishes.weights, ordered)))
        data = replace(data, parts=tuple(data.parts[i] for i in kept), present=data.present[kept])
        made = rest
    return made, data, left


def _spare(made: Joined) -> list[int]:
    """The sides whose every class another side knows too."""
    spare = []
    for index, one in enumerate(made.sides):
        others = {name for i, side in enumerate(made.sides) if i != index for name in side.known}
        if one.mapped and set(made.labels) <= others:
            spare.append(index)
    return spare


def _of(weights: Mapping[str, float], sides: Iterable[Any]) -> dict[str, float]:
    names = {one.given for one in sides}
    return {name: value for name, value in weights.items() if name in names}


def _loss(system: Sides, data: Judged) -> float:
    logs = logs_of(system, untrained(system), data)
    return float(-logs.gather(-1, data.labels[:, None]).mean())


def _labelled(
    utterances: Iterable[Utterance], labels: Sequence[str], manifest: Path
) -> tuple[list[Utterance], list[int]]:
    """The utterances whose label is one of the classes, and its index; enough of them, of enough speakers."""
    chosen = [
        u if u.label in labels else replace(u, label=meaning(u.label) or u.label)
        for u in utterances
        if u.label
    ]
    known = [u for u in chosen if u.label in labels]
    if chosen and not known:
        names = ", ".join(sorted({str(u.label) for u in chosen})[:6])
        raise LabelError(f"{manifest}: its labels ({names}) are none of the classes {', '.join(labels)}")
    if len(known) < FEWEST:
        raise DataError(
            f"{manifest}: {len(known)} labelled clips of these classes; a fusion is fitted from {FEWEST} on"
        )
    speakers = {u.speaker for u in known}
    if len(speakers) < 3 or None in speakers:
        raise DataError(f"{manifest}: clips of three known speakers at least are needed, to test on others")
    return known, [list(labels).index(str(u.label)) for u in known]
