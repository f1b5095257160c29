from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import Tiny, dataset
from torch.nn import functional as F

from tests.models.synthetic import IDS, examples, make
from undertone.models.targets import Target
from undertone.training.config import TrainingConfig
from undertone.training.dataset import Dataset
from undertone.training.objective import (
    Objective,
    Share,
    class_weights,
    classification_loss,
    label_counts,
    set_criteria,
)

LOGITS = torch.randn(7, 3, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 2, 1, -1, 1, 1, 0])
WHOLE = Share()


def test_plain_settings_are_cross_entropy() -> None:
    torch.testing.assert_close(
        classification_loss(LOGITS, LABELS), F.cross_entropy(LOGITS, LABELS, ignore_index=-1)
    )


def test_smoothing_is_torchs() -> None:
    ours = classification_loss(LOGITS, LABELS, smoothing=0.2)
    torch.testing.assert_close(ours, F.cross_entropy(LOGITS, LABELS, ignore_index=-1, label_smoothing=0.2))


def test_focal_loss_by_hand() -> None:
    logits = torch.tensor([[0.0, 0.0]])  # posterior 1/2 each: ln 2 · (1/2)²
    ours = classification_loss(logits, torch.tensor([0]), focal=2.0)
    assert float(ours) == pytest.approx(0.6931472 / 4)


def test_class_weights_have_mean_one_over_the_labels() -> None:
    labels = torch.tensor([0, 0, 0, 1, -1])
    weights = class_weights(label_counts(labels, 3))
    assert weights.tolist() == pytest.approx([4 / 6, 2.0, 0.0])
    assert float(weights[labels[labels >= 0]].mean()) == pytest.approx(1.0)
    rooted = class_weights(label_counts(labels, 3), power=0.5)
    assert float(rooted[1] / rooted[0]) == pytest.approx(3.0**0.5)
    assert float(rooted[labels[labels >= 0]].mean()) == pytest.approx(1.0)


def test_classes_are_weighted_by_the_sums_of_votes_where_these_are_learned() -> None:
    system = make("concat")
    system.aim(Target(weights={"distribution": 1.0}))
    votes = np.array([[0.5, 0.5, 0, 0], [1, 0, 0, 0], [0, 0.5, 0.5, 0], [np.nan] * 4], np.float32)
    items = [replace(e, targets={"votes": v}) for e, v in zip(examples(4), votes, strict=True)]
    train = Dataset(items, IDS)
    set_criteria(system, train, TrainingConfig(class_weights=True), True)
    logits, shares = torch.zeros(1, 4), torch.eye(4)
    seen = [float(system.soft_criterion(logits, shares[c : c + 1])) for c in range(3)]
    assert seen[0] / seen[2] == pytest.approx(0.5 / 1.5)  # n = 1.5, 1, 0.5
    assert seen[1] / seen[2] == pytest.approx(0.5 / 1.0)
    set_criteria(system, train, TrainingConfig(class_weights=True), False)
    assert float(system.soft_criterion(logits, shares[:1])) == pytest.approx(float(np.log(4)))


def test_nothing_labelled_is_a_loss_of_zero_with_a_gradient() -> None:
    logits = LOGITS.clone().requires_grad_()
    loss = classification_loss(logits, torch.full((7,), -1))
    loss.backward()
    assert loss.item() == 0 and logits.grad is not None


def test_the_total_is_the_weighted_sum() -> None:
    system = Tiny()
    loss = Objective(system)(dataset(6).batch([0, 1, 2, 3]), WHOLE)
    expected = sum(system.weights[name] * value for name, value in loss.terms.items())
    assert set(loss.terms) == {"fused", "summed", "contrast"}
    torch.testing.assert_close(loss.total, torch.as_tensor(expected))


@pytest.mark.parametrize("name", ["fused", "summed", "contrast"])
def test_a_term_moves_the_parameters_when_on_and_not_when_off(name: str) -> None:
    def gradient(weight: float) -> torch.Tensor:
        torch.manual_seed(0)
        system = Tiny()
        system.weights = dict.fromkeys(system.weights, 0.0) | {name: weight}
        total = Objective(system)(dataset(6).batch([0, 1, 2]), WHOLE).total
        if total.requires_grad:
            total.backward()
        return torch.cat(
            [
                torch.zeros_like(p).flatten() if p.grad is None else p.grad.flatten()
                for p in system.parameters()
            ]
        )

    assert gradient(1.0).abs().sum() > 0
    assert gradient(0.0).abs().sum() == 0


def test_parts_of_a_step_add_up_to_the_whole() -> None:
    data = dataset(8)
    system = Tiny()
    system.weights["contrast"] = 0.0  # a contrast over parts sees fewer others: not the same by nature
    objective = Objective(system)
    whole = objective(data.batch(range(8)), WHOLE).total
    parts = [objective(data.batch(p), Share(len(p) / 8, 1, 2)).total for p in ([0, 1, 2], [3, 4, 5, 6, 7])]
    torch.testing.assert_close(whole, sum(parts))
