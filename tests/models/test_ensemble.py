"""Members: combined as by hand, weighted on what they are shown, and none disturbed by another."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from tests.models.synthetic import IDS, SMALL, batch_of
from undertone.errors import ConfigError
from undertone.models.ensemble import Ensemble, combine, fit_exponents, fit_weights
from undertone.models.multilevel import MultilevelConfig
from undertone.models.table import build

EVEN = torch.full((2,), 0.5)


def _scores(*members: list[list[float]]) -> torch.Tensor:
    return torch.tensor(members).log()


def test_mean_and_product_by_hand() -> None:
    scores = _scores([[0.8, 0.2]], [[0.5, 0.5]])
    here = torch.ones(2, 1, dtype=torch.bool)
    mean = combine(scores, here, "mean", EVEN, EVEN).exp()
    assert mean[0].tolist() == pytest.approx([0.65, 0.35])
    prior = torch.tensor([0.8, 0.2])
    product = combine(scores, here, "product", EVEN, prior).exp()  # 0.4 / 0.8 against 0.1 / 0.2
    assert product[0].tolist() == pytest.approx([0.5, 0.5])
    weighted = combine(scores, here, "weighted", torch.tensor([0.9, 0.1]), EVEN).exp()
    assert weighted[0, 0].item() == pytest.approx(0.9 * 0.8 + 0.1 * 0.5)


def test_a_pool_of_even_powers_is_the_product_and_a_power_of_0_is_silence() -> None:
    scores = _scores([[0.8, 0.2]], [[0.3, 0.7]])
    here, prior = torch.ones(2, 1, dtype=torch.bool), torch.tensor([0.6, 0.4])
    product = combine(scores, here, "product", EVEN, prior)
    torch.testing.assert_close(combine(scores, here, "pool", torch.ones(2), prior), product)
    alone = combine(scores, here, "pool", torch.tensor([1.0, 0.0]), prior).exp()
    assert alone[0].tolist() == pytest.approx([0.8, 0.2])


def test_powers_undo_what_a_member_claims_too_much() -> None:
    """One member tells the truth, one says the square of it, one knows nothing and is sure of it."""
    rng = np.random.default_rng(0)
    logits = torch.from_numpy(rng.normal(size=(2, 4000, 4)) * 1.5)
    truth = (logits[0] + logits[1]).softmax(-1)
    labels = torch.multinomial(truth, 1, generator=torch.Generator().manual_seed(0))[:, 0]
    noise = torch.from_numpy(rng.normal(size=(4000, 4)) * 3)
    said = torch.stack([logits[0], 2 * logits[1], noise]).softmax(-1)
    even = torch.full((4,), 0.25)
    powers = fit_exponents(said, labels, even, shrink=0.0)
    assert (powers / powers[0]).tolist() == pytest.approx([1.0, 0.5, 0.0], abs=0.06)
    assert powers[1] < 1 < powers[0]
    assert (powers >= 0).all()
    pulled = fit_exponents(said[:, :5], labels[:5], even, shrink=1e4)
    assert pulled.tolist() == pytest.approx([1.0] * 3, abs=0.01)


def test_a_member_that_is_left_alone_keeps_its_ranking_where_classes_are_rare() -> None:
    """Softened evidence beside an unsoftened prior would name frequent classes more often than it does."""
    rng = np.random.default_rng(1)
    prior = torch.tensor([0.7, 0.2, 0.1])
    honest = torch.from_numpy(rng.normal(size=(2000, 3))) + prior.log()
    labels = torch.multinomial(honest.softmax(-1), 1, generator=torch.Generator().manual_seed(1))[:, 0]
    loud = ((honest - prior.log()) * 3 + prior.log()).softmax(-1)
    noise = torch.from_numpy(rng.normal(size=(2000, 3)) * 3).softmax(-1)
    nothing = prior.double().expand(2000, 3)  # its power is what the pull says, and must not matter
    here = torch.ones(2, 2000, dtype=torch.bool)
    for other in (noise, nothing):
        said = torch.stack([loud, other])
        powers = fit_exponents(said, labels, prior, shrink=5.0)
        assert powers[0].item() == pytest.approx(1.0, abs=0.05)
        together = combine(said.log(), here, "pool", powers, prior)
        assert (together.argmax(-1) == loud.argmax(-1)).double().mean() > 0.97


@pytest.mark.parametrize("rule", ["mean", "weighted", "product"])
def test_who_is_not_there_says_nothing(rule: Any) -> None:
    scores = _scores([[0.8, 0.2]], [[0.1, 0.9]])
    left = combine(scores, torch.tensor([[True], [False]]), rule, EVEN, torch.tensor([0.7, 0.3]))
    assert left.exp()[0].tolist() == pytest.approx([0.8, 0.2])


def test_weights_find_the_member_that_knows() -> None:
    rng = np.random.default_rng(0)
    labels = torch.from_numpy(rng.integers(0, 4, size=2000))
    knows = torch.full((2000, 4), 0.1).scatter(1, labels[:, None], 0.7)
    guesses = torch.from_numpy(rng.dirichlet(np.ones(4), size=2000)).float()
    weights = fit_weights(torch.stack([guesses, knows]), labels, shrink=0.0)
    assert weights.sum().item() == pytest.approx(1.0)
    assert (weights >= 0).all() and weights[1] > 0.9
    few = fit_weights(torch.stack([guesses, knows])[:, :3], labels[:3], shrink=1000.0)
    assert few.tolist() == pytest.approx([0.5, 0.5], abs=0.01)


def test_weights_are_the_likeliest() -> None:
    """No other mixture of two makes the labels likelier."""
    rng = np.random.default_rng(1)
    labels = torch.from_numpy(rng.integers(0, 3, size=300))
    posteriors = torch.from_numpy(rng.dirichlet(np.ones(3), size=(2, 300)))
    posteriors[0, torch.arange(300), labels] += 0.3
    found = fit_weights(posteriors, labels, shrink=0.0)[0].item()
    right = posteriors[:, torch.arange(300), labels]
    grid = torch.linspace(0, 1, 1001)
    likelihood = [(w * right[0] + (1 - w) * right[1]).log().sum() for w in grid]
    assert found == pytest.approx(grid[int(torch.stack(likelihood).argmax())].item(), abs=5e-3)


def _ensemble(**settings: Any) -> Ensemble:
    torch.manual_seed(5)
    system = build("multilevel", SMALL | settings, IDS)
    assert isinstance(system, Ensemble)
    return system


def test_a_member_alone_is_as_in_company() -> None:
    """Same start, same dropout, same steps: number for number."""

    def trained(*members: str) -> dict[str, torch.Tensor]:
        system = _ensemble(members=list(members)).train()
        optimizer = torch.optim.Adam(system.parameters(), lr=1e-2)
        torch.manual_seed(11)
        for seed in range(4):
            batch = batch_of(6, seed=seed)
            optimizer.zero_grad()
            torch.stack(list(system.terms(system(batch), batch).values())).sum().backward()
            for member in system.members().values():
                torch.nn.utils.clip_grad_norm_(member.parameters(), 1.0)
            optimizer.step()
        return dict(system.members()["early-word"].state_dict())

    alone, company = trained("early-word"), trained("early-frame", "early-word", "late-phone")
    assert alone.keys() == company.keys()
    for name, value in alone.items():
        assert torch.equal(value, company[name]), name


def test_members_draw_their_own_numbers() -> None:
    """Two members of the same shape start differently."""
    system = _ensemble(members=["early-word", "early-phone"])
    one, other = (dict(m.named_parameters()) for m in system.members().values())
    assert not torch.equal(one["head.last.weight"], other["head.last.weight"])


def test_the_combination_is_fitted_on_what_it_is_given_and_kept_with_the_model() -> None:
    system = _ensemble(members=["early-word", "late-frame"], late="weighted")
    names = list(system.members())
    assert names == ["early-word", "late-frame", "late-text"]
    labels = torch.arange(100) % 4
    sure = torch.full((100, 4), 0.02).scatter(1, labels[:, None], 0.94)
    flat = torch.full((100, 4), 0.25)
    system.fit_combination({"early-word": flat, "late-frame": flat, "late-text": sure}, labels)
    state = system.state_dict()
    assert state["weights_1"][1] > 0.8  # within the late model: the text
    assert state["weights_all"][1] > 0.8  # then the late model against the early one
    assert state["prior"].tolist() == pytest.approx([0.25] * 4)


def test_a_pool_is_the_product_until_it_is_fitted() -> None:
    pool, product = (_ensemble(late=rule).eval() for rule in ("pool", "product"))
    batch = batch_of(3)
    torch.testing.assert_close(pool(batch).logits, product(batch).logits)
    labels = torch.arange(100) % 4
    sure = torch.full((100, 4), 0.02).scatter(1, labels[:, None], 0.94)
    noise = torch.full((100, 4), 0.02).scatter(1, labels[:, None].flip(0), 0.94)
    names = list(pool.members())
    pool.fit_combination({n: sure if n == "late-text" else noise for n in names}, labels)
    wrong, right = pool.state_dict()["weights_2"].tolist()
    assert wrong < 0.7 and right > 0.9


def test_posteriors_are_combined_within_groups_and_then_across() -> None:
    output = _ensemble(late="mean").eval()(batch_of(3))
    groups = [["early-frame"], ["early-word"], ["late-frame", "late-text"]]
    within = [torch.stack([output.members[n].softmax(-1) for n in g]).mean(0) for g in groups]
    torch.testing.assert_close(output.logits.exp(), torch.stack(within).mean(0))


def test_any_subset_of_members_is_one_line() -> None:
    assert MultilevelConfig.parse({"members": ["late-word"]}).members == ("late-word",)
    for wrong in ([], ["early-word", "early-word"], ["early-sentence"]):
        with pytest.raises(ConfigError, match="members"):
            MultilevelConfig.parse({"members": wrong})
