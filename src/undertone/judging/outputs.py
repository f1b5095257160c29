"""Predictions as json, jsonl, csv, a timeline in csv, a TextGrid, captions or lines like RTTM."""

from __future__ import annotations

import csv
import io
import json
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path, PurePosixPath

from undertone.alignment.textgrid import Interval, textgrid
from undertone.errors import ConfigError, UsageError, no_such
from undertone.judging.timeline import merged
from undertone.types import Prediction, TimelineSegment

__all__ = ["FORMATS", "OF_ONE", "SUFFIXES", "UNSURE", "clock", "escaped", "places", "stretches", "write"]

UNSURE = "unsure"
"""In place of a label where there is none."""


def write(predictions: Iterable[Prediction], form: str) -> Iterator[str]:
    """The text of an output file, piece by piece as predictions come (jsonl and csv) or at the end."""
    if form not in FORMATS:
        raise UsageError(no_such("format", form, FORMATS))
    return FORMATS[form](predictions)


def places(ids: Sequence[str], folder: Path, form: str) -> list[Path]:
    """A file for each recording below the folder, at its path; no two of them the same, none outside."""
    made: list[Path] = []
    taken: set[str] = set()
    short = [_inside(name).with_suffix("") for name in ids]
    for name, stem in zip(ids, short, strict=True):
        several = sum(str(other).casefold() == str(stem).casefold() for other in short) > 1
        base = _inside(name) if several else stem  # a.wav and a.flac: a.wav.srt and a.flac.srt
        path, number = base, 1
        while str(path).casefold() in taken:
            number += 1
            path = base.with_name(f"{base.name}-{number}")
        taken.add(str(path).casefold())
        made.append(folder / f"{path}{SUFFIXES[form]}")
    return made


def _inside(name: str) -> PurePosixPath:
    parts = [part for part in PurePosixPath(name.replace("\\", "/")).parts if part not in ("/", "..", ".")]
    clean = ["".join("_" if c in '<>:"|?*' or not c.isprintable() else c for c in part) for part in parts]
    return PurePosixPath(*clean) if clean else PurePosixPath("clip")


def _jsonl(predictions: Iterable[Prediction]) -> Iterator[str]:
    for prediction in predictions:
        yield json.dumps(prediction.plain(), ensure_ascii=False) + "\n"


def _json(predictions: Iterable[Prediction]) -> Iterator[str]:
    """One object, or a list of several."""
    plain = [prediction.plain() for prediction in predictions]
    yield json.dumps(plain[0] if len(plain) == 1 else plain, ensure_ascii=False, indent=2) + "\n"


def _csv(predictions: Iterable[Prediction]) -> Iterator[str]:
    """One line a recording: id, label, confidence, agree, modalities, each class's probability, why no label
    is given; of a model that has them the dimensions, and the emotions that are there at once."""
    waiting, following = [], iter(predictions)
    for prediction in following:  # one that was judged has all that the model gives
        waiting.append(prediction)
        if prediction.modalities:
            break
    if not waiting:
        return
    labels = list(waiting[-1].probabilities)
    dimensions = list(waiting[-1].extra.get("dimensions", {}))
    several = ["several"] if "several" in waiting[-1].extra else []
    head = ["id", "label", "confidence", "agree", "modalities", *labels, "withheld", *dimensions, *several]
    yield _line(head)
    for prediction in chain(waiting, following):
        plain = prediction.plain()
        yield _line(
            [
                _harmless(plain["id"]),
                plain["label"] or "",
                plain["confidence"],
                "" if plain["agree"] is None else str(plain["agree"]).lower(),
                "+".join(plain["modalities"]),
                *(plain["probabilities"][label] for label in labels),
                plain["withheld"] or "",
                *(plain.get("dimensions", {}).get(name, "") for name in dimensions),
                *("+".join(_at_once(plain.get("several", {}))) for _ in several),
            ]
        )


def _at_once(several: Mapping[str, float]) -> list[str]:
    """The emotions whose probability is above 1/C, the most probable first."""
    there = [label for label, p in several.items() if p > 1 / len(several)]
    return sorted(there, key=several.__getitem__, reverse=True)


