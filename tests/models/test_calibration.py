"""A planted temperature is found, and what was not seen gets likelier."""

from __future__ import annotations

import pytest
import torch

from tests.models.synthetic import batch_of, make
from undertone.models.calibration import COLDEST, HOTTEST, calibrate, fit_temperature
from undertone.models.example import IGNORE
from undertone.models.system import cross_entropy


def _planted(temperature: float, count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Labels drawn from the posteriors, and logits that are ``temperature`` times too sure."""
    draws = torch.Generator().manual_seed(seed)
    honest = 2 * torch.randn(count, 4, generator=draws)
    labels = torch.multinomial(honest.softmax(-1), 1, generator=draws)[:, 0]
    return honest * temperature, labels


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_a_planted_temperature_is_found(temperature: float) -> None:
    assert fit_temperature(*_planted(temperature, 20_000, 0)) == pytest.approx(temperature, rel=0.05)


def test_it_is_the_minimum() -> None:
    logits, labels = _planted(2.0, 200, 1)
    best = fit_temperature(logits, labels)
    losses = [float(cross_entropy(logits / (best * f), labels)) for f in (0.98, 1.0, 1.02)]
    assert losses[1] == min(losses)


def test_held_out_loss_falls_and_no_decision_changes() -> None:
    system = make("concat")
    before, after = calibrate(system, *_planted(3.0, 300, 2))
    assert after < before
    logits, labels = _planted(3.0, 2_000, 3)
    posteriors = system.posteriors(logits)
    held_out = -posteriors[torch.arange(2_000), labels].log().mean()
    assert held_out < cross_entropy(logits, labels) - 0.2
    assert torch.equal(posteriors.argmax(-1), logits.argmax(-1))


def test_extremes_stay_finite() -> None:
    labels = torch.tensor([0, 1, 2, 3])
    sure = 10.0 * torch.eye(4)
    assert COLDEST <= fit_temperature(sure, labels) < 0.5
    assert fit_temperature(sure, labels.flip(0)) == pytest.approx(HOTTEST, rel=1e-6)
    assert fit_temperature(sure, torch.full((4,), IGNORE)) == 1.0


def test_a_fresh_system_takes_its_logits_as_they_are() -> None:
    system, batch = make("unison"), batch_of(3)
    logits = system(batch).logits
    torch.testing.assert_close(system.posteriors(logits), logits.softmax(-1))
