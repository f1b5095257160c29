"""Recordings: ``predict`` and ``timeline``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal, overload

from undertone.api.frames import Places, Watch, frame_of, several
from undertone.types import Prediction, TimelineSegment

if TYPE_CHECKING:
    import pandas as pd

    from undertone.judging.predictor import Predictor
    from undertone.types import Wave

__all__ = ["predict", "timeline"]


@overload
def predict(
    recordings: Places,
    model: str | Path | Predictor | None = ...,
    *,
    asr: str | bool = ...,
    explain: bool = ...,
    watch: Watch | None = ...,
    frame: Literal[False] = ...,
) -> list[Prediction]: ...
@overload
def predict(
    recordings: Places,
    model: str | Path | Predictor | None = ...,
    *,
    asr: str | bool = ...,
    explain: bool = ...,
    watch: Watch | None = ...,
    frame: Literal[True],
) -> pd.DataFrame: ...
def predict(
    recordings: Places,
    model: str | Path | Predictor | None = None,
    *,
    asr: str | bool = False,
    explain: bool = True,
    watch: Watch | None = None,
    frame: bool = False,
) -> list[Prediction] | pd.DataFrame:
    """The predictions for files, folders, globs, tables or manifests, as ``undertone predict`` takes them.

    ``frame``: one row a recording with its label, confidence and the probability of each class.
    """
    from undertone.judging.inputs import find

    judge = _predictor(model, asr)
    recorded = find([str(place) for place in several(recordings)])
    answers = []
    for done, one in enumerate(recorded, 1):
        answers.append(judge.judge(one, explain))
        if watch is not None:
            watch(done, len(recorded))
    if not frame:
        return answers
    return frame_of(
        {"id": a.id, "label": a.label, "confidence": a.confidence, **dict(a.probabilities)} for a in answers
    )


@overload
def timeline(
    recording: str | Path | Wave,
    model: str | Path | Predictor | None = ...,
    *,
    rate: int | None = ...,
    frame: Literal[False] = ...,
) -> list[TimelineSegment]: ...
@overload
def timeline(
    recording: str | Path | Wave,
    model: str | Path | Predictor | None = ...,
    *,
    rate: int | None = ...,
    frame: Literal[True],
) -> pd.DataFrame: ...
def timeline(
    recording: str | Path | Wave,
    model: str | Path | Predictor | None = None,
    *,
    rate: int | None = None,
    frame: bool = False,
) -> list[TimelineSegment] | pd.DataFrame:
    """The emotion in the cells of a recording in order; of a short one its turns.

    ``rate``: of samples given as an array. ``frame``: one row a cell, with the probability of each class.
    """
    answer = _predictor(model, False).predict(recording, rate=rate, explain=False)
    cells = list(answer.segments) or [
        TimelineSegment(t.start, t.end, t.label, t.confidence, t.probabilities, t.speaker)
        for t in answer.turns
    ]
    if not frame:
        return cells
    return frame_of(
        {"start": c.start, "end": c.end, "label": c.label, "confidence": c.confidence, "speaker": c.speaker}
        | dict(c.probabilities)
        for c in cells
    )


def _predictor(model: str | Path | Predictor | None, asr: str | bool) -> Predictor:
    from undertone.judging.predictor import Predictor, load

    return model if isinstance(model, Predictor) else load(model, asr=asr)
