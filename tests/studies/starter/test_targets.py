"""Classes and corpora that are common get no more than those that are not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from studies.starter.judges import Draws, JudgesConfig, fit_judge, shares
from studies.starter.targets import KINDS, MEANS, TargetsConfig, loss
from undertone.models.kinds import KindClassifier, class_scores

SAD, NEUTRAL = 2, 3


def test_each_corpus_and_in_it_each_class_is_drawn_alike() -> None:
    corpora = np.array(["a"] * 90 + ["b"] * 10)
    kinds = np.array([NEUTRAL] * 60 + [0, 1, 2] * 10 + [0, 1, 2, 3, 3] * 2)
    variants = np.tile([0, 1], 50)
    drawn = shares(corpora, kinds, variants, Draws(varied=0.5))
    assert drawn.sum() == pytest.approx(1.0)
    assert drawn[corpora == "b"].sum() == pytest.approx(0.5)
    for corpus in "ab":
        for label in range(4):
            assert drawn[(corpora == corpus) & (kinds == label)].sum() == pytest.approx(0.125)


def test_where_nothing_tells_them_apart_classes_drawn_alike_are_as_likely() -> None:
    """Sad and neutral clips sound alike, of which four in five are neutral."""
    kinds = np.repeat([0, 1, SAD, NEUTRAL, KINDS.index("none")], [50, 50, 50, 200, 40])
    rng = np.random.default_rng(0)
    centres = np.minimum(kinds, SAD)[:, None] - 6.0 * (kinds == KINDS.index("none"))[:, None]
    rows = (rng.normal(size=(len(kinds), 20)) * 0.3 + 2.0 * centres).astype(np.float32)
    drawn = shares(np.array(["a"] * len(kinds)), kinds, np.zeros(len(kinds)), Draws())
    torch.manual_seed(0)
    net = KindClassifier(1, 10, "all", len(KINDS), 16, 0.0)
    config = JudgesConfig(steps=200, batch=64, rate=5e-3)
    fit_judge(net, rows, kinds, drawn, config, TargetsConfig(smoothing=0.0), 0)
    with torch.inference_mode():
        found = class_scores(net(torch.full((1, 20), 4.0)), MEANS).exp()[0]
    assert float(found[NEUTRAL] / (found[NEUTRAL] + found[SAD])) == pytest.approx(0.5, abs=0.08)


def test_a_clip_pays_for_its_kind_and_where_it_has_one_for_its_class() -> None:
    scores = torch.randn(2, len(KINDS), generator=torch.Generator().manual_seed(0))
    config = TargetsConfig(smoothing=0.0)
    calm, surprised = KINDS.index("calm"), KINDS.index("surprised")
    classed, other = loss(scores, torch.tensor([calm, surprised]), config)
    by_class = -class_scores(scores, MEANS)[0, NEUTRAL]
    by_kind = F.cross_entropy(scores, torch.tensor([calm, surprised]), reduction="none")
    assert float(classed) == pytest.approx(float(config.kind * by_kind[0] + by_class), abs=1e-5)
    assert float(other) == pytest.approx(float((config.kind + 0.5) * by_kind[1]), abs=1e-5)
