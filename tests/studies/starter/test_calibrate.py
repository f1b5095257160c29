"""Plant how sure a model is, and find it again."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from studies.starter.calibrate import NEAR, SpeechScores, fit_fusion, fit_speech, levelled, pairs, threshold
from studies.starter.recipe import Abstaining
from studies.starter.targets import MEANS
from undertone.models.kinds import class_scores


def _drawn(posterior: torch.Tensor, seed: int = 0) -> torch.Tensor:
    return torch.multinomial(posterior, 1, generator=torch.Generator().manual_seed(seed))[:, 0]


def _scores(kinds: torch.Tensor, distance: torch.Tensor, labels: torch.Tensor) -> SpeechScores:
    near = torch.zeros(len(labels), dtype=torch.bool)
    return SpeechScores(kinds, distance, labels, near, torch.zeros_like(labels))


@pytest.mark.parametrize(("heat", "power"), [(0.5, 0.5), (1.0, 1.0), (2.2, 0.4)])
def test_a_planted_temperature_and_its_growth_with_the_distance_are_found(heat: float, power: float) -> None:
    generator = torch.Generator().manual_seed(1)
    kinds = 3 * torch.randn(8000, len(MEANS), generator=generator)
    kinds[:, -1] = -20.0
    distance = 0.3 + 2 * torch.rand(8000, generator=generator)
    labels = _drawn(class_scores(kinds, MEANS, heat * distance[:, None] ** power).exp())
    found = fit_speech(kinds, _scores(kinds, distance, labels))
    assert found == pytest.approx((heat, power), rel=0.15)


def test_the_corpora_of_near_speech_count_the_same_and_of_far_speech_as_many_as_they_are() -> None:
    far = torch.tensor([True] * 10 + [False] * 40)
    corpus = torch.tensor([0] * 2 + [1] * 8 + [0] * 30 + [2] * 10)
    weight = SpeechScores(torch.zeros(50, len(MEANS)), torch.ones(50), corpus, far, corpus).weight
    assert float(weight[far].sum()) == pytest.approx(1.0) and float(weight[~far].sum()) == pytest.approx(NEAR)
    assert float(weight[10:40].sum()) == pytest.approx(NEAR / 2)  # three times as many count the same
    torch.testing.assert_close(weight[:10], torch.full((10,), 0.1))
    for alone in (torch.zeros_like(far), torch.ones_like(far)):
        weight = SpeechScores(torch.zeros(50, 9), torch.ones(50), corpus, alone, corpus).weight
        assert bool(weight.isfinite().all()) and float(weight.sum()) > 0


def test_common_classes_are_lowered_by_the_logarithm_of_their_share_as_far_as_wanted() -> None:
    labels = torch.tensor([0] * 10 + [1] * 10 + [2] * 20 + [3] * 40)
    whole = levelled(labels, 1.0)
    torch.testing.assert_close((-whole).softmax(-1), torch.tensor([0.125, 0.125, 0.25, 0.5]))
    torch.testing.assert_close(levelled(labels, 0.5), whole / 2)
    assert not levelled(labels, 0.0).any()


def test_a_rare_class_counts_as_much_as_a_common_one() -> None:
    """Speech and text say nothing; how common the classes are is not learned."""
    nothing = torch.zeros(1000, 4).log_softmax(-1)
    labels = torch.tensor([0] * 100 + [1] * 100 + [2] * 100 + [3] * 700)
    _, shift = fit_fusion(nothing, nothing, labels, pull=1e-5)
    assert float(shift.softmax(-1)[3]) == pytest.approx(0.25, abs=0.02)


def test_a_planted_balance_is_found() -> None:
    generator = torch.Generator().manual_seed(2)
    speech, text = (2 * torch.randn(6000, 4, generator=generator)).log_softmax(-1), None
    text = (2 * torch.randn(6000, 4, generator=generator)).log_softmax(-1)
    shift = torch.tensor([0.5, 0.0, -0.5, 0.0])
    labels = _drawn((1.2 * speech + 0.4 * text + shift).softmax(-1))
    balance, found = fit_fusion(speech, text, labels)
    assert balance.tolist() == pytest.approx([1.2, 0.4], abs=0.08)
    level = shift - torch.bincount(labels).log()  # classes are made to count the same
    assert (found - found.mean()).tolist() == pytest.approx((level - level.mean()).tolist(), abs=0.12)


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
