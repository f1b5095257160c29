"""A model that knows some answers: to see whether an assessment finds out which."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from studies.starter.assess.questions import EIGHT, FOUR, Question
from undertone.types import Prediction

__all__ = ["Oracle", "open_oracle"]


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


def open_oracle(model: Path) -> Callable[[Sequence[Question]], list[Prediction]]:
    """For processes that are started anew: an oracle that nobody looks at afterwards."""
    return Oracle().open(model)
