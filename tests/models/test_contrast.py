"""Alignment losses against slow obvious twins, and the batches that make such losses stumble."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import sqrtm

from tests.models.synthetic import IDS, VARIANTS, examples, make, total
from undertone.models.batch import collate
from undertone.models.contrast import (
    contrast,
    entropy_floor,
    hard_negatives,
    negatives,
    products,
    wasserstein,
)
from undertone.models.example import IGNORE

ALIGNING = [v for v in VARIANTS if v.split()[0] in ("mgcma", "unison") and v != "unison bare"]


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 4), st.integers(1, 4), st.integers(0, 99))
def test_wasserstein_is_the_general_matrix_formula(n: int, m: int, seed: int) -> None:
    """‖Δμ‖² + tr(A + B - 2 (A^½ B A^½)^½)"""
    rng = np.random.default_rng(seed)
    means = rng.normal(size=(n, 3)), rng.normal(size=(m, 3))
    stds = rng.uniform(0.1, 2, size=(n, 3)), rng.uniform(0.1, 2, size=(m, 3))
    fast = wasserstein(*(torch.from_numpy(x) for x in (means[0], stds[0], means[1], stds[1])))
    for i in range(n):
        for j in range(m):
            A, B = np.diag(stds[0][i] ** 2), np.diag(stds[1][j] ** 2)
            root = np.diag(stds[0][i])
            trace = np.trace(A + B - 2 * np.real(sqrtm(root @ B @ root)))
            slow = float(((means[0][i] - means[1][j]) ** 2).sum() + trace)
            assert fast[i, j].item() == pytest.approx(slow, rel=1e-4, abs=1e-4)


def test_identical_distributions_are_at_no_distance() -> None:
    mean, std = torch.randn(5, 8) * 100, torch.rand(5, 8)
    distance = wasserstein(mean, std, mean, std).diagonal()
    assert (distance >= 0).all()
    assert (distance <= 1e-6 * (mean**2).sum(-1)).all()


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_autocast_leaves_distances_and_products_at_full_precision(kind: torch.dtype) -> None:
    """A small distance is the difference of large products, which bf16 rounds by far more than itself."""
    torch.manual_seed(0)
    parts = [torch.randn(6, 64, dtype=kind) + 10 for _ in range(2)]
    stds = [torch.rand(6, 64, dtype=kind) for _ in range(2)]
    exact = wasserstein(parts[0].double(), stds[0].double(), parts[1].double(), stds[1].double())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = wasserstein(parts[0], stds[0], parts[1], stds[1])
        product = products(parts[0], parts[1])
    assert inside.dtype == product.dtype == kind
    torch.testing.assert_close(inside.double(), exact, rtol=1e-4, atol=1e-2)
    torch.testing.assert_close(
        product.double(), parts[0].double() @ parts[1].double().T, rtol=1e-5, atol=1e-3
    )


@pytest.mark.parametrize("variant", ["mgcma", "mgcma distribution", "mgcma instance"])
def test_alignment_terms_are_the_same_within_autocast(variant: str) -> None:
    """Of one and the same output: what they compute from it stays in single precision."""
    system, batch = make(variant).eval(), collate(examples(6), IDS)
    with torch.no_grad():
        output = system(batch)
        plain = system.terms(output, batch)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            cast = system.terms(output, batch)
    for name in {"distribution", "instance"} & plain.keys():
        torch.testing.assert_close(cast[name], plain[name], rtol=1e-6, atol=1e-6)


def _slow_contrast(sim: list[list[float]], labels: list[int], label_aware: bool) -> float:
    """Row by row and column by column; pairs of the anchor's own label do not count against it."""
    n = len(sim)
    total = 0.0
    for i in range(n):
        for along in (lambda j, i=i: sim[i][j], lambda j, i=i: sim[j][i]):
            rivals = [
                along(j) for j in range(n) if j == i or not (label_aware and labels[j] == labels[i] != IGNORE)
            ]
            total += 0.5 * (math.log(sum(math.exp(r) for r in rivals)) - sim[i][i])
    return total / n


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(-1, 2), min_size=1, max_size=6), st.booleans(), st.integers(0, 99))
def test_contrast_is_the_double_loop(labels: list[int], label_aware: bool, seed: int) -> None:
    torch.manual_seed(seed)
    sim = torch.randn(len(labels), len(labels))
    fast = contrast(sim, negatives(torch.tensor(labels), label_aware))
    assert fast.item() == pytest.approx(_slow_contrast(sim.tolist(), labels, label_aware), abs=1e-5)


