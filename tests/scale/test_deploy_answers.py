"""Between the application and the judges: order kept, one bad clip alone, the application none the wiser."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from undertone.errors import ModelError
from undertone.judging.clip import Clip, Transcript
from undertone.judging.fakes import FakeModel
from undertone.scale.deploy import Described, FarBatcher, answers
from undertone.types import Prediction


class Fragile(FakeModel):
    """Breaks on some clips."""

    def predict(self, clips: Any, explain: bool = False) -> list[Prediction]:
        for clip in clips:
            if clip.text == "bug":
                raise ZeroDivisionError
            if clip.text == "empty":
                raise ModelError(f"{clip.id}: holds nothing")
        return super().predict(clips, explain)


def clips(*texts: str) -> list[Clip]:
    return [
        Clip(str(i), np.full(160, i / 10, np.float32), text and Transcript(text))
        for i, text in enumerate(texts)
    ]


def test_each_clip_gets_its_own_answer_explained_or_not() -> None:
    asked = clips("a b", "c", "d e f")
    found = answers(FakeModel(), asked, [True, False, True])
    assert [error for _, error in found] == [None] * 3
    for clip, explain, (answer, _) in zip(asked, [True, False, True], found, strict=True):
        assert answer == FakeModel().predict([clip], explain)[0]


def test_a_bad_clip_fails_alone(caplog: pytest.LogCaptureFixture) -> None:
    found = answers(Fragile(), clips("a", "bug", "empty", "b"), [False] * 4)
    assert [answer is None for answer, _ in found] == [False, True, True, False]
    assert found[1][1] == "1: the model failed on it"  # a bug's own words stay in the log
    assert found[2][1] == "2: holds nothing"
    assert "ZeroDivisionError" in caplog.text


def test_the_door_sends_clips_one_by_one_and_keeps_their_order() -> None:
    async def judge(clip: Clip, explain: bool) -> tuple[Any, str | None]:
        await asyncio.sleep(0.01 * (3 - int(clip.id)))
        return answers(Fragile(), [clip], [explain])[0]

    batcher = FarBatcher(SimpleNamespace(judge=SimpleNamespace(remote=judge)))

    async def run() -> None:
        batcher.start()
        asked = clips("a", "b", "c")
        assert [one.id for one in await batcher.predict(asked)] == ["0", "1", "2"]
        with pytest.raises(ModelError, match="holds nothing"):
            await batcher.predict(clips("a", "empty"))
        await batcher.stop()

    asyncio.run(run())


def test_a_described_model_says_what_the_application_asks() -> None:
    model = FakeModel()
    described = Described.of(model)
    for name in ("name", "labels", "rate", "sides", "tiers", "card"):
        assert getattr(described, name) == getattr(model, name)
    with pytest.raises(ModelError, match="elsewhere"):
        described.predict([])
