"""Votes: distances and agreements that are known, against loops that are obvious."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from undertone.evaluation import raters
from undertone.evaluation.report import render
from undertone.evaluation.results import evaluate
from undertone.types import Utterance

from .conftest import LABELS, make_run, people

Votes = list[list[int]]


def ask(rng: np.random.Generator, utterance: Utterance, count: int = 5, sure: float = 0.6) -> Utterance:
    """The utterance with votes of ``count`` raters, who name its class as often as ``sure`` says."""
    share = np.where(np.array(LABELS) == utterance.label, sure, (1 - sure) / 3)
    drawn = rng.multinomial(count, share / share.sum())
    votes = {label: float(n) for label, n in zip(LABELS, drawn, strict=True) if n}
    return replace(utterance, votes=votes)


def slowly(votes: Votes, label: list[int]) -> tuple[float, float]:
    """Agreement by taking every single vote away in turn."""
    model, human, cases = 0.0, 0.0, 0
    for row, mine in zip(votes, label, strict=True):
        for c, n in enumerate(row):
            for _ in range(n):
                rest = [m - (k == c) for k, m in enumerate(row)]
                best = [k for k, m in enumerate(rest) if m == max(rest)]
                cases += 1
                model += (mine in best) / len(best)
                human += (c in best) / len(best)
    return model / cases, human / cases


@given(
    st.lists(st.tuples(st.lists(st.integers(0, 4), min_size=3, max_size=3), st.integers(0, 2)), min_size=1)
)
def test_agreement_is_that_of_the_obvious_loop(rows: list[tuple[list[int], int]]) -> None:
    rows = [(votes, label) for votes, label in rows if sum(votes) >= 2]
    if not rows:
        return
    votes, labels = [r[0] for r in rows], [r[1] for r in rows]
    quick = raters.agreement(np.array(votes, float), np.array([labels]))
    assert quick == pytest.approx(slowly(votes, labels))


def test_divergence_is_scipys() -> None:
    rng = np.random.default_rng(0)
    share, posterior = rng.dirichlet(np.ones(4), 20), rng.dirichlet(np.ones(4), (2, 20))
    wanted = stats.entropy(np.broadcast_to(share, posterior.shape), posterior, axis=-1)
    assert raters.divergence(share, posterior) == pytest.approx(wanted)


def test_a_run_is_measured_beside_its_raters(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    asked = [ask(rng, u) for u in people()]
    some = [replace(u, votes={}) if n % 4 == 0 else u for n, u in enumerate(asked)]
    good, bad = (
        evaluate(make_run(tmp_path / name, skill, utterances=some))
        for name, skill in (("a", 3.0), ("b", 0.3))
    )
    assert good.raters is not None
    assert bad.raters is not None
    assert good.raters.n == 300
    assert good.raters.kl.value < bad.raters.kl.value
    assert good.raters.kl.low < good.raters.kl.value < good.raters.kl.high
    assert good.raters.human == bad.raters.human
    assert good.raters.model > good.raters.human > bad.raters.model
    assert good.plain()["raters"]["kl"]["units"] == 5


def test_the_interval_holds_the_mean_as_often_as_it_says() -> None:
    rng = np.random.default_rng(2)
    inside = 0
    for _ in range(400):
        shift = rng.normal(0, 1, 12)
        units = np.repeat(np.arange(12), 20)
        made = raters.mean_interval(1.0 + shift[units] + rng.normal(0, 1, 240), [str(u) for u in units])
        inside += made.low <= 1.0 <= made.high
    assert 0.92 <= inside / 400 <= 0.98


def test_without_votes_there_is_no_such_section(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    plain = make_run(tmp_path / "plain")
    render([plain], tmp_path / "plain.html")
    assert "Beside the raters" not in (tmp_path / "plain.html").read_text(encoding="utf-8")
    asked = make_run(tmp_path / "asked", utterances=[ask(rng, u) for u in people()])
    render([asked], tmp_path / "asked.html")
    for name in ("asked.html", "asked.md"):
        assert "Beside the raters" in (tmp_path / name).read_text(encoding="utf-8")