def test_hard_negatives_never_share_the_label_and_prefer_the_similar() -> None:
    labels = torch.tensor([0, 0, 1, 1, 2, IGNORE, IGNORE])
    allowed = negatives(labels, label_aware=True)
    assert allowed[5, 6]  # what has no label is like nothing else
    draws = torch.Generator().manual_seed(0)
    sim = torch.zeros(7, 7)
    sim[0, 4] = 5.0
    picks = []
    for _ in range(200):
        rows, columns = hard_negatives(sim, allowed, draws)
        assert rows.tolist() == list(range(7))
        assert all(r != c and (labels[r] != labels[c] or labels[r] == IGNORE)
                   for r, c in zip(rows, columns, strict=True))  # fmt: skip
        picks.append(int(columns[0]))
    assert picks.count(4) > 150
    assert len(set(hard_negatives(sim, allowed, draws)[1].tolist())) > 1


def test_a_generator_fixes_the_draw() -> None:
    allowed = negatives(torch.arange(6), label_aware=True)
    draws = [
        hard_negatives(torch.zeros(6, 6), allowed, torch.Generator().manual_seed(4))[1] for _ in range(2)
    ]
    assert torch.equal(*draws)


def test_without_label_awareness_all_others_are_negatives() -> None:
    assert negatives(torch.zeros(4), label_aware=False).sum() == 12
    assert negatives(torch.zeros(4), label_aware=True).sum() == 0


def test_the_entropy_floor_pushes_up_what_has_sunk() -> None:
    log_std = torch.tensor([[-3.0, -1.0], [2.0, 2.0]], requires_grad=True)
    loss = entropy_floor(log_std, 0.0)
    loss.backward()
    assert loss.item() == pytest.approx(1.0)  # (2 + 0) / 2
    assert (log_std.grad[0] < 0).all() and not log_std.grad[1].any()


@pytest.mark.parametrize("variant", ALIGNING)
@pytest.mark.parametrize("kind", ["one", "one label", "identical pairs", "no labels"])
def test_awkward_batches_do_not_give_nan(variant: str, kind: str) -> None:
    items = examples(6)
    if kind == "one":
        items = items[:1]
    elif kind == "identical pairs":
        items = [items[0]] * 6
    elif kind != "one":
        items = [type(e)(**{**e.__dict__, "label": 1 if kind == "one label" else IGNORE}) for e in items]
    system = make(variant).train()
    loss = total(system, collate(items, IDS))
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(p.grad).all() for p in system.parameters() if p.grad is not None)


def test_the_first_distribution_loss_is_about_that_of_guessing() -> None:
    """At full size, unrelated speech and text: similarities neither flat nor saturated."""
    from tests.models.synthetic import VECTORS, batch_of
    from undertone.models.example import Dimensions

    dims = Dimensions(classes=4, speech=768, text=768)
    assert VECTORS.classes == dims.classes
    system = make("mgcma", dims, width=256)
    batch = batch_of(32, dims)
    output = system(batch)
    distance = -system._similarity(output.extra, torch.ones(32, dtype=torch.bool))
    assert distance.min() > 0 and distance.max() < 40
    assert 2 < distance.max() - distance.min() + distance.mean() < 40
    unaware = negatives(torch.arange(32), False)
    assert contrast(-distance, unaware).item() == pytest.approx(math.log(32), rel=0.4)
