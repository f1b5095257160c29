"""A tiny copy of the data, folds of planted models, and one assessment of them that all tests look at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from trees.starter import write_data, write_folds
from undertone.experiment.assess.questions import EIGHT, FOUR, Question
from undertone.experiment.assess.run import assess
from undertone.types import Prediction


class Oracle:
    """Hears every clip's class, reads every sentence as sad, says nothing of what is no emotion."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()

    def open(self, model: Path) -> Callable[[Sequence[Question]], list[Prediction]]:
        self.asked[model.parent.name] += 1
        return lambda questions: [self._answer(question) for question in questions]

    def _answer(self, question: Question) -> Prediction:
        sides = {}
        if question.wave is not None:
            sides["speech"] = shares(question.truth or "neutral")
        if question.text is not None:
            sides["text"] = shares("sad")
        fused = sides.get("speech") or sides["text"]
        known = question.group in ("ravdess", "emodb", "goemotions")
        label = max(fused, key=fused.__getitem__) if known else None
        eight = {name: float(name == question.facts.get("eight")) for name in EIGHT}
        extra = {"ravdess8": eight, "uncalibrated": {**sides, "fused": fused}}
        return Prediction(
            question.id, label, fused[max(fused)], fused, {**sides, "fused": fused}, extra=extra
        )


def shares(label: str) -> dict[str, float]:
    return {name: 0.85 if name == label else 0.05 for name in FOUR}


@pytest.fixture(scope="session", autouse=True)
def _few_sounds() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("undertone.experiment.assess.questions.SOUNDS", 4)
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
    return assess(run, data, out, Oracle().open), out


@pytest.fixture
def oracle() -> Oracle:
    return Oracle()
