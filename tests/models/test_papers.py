"""docs/papers.md names code that exists and switches that work."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

from tests.models.synthetic import IDS
from undertone.config import apply_overrides
from undertone.models.table import SYSTEMS, build
from undertone.training.config import TrainingConfig

PAGE = (Path(__file__).parents[2] / "docs" / "papers.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## `(\w+)`(.*?)(?=^## |\Z)", PAGE, re.M | re.S))
SWITCHES = [
    (system, cell) for system, text in SECTIONS.items() for cell in re.findall(r"`((?:--set [^`]+)+)`", text)
]


PUBLISHED = {
    "multilevel": "2207.04697",
    "perspective": "2304.03899",
    "mgcma": "2412.20821",
    "mmer": "2203.16794",
    "pooled": "2407.12467",
    "bayesian": "2302.09856",
    "timnet": "2211.08233",
    "clap": "2306.07848",
    "paired": "2302.13661",
    "deepser": "2506.09556",
}


def test_the_papers_and_ours_are_there() -> None:
    assert set(SECTIONS) == {*PUBLISHED, "unison"} <= set(SYSTEMS)
    assert all(number in SECTIONS[system] for system, number in PUBLISHED.items())


def test_what_the_page_points_at_exists() -> None:
    places = re.findall(r"`(\w+)\.py:(\w+)`", PAGE)
    assert len(places) > 40
    for module, name in places:
        assert hasattr(importlib.import_module(f"undertone.models.{module}"), name), f"{module}.{name}"


@pytest.mark.parametrize(("system", "cell"), SWITCHES, ids=[f"{s} {c}" for s, c in SWITCHES])
def test_each_switch_builds_another_network_or_loss(system: str, cell: str) -> None:
    overrides = [o.strip().replace("'", "") for o in cell.split("--set ") if o.strip()]
    values = apply_overrides({}, overrides)
    if "training" in values:
        assert TrainingConfig.parse(values["training"]) != TrainingConfig()
    if "protocol" in values or "training" in values:
        return
    changed, plain = build(system, values["model"], IDS), build(system, {}, IDS)
    assert changed.config != plain.config
