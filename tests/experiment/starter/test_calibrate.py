"""Plant how sure a model is, and find it again."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from undertone.experiment.starter.calibrate import fit_fusion, fit_speech, pairs, threshold
from undertone.experiment.starter.recipe import Abstaining
from undertone.experiment.starter.speech import MEANS
from undertone.models.compact import class_scores


def _drawn(posterior: torch.Tensor, seed: int = 0) -> torch.Tensor:
    return torch.multinomial(posterior, 1, generator=torch.Generator().manual_seed(seed))[:, 0]


@pytest.mark.parametrize("heat", [0.5, 1.0, 2.2])
def test_a_planted_temperature_is_found(heat: float) -> None:
    kinds = 3 * torch.randn(4000, len(MEANS), generator=torch.Generator().manual_seed(1))
    kinds[:, -1] = -20.0
    labels = _drawn(class_scores(kinds, MEANS, heat).exp())
    assert fit_speech(kinds, labels) == pytest.approx(heat, rel=0.12)


def test_a_planted_balance_is_found() -> None:
    generator = torch.Generator().manual_seed(2)
    speech, text = (2 * torch.randn(6000, 4, generator=generator)).log_softmax(-1), None
    text = (2 * torch.randn(6000, 4, generator=generator)).log_softmax(-1)
    shift = torch.tensor([0.5, 0.0, -0.5, 0.0])
    labels = _drawn((1.2 * speech + 0.4 * text + shift).softmax(-1))
    balance, found = fit_fusion(speech, text, labels)
    assert balance.tolist() == pytest.approx([1.2, 0.4], abs=0.08)
    assert (found - found.mean()).tolist() == pytest.approx(shift.tolist(), abs=0.12)


def test_pairs_are_of_one_class_and_the_same_for_a_seed() -> None:
    spoken, written = torch.arange(40) % 4, torch.arange(1000) % 4
    first, second = pairs(spoken, written, seed=3)
    assert torch.equal(spoken[first], written[second])
    assert torch.equal(second, pairs(spoken, written, seed=3)[1])
    assert not torch.equal(second, pairs(spoken, written, seed=4)[1])


def test_no_more_than_the_wanted_share_abstains_of_any_input() -> None:
    generator = torch.Generator().manual_seed(4)
    inputs = [(k * torch.randn(2000, 4, generator=generator)).softmax(-1) for k in (1.0, 2.0, 4.0)]
    least = threshold(inputs, Abstaining(share=0.1))
    shares = [float((p.max(-1).values < least).float().mean()) for p in inputs]
    assert max(shares) == pytest.approx(0.1, abs=0.005)
    assert threshold([F.one_hot(torch.arange(4)).float()], Abstaining()) == Abstaining().highest
