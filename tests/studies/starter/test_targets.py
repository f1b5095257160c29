"""Classes that are common get no more than those that are not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from studies.starter.judges import JudgesConfig, fit_judge
from studies.starter.targets import KINDS, LABELS, MEANS, TargetsConfig, head_start, loss
from undertone.models.compact.classifiers import FunctionalsClassifier, class_scores, size_of

SAD, NEUTRAL = 2, 3


def _lopsided(rare: int, common: int) -> np.ndarray:
    """Labels of so many sad clips and neutral ones, and of the others; only their class is known."""
    classes = np.repeat([0, 1, SAD, NEUTRAL], [rare, rare, rare, common])
    return len(KINDS) + classes


def test_a_head_start_is_the_logarithm_of_how_common_a_class_is() -> None:
    prior = head_start(_lopsided(50, 200), TargetsConfig())
    assert float(prior[NEUTRAL] - prior[SAD]) == pytest.approx(np.log(4.0))
    assert prior[NEUTRAL] == prior[KINDS.index("calm")], "both are the neutral class"
    assert not prior[[k for k, mean in enumerate(MEANS) if mean < 0]].any()
    assert not head_start(_lopsided(50, 200), TargetsConfig(level=0.0)).any()


@pytest.mark.parametrize(("level", "wanted"), [(1.0, 0.5), (0.0, 0.8)])
def test_where_nothing_tells_them_apart_classes_are_as_likely_as_they_are_common_or_alike(
    level: float, wanted: float
) -> None:
    """Sad and neutral clips sound alike, of which four in five are neutral."""
    labels = _lopsided(50, 200)
    classes = labels - len(KINDS)
    rng = np.random.default_rng(0)
    size = size_of(10, ["contour"])
    centres = np.minimum(classes, SAD)[:, None, None]
    spoken = (rng.normal(size=(len(classes), 3, size)) * 0.3 + 2.0 * centres).astype(np.float32)
    sounds = (rng.normal(size=(40, size)) - 6.0).astype(np.float32)
    torch.manual_seed(0)
    net = FunctionalsClassifier(10, ["contour"], len(KINDS), 16, 0.0)
    config = JudgesConfig(hidden=16, epochs=40, batch=64, rate=5e-3, sounds=40)
    fit_judge(net, labels, spoken, sounds, config, TargetsConfig(level=level, smoothing=0.0), 0)
    alike = torch.full((1, size), 4.0)
    with torch.inference_mode():
        shares = class_scores(net(alike), MEANS).exp()[0]
    assert float(shares[NEUTRAL] / (shares[NEUTRAL] + shares[SAD])) == pytest.approx(wanted, abs=0.08)


def test_a_clip_of_which_only_the_class_is_known_pays_for_its_class_alone() -> None:
    scores = torch.randn(2, len(KINDS), generator=torch.Generator().manual_seed(0))
    config = TargetsConfig(smoothing=0.0, coarse=1.0)
    calm = KINDS.index("calm")
    classed, named = loss(scores, torch.tensor([LABELS.index((k, NEUTRAL)) for k in (-1, calm)]), config)
    assert float(classed) == pytest.approx(-float(class_scores(scores, MEANS)[0, NEUTRAL]), abs=1e-5)
    by_kind = F.cross_entropy(scores[1:], torch.tensor([calm]))
    by_class = -class_scores(scores, MEANS)[1, NEUTRAL]
    assert float(named) == pytest.approx(float(config.fine * by_kind + 0.7 * by_class), abs=1e-5)
