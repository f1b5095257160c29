"""A tiny copy of the data, folds of planted models, and one assessment of them that all tests look at."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from studies.starter.assess.run import assess
from trees.oracle import Oracle
from trees.starter import write_data, write_folds

PREDICTIONS = "studies.starter.assess.scores.predictions"


@pytest.fixture(scope="session", autouse=True)
def _few_sounds() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("studies.starter.assess.cases.SOUNDS", 4)
        yield


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folds(tmp_path_factory.mktemp("runs") / "starter")


@pytest.fixture(scope="session")
def assessed(data: Path, run: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    out = tmp_path_factory.mktemp("out")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PREDICTIONS, Oracle().predictions)
        return assess(run, data, out), out


@pytest.fixture
def oracle(monkeypatch: pytest.MonkeyPatch) -> Oracle:
    """In place of every fold's model."""
    planted = Oracle()
    monkeypatch.setattr(PREDICTIONS, planted.predictions)
    return planted
