"""Predictions as json, jsonl, csv, a TextGrid or srt captions."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence

from undertone.alignment.textgrid import textgrid
from undertone.errors import ConfigError, UsageError, no_such
from undertone.judging.timeline import merged
from undertone.types import Prediction, TimelineSegment, WordScore

__all__ = ["FORMATS", "write"]


def write(predictions: Iterable[Prediction], form: str) -> Iterator[str]:
    """The text of an output file, piece by piece as predictions come (jsonl and csv) or at the end."""
    if form not in FORMATS:
        raise UsageError(no_such("format", form, FORMATS))
    return FORMATS[form](predictions)


def _jsonl(predictions: Iterable[Prediction]) -> Iterator[str]:
    for prediction in predictions:
        yield json.dumps(prediction.plain(), ensure_ascii=False) + "\n"


def _json(predictions: Iterable[Prediction]) -> Iterator[str]:
    """One object, or a list of several."""
    plain = [prediction.plain() for prediction in predictions]
    yield json.dumps(plain[0] if len(plain) == 1 else plain, ensure_ascii=False, indent=2) + "\n"


def _csv(predictions: Iterable[Prediction]) -> Iterator[str]:
    """One line a recording: id, label, confidence, agree, modalities, then each class's probability."""
    labels: list[str] | None = None
    for prediction in predictions:
        plain = prediction.plain()
        if labels is None:
            labels = list(plain["probabilities"])
            yield _line(["id", "label", "confidence", "agree", "modalities", *labels])
        yield _line(
            [
                _harmless(plain["id"]),
                plain["label"] or "",
                plain["confidence"],
                "" if plain["agree"] is None else str(plain["agree"]).lower(),
                "+".join(plain["modalities"]),
                *(plain["probabilities"][label] for label in labels),
            ]
        )


def _line(values: Sequence[object]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(values)
    return text.getvalue()


def _harmless(text: str) -> str:
    """A spreadsheet takes a cell that begins so for a formula; the quote makes it text."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


# ---- with times --------------------------------------------------------------------------------------


def _one(predictions: Iterable[Prediction], form: str) -> Prediction:
    """Formats of one timeline take one recording."""
    several = list(predictions)
    if len(several) != 1:
        raise ConfigError(
            f"{form} holds one recording, not {len(several)}: give --out a folder, or choose jsonl"
        )
    return several[0]


def _srt(predictions: Iterable[Prediction]) -> Iterator[str]:
    """Captions: the label of each stretch; of a short recording, one."""
    prediction = _one(predictions, "srt")
    for number, cell in enumerate(_stretches(prediction), 1):
        times = f"{_clock(cell.start)} --> {_clock(cell.end)}"
        yield f"{number}\n{times}\n{cell.label} ({cell.confidence:.0%})\n\n"


def _clock(seconds: float) -> str:
    milliseconds = round(1000 * seconds)
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{rest // 1000:02},{rest % 1000:03}"


def _textgrid(predictions: Iterable[Prediction]) -> Iterator[str]:
    """Praat's long format: a tier ``emotion``, and a tier ``word`` where the words have times."""
    prediction = _one(predictions, "textgrid")
    stretches = _stretches(prediction)
    words = [word for word in prediction.words if word.start is not None and word.end is not None]
    tiers = {"emotion": [(cell.start, cell.end, cell.label) for cell in stretches]}
    if words:
        tiers["word"] = [_timed(word) for word in words]
    yield textgrid(tiers, max((own[-1][1] for own in tiers.values() if own), default=0.01))


def _timed(word: WordScore) -> tuple[float, float, str]:
    assert word.start is not None and word.end is not None
    return word.start, word.end, word.text


def _stretches(prediction: Prediction) -> list[TimelineSegment]:
    """The timeline with neighbours of one label merged; of a short recording, the whole as one stretch."""
    if prediction.segments:
        return merged(prediction.segments)
    end = max((word.end for word in prediction.words if word.end is not None), default=1.0)
    label = prediction.label or "unsure"
    return [TimelineSegment(0.0, end, label, prediction.confidence, prediction.probabilities)]


FORMATS: dict[str, Callable[[Iterable[Prediction]], Iterator[str]]] = {
    "json": _json,
    "jsonl": _jsonl,
    "csv": _csv,
    "textgrid": _textgrid,
    "srt": _srt,
}
SUFFIXES = {"json": ".json", "jsonl": ".jsonl", "csv": ".csv", "textgrid": ".TextGrid", "srt": ".srt"}
