"""Every system with every target: votes, dimensions and several emotions, alone and beside the class."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.models.synthetic import IDS, VARIANTS, examples, make, total
from undertone.models.batch import Batch, collate
from undertone.models.example import Example
from undertone.models.folder import load, save
from undertone.models.system import System
from undertone.models.table import SYSTEMS
from undertone.models.targets import Target
from undertone.training.config import TrainingConfig
from undertone.training.dataset import Dataset
from undertone.training.heads import STRENGTH, _loss, _read
from undertone.training.inference import infer
from undertone.training.loop import fit

ONE = {name: next(v for v, (own, _) in VARIANTS.items() if own == name) for name in SYSTEMS}
"""One variant of each system."""
TARGETS = {
    "distribution": ("distribution",),
    "dimensions": ("dimensions",),
    "multilabel": ("multilabel",),
    "all": ("class", "distribution", "dimensions", "multilabel"),
}
each = pytest.mark.parametrize("name", SYSTEMS)
every_target = pytest.mark.parametrize("kinds", TARGETS.values(), ids=TARGETS)


def target_of(kinds: tuple[str, ...]) -> Target:
    names = ("arousal", "valence") if "dimensions" in kinds else ()
    return Target.parse({"weights": dict.fromkeys(kinds, 0.5), "dimensions": names})


def rated(count: int, known: float = 0.8) -> list[Example]:
    """Examples of which most have votes and ratings."""
    random = np.random.default_rng(5)
    made = []
    for item in examples(count):
        votes, ratings = random.dirichlet(np.ones(4)), random.random(2)
        ratings[random.random(2) > known] = np.nan
        votes = votes if random.random() < known else np.full(4, np.nan)
        further = {"votes": votes.astype(np.float32), "ratings": ratings.astype(np.float32)}
        made.append(replace(item, targets={**item.targets, **further}))
    return made


def aimed(name: str, kinds: tuple[str, ...]) -> System:
    system = make(ONE[name])
    system.aim(target_of(kinds))
    return system


def batch() -> Batch:
    return collate(rated(8), IDS)


@each
@every_target
def test_a_loss_is_finite_and_reaches_every_head(name: str, kinds: tuple[str, ...]) -> None:
    system = aimed(name, kinds).train()
    total(system, batch()).backward()
    heads = [(n, p) for n, p in system.named_parameters() if "target_heads" in n]
    assert heads
    assert not [n for n, p in heads if p.grad is None or not torch.isfinite(p.grad).all() or not p.grad.any()]
    assert {n for n in system.weights if n.endswith(" target")} == {
        f"{k} target" for k in kinds if k != "class"
    }
    if "class" not in kinds:
        assert set(system.weights) == {f"{k} target" for k in kinds}


@each
@every_target
def test_each_output_is_a_distribution_or_lies_on_its_scale(name: str, kinds: tuple[str, ...]) -> None:
    system = aimed(name, kinds)
    output = system(batch())
    posteriors = system.posteriors(output.logits)
    torch.testing.assert_close(posteriors.sum(-1), torch.ones(8))
    made = system.asides(output)
    for kind, values in made.items():
        if kind in ("dimensions", "several", "distribution"):
            assert ((values >= 0) & (values <= 1)).all(), kind
    if "dimensions" in kinds:
        assert made["dimensions"].shape == made["spread"].shape == (8, 2)
        assert (made["spread"] > 0).all()
    if kinds == ("dimensions",):
        torch.testing.assert_close(posteriors, torch.full((8, 4), 0.25))
    if kinds == ("distribution",) and len(system.members()) == 1:
        (one,) = output.targets.values()
        torch.testing.assert_close(posteriors, one["distribution"].softmax(-1))


@each
def test_the_heads_change_nothing_of_the_class(name: str) -> None:
    """With further targets the same seed gives the same trunk, and the same logits before any step."""
    alone, together = make(ONE[name]), aimed(name, TARGETS["all"])
    torch.testing.assert_close(together(batch()).logits, alone(batch()).logits, rtol=0, atol=0)


@each
@every_target
def test_saving_and_loading_keeps_the_targets(name: str, kinds: tuple[str, ...], tmp_path: Path) -> None:
    system = aimed(name, kinds)
    save(tmp_path / "model", system, {"labels": ["a", "b", "c", "d"]})
    loaded = load(tmp_path / "model").system
    assert loaded.target == system.target
    ours, theirs = system(batch()), loaded(batch())
    torch.testing.assert_close(theirs.logits, ours.logits, rtol=0, atol=0)
    for kind, values in system.asides(ours).items():
        torch.testing.assert_close(loaded.asides(theirs)[kind], values, rtol=0, atol=0)


@each
@every_target
def test_neighbours_and_missing_sides_change_nothing(name: str, kinds: tuple[str, ...]) -> None:
    system, items = aimed(name, kinds), rated(4)
    items[3] = replace(items[3], speech=None, segments={}, segment_word={})
    together = system.asides(system(collate(items, IDS)))
    for i, item in enumerate(items):
        for kind, values in system.asides(system(collate([item], IDS))).items():
            torch.testing.assert_close(values[0], together[kind][i], rtol=0, atol=1e-5)


@each
def test_training_on_every_target_learns_and_keeps_the_best_epoch(name: str) -> None:
    system = aimed(name, TARGETS["all"])
    data = Dataset(rated(16, known=1.0), IDS)
    config = TrainingConfig(epochs=2, batch=8, rate=0.01)
    fitted = fit(system, data, data, config, score=lambda y, p: float((p.argmax(-1) == y).mean()), seed=1)
    outputs = infer(fitted.system, data)
    assert outputs.asides["dimensions"].shape == (16, 2)
    assert all(np.isfinite(values).all() for values in outputs.asides.values())


@each
def test_heads_on_a_detached_trunk_leave_the_class_as_it_is_alone(name: str) -> None:
    def trained(target: Target | None) -> torch.Tensor:
        system = make(ONE[name])
        if target is not None:
            system.aim(target)
        data = Dataset(rated(16, known=1.0), IDS)
        config = TrainingConfig(epochs=2, batch=8, rate=0.01, averaging=2.0)
        fit(system, data, data, config, score=lambda y, p: float((p.argmax(-1) == y).mean()), seed=1)
        return system(batch()).logits

    target = Target.parse(target_of(TARGETS["all"]).plain() | {"trunk": "detached"})
    target = Target.parse(target.plain() | {"weights": target.weights | {"class": 1.0}})
    torch.testing.assert_close(trained(target), trained(None), rtol=0, atol=1e-6)


@each
@pytest.mark.parametrize("kinds", [("distribution",), ("dimensions",), ("multilabel",)])
def test_without_the_class_no_label_is_needed(name: str, kinds: tuple[str, ...]) -> None:
    items = [replace(item, label=-1) for item in rated(12, known=1.0)]
    data = Dataset(items, IDS)
    config = TrainingConfig(epochs=2, batch=8, rate=0.01)
    fitted = fit(aimed(name, kinds), data, data, config, score=lambda y, p: 0.0, seed=1)
    assert all(np.isfinite(record["validation_target"]) for record in fitted.history)


@each
def test_heads_on_a_detached_trunk_end_where_their_losses_are_least(name: str) -> None:
    """Over the whole training part, with the penalty: no step from there lowers them."""
    system, data = make(ONE[name]), Dataset(rated(16), IDS)
    target = target_of(TARGETS["all"]).plain() | {"trunk": "detached"}
    system.aim(Target.parse(target))
    fit(system, data, data, TrainingConfig(epochs=1, batch=8), score=lambda y, p: 0.5, seed=1)
    if system.solutions:
        return  # solved as a whole
    read, truth = _read(system, data, 8)
    for member, heads in system.aimed().items():
        known = {kind: truth[member, kind] for kind in system.target.further}
        size = torch.stack([p.square().sum() for p in heads.parameters() if p.ndim > 1]).sum()
        slopes = []
        for penalty in (0.5 * size / (STRENGTH * 16), 0.0):
            heads.zero_grad()
            (_loss(system, heads, read[member], known) + penalty).backward()
            slopes.append(max(p.grad.abs().max().item() for p in heads.parameters()))
        assert slopes[0] < 0.5 * slopes[1], "less the penalty, the losses would fall further"