def _timeline(predictions: Iterable[Prediction]) -> Iterator[str]:
    """One line a stretch: file, speaker, start, end, label, confidence, each class's probability, words."""
    labels: list[str] | None = None
    for prediction in predictions:
        if labels is None:
            labels = list(prediction.probabilities)
            yield _line(["file", "speaker", "start", "end", "label", "confidence", *labels, "words"])
        cells = _cells(prediction)
        for cell, words in zip(cells, _words(prediction, cells), strict=True):
            yield _line(
                [
                    _harmless(prediction.id),
                    _harmless(cell.speaker or ""),
                    f"{cell.start:.3f}",
                    f"{cell.end:.3f}",
                    cell.label or "",
                    f"{cell.confidence:.6f}",
                    *(f"{cell.probabilities[label]:.6f}" for label in labels),
                    _harmless(words),
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
            f"{form} holds one recording, not {len(several)}: give --out a folder, or choose timeline"
        )
    if several[0].modalities == ("text",):
        raise ConfigError(f"{several[0].id}: has no sound, so {form} has no times to give")
    return several[0]


def _srt(predictions: Iterable[Prediction]) -> Iterator[str]:
    """Captions: speaker and label of each stretch, and its words."""
    prediction = _one(predictions, "srt")
    runs = stretches(prediction)
    captions = zip(runs, _words(prediction, runs), strict=True)
    for number, (cell, words) in enumerate(captions, 1):
        speaker = f"{cell.speaker}: " if cell.speaker else ""
        text = f"{speaker}{cell.label or UNSURE} ({cell.confidence:.0%})" + (f"\n{words}" if words else "")
        yield f"{number}\n{clock(cell.start, ',')} --> {clock(cell.end, ',')}\n{text}\n\n"


def _vtt(predictions: Iterable[Prediction]) -> Iterator[str]:
    """As srt, the speaker as a voice and the label as its class."""
    prediction = _one(predictions, "vtt")
    yield "WEBVTT\n\n"
    runs = stretches(prediction)
    for cell, words in zip(runs, _words(prediction, runs), strict=True):
        label = cell.label or UNSURE
        text = f"{label} ({cell.confidence:.0%})" + (f"\n{escaped(words)}" if words else "")
        speaker = escaped(cell.speaker or "").replace("\n", " ")
        voiced = f"<v.{label} {speaker}>{text}" if speaker else f"<c.{label}>{text}</c>"
        yield f"{clock(cell.start, '.')} --> {clock(cell.end, '.')}\n{voiced}\n\n"


def escaped(text: str) -> str:
    """The text as a cue of WebVTT holds it."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def clock(seconds: float, point: str) -> str:
    """
    >>> clock(3661.5, ",")
    '01:01:01,500'
    """
    milliseconds = round(1000 * seconds)
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{rest // 1000:02}{point}{rest % 1000:03}"


def _textgrid(predictions: Iterable[Prediction]) -> Iterator[str]:
    """Praat's long format: a tier of emotions, and one of words where they have times, for each speaker."""
    prediction = _one(predictions, "textgrid")
    tiers: dict[str, list[Interval]] = {}
    for cell in stretches(prediction):
        intervals = tiers.setdefault(_tier(cell.speaker, "emotion"), [])
        intervals.append((cell.start, cell.end, cell.label or UNSURE))
    tiers = tiers or {"emotion": []}
    for word in prediction.words:
        if word.start is not None and word.end is not None:
            tiers.setdefault(_tier(word.speaker, "word"), []).append((word.start, word.end, word.text))
    last = max((own[-1][1] for own in tiers.values() if own), default=0.01)
    yield textgrid(tiers, max(prediction.evidence.seconds or 0.0, last))


def _tier(speaker: str | None, kind: str) -> str:
    return f"{speaker.replace(chr(34), chr(39))} - {kind}" if speaker else kind


def _rttm(predictions: Iterable[Prediction]) -> Iterator[str]:
    """``EMOTION file 1 start duration label <NA> speaker confidence <NA>``, a line a stretch."""
    for prediction in predictions:
        for cell in stretches(prediction):
            names = ["_".join(text.split()) for text in (prediction.id, cell.speaker or "<NA>")]
            label = cell.label or UNSURE
            yield (
                f"EMOTION {names[0]} 1 {cell.start:.3f} {cell.end - cell.start:.3f} {label} <NA> {names[1]}"
                f" {cell.confidence:.4f} <NA>\n"
            )


def _cells(prediction: Prediction) -> Sequence[TimelineSegment]:
    """The timeline; of a short recording its turns."""
    if prediction.segments:
        return prediction.segments
    return [
        TimelineSegment(t.start, t.end, t.label, t.confidence, t.probabilities, t.speaker)
        for t in prediction.turns
    ]


def stretches(prediction: Prediction) -> list[TimelineSegment]:
    """The cells with neighbours of one label and speaker merged, in order of time."""
    by_speaker: dict[str | None, list[TimelineSegment]] = {}
    for cell in _cells(prediction):
        by_speaker.setdefault(cell.speaker, []).append(cell)
    runs = [run for own in by_speaker.values() for run in merged(own)]
    return sorted(runs, key=lambda run: (run.start, run.end))


def _words(prediction: Prediction, stretches: Sequence[TimelineSegment]) -> list[str]:
    """The words of each stretch, none left out: those whose middle lies in it or nearest to it. Words without
    times stand with the stretch in which their turn begins."""
    texts: list[list[str]] = [[] for _ in stretches]
    placed = [
        (word.speaker, (word.start + word.end) / 2, word.text)
        for word in prediction.words
        if word.start is not None and word.end is not None
    ]
    if not placed:
        placed = [(turn.speaker, turn.start, turn.text) for turn in prediction.turns if turn.text]
    own: dict[str | None, list[int]] = {}
    for index, stretch in enumerate(stretches):
        own.setdefault(stretch.speaker, []).append(index)
    for speaker, at, text in placed:
        if speaker in own:
            texts[_nearest(stretches, own[speaker], at)].append(text)
    return [" ".join(words) for words in texts]


def _nearest(stretches: Sequence[TimelineSegment], own: Sequence[int], at: float) -> int:
    """Which of a speaker's stretches, in order of time, a moment belongs to."""
    place = bisect_right(own, at, key=lambda index: stretches[index].start)
    around = own[max(0, place - 1) : place + 1]
    return min(around, key=lambda i: max(stretches[i].start - at, at - stretches[i].end, 0.0))


FORMATS: dict[str, Callable[[Iterable[Prediction]], Iterator[str]]] = {
    "json": _json,
    "jsonl": _jsonl,
    "csv": _csv,
    "timeline": _timeline,
    "textgrid": _textgrid,
    "srt": _srt,
    "vtt": _vtt,
    "rttm": _rttm,
}
OF_ONE = ("textgrid", "srt", "vtt")
"""Formats whose files hold one recording."""
SUFFIXES = {
    "json": ".json",
    "jsonl": ".jsonl",
    "csv": ".csv",
    "timeline": ".timeline.csv",
    "textgrid": ".TextGrid",
    "srt": ".srt",
    "vtt": ".vtt",
    "rttm": ".rttm",
}
