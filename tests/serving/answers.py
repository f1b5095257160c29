"""Answers of known content, in the shape that the server gives them: for tests and pictures of the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from undertone.judging.summary import change, mean, moments, shares
from undertone.types import Evidence, Prediction, SpeakerSummary, TimelineSegment, Turn, WordScore

LABELS = ("angry", "happy", "sad", "neutral")
THRESHOLD = 0.52
TEXT = "I told you three times that I will not be there"


def posterior(**named: float) -> dict[str, float]:
    """Probabilities of all labels; what is not named is divided among the others."""
    others = [label for label in LABELS if label not in named]
    rest = (1 - sum(named.values())) / max(1, len(others))
    return {label: named.get(label, rest) for label in LABELS}


def cell(start: float, end: float, speaker: str | None = None, **named: float) -> TimelineSegment:
    """A stretch, without a label below the threshold."""
    probabilities = posterior(**named)
    label = max(probabilities, key=probabilities.__getitem__)
    sure = probabilities[label]
    return TimelineSegment(start, end, label if sure >= THRESHOLD else None, sure, probabilities, speaker)


def turn(stretch: TimelineSegment, text: str | None = None, overlap: float = 0.0) -> Turn:
    """The stretch as a turn."""
    return Turn(
        stretch.start,
        stretch.end,
        stretch.speaker,
        stretch.label,
        stretch.confidence,
        stretch.probabilities,
        text,
        stretch.end - stretch.start,
        overlap,
    )


def words(text: str, contributions: Sequence[float], spacing: float | None = None) -> tuple[WordScore, ...]:
    """The words of a text in order, each with its contribution, ``spacing`` seconds apart."""
    made, at = [], 0
    for index, (word, contribution) in enumerate(zip(text.split(), contributions, strict=True)):
        at = text.index(word, at)
        start = None if spacing is None else 0.3 + index * spacing
        end = None if start is None or spacing is None else start + 0.9 * spacing
        made.append(WordScore(word, contribution, start, end, (at, at + len(word))))
        at += len(word)
    return tuple(made)


def prediction(cells: Sequence[TimelineSegment], *, timeline: bool = False) -> Prediction:
    """The prediction of a recording with these stretches, by its speech alone."""
    fused = mean([(c.end - c.start, c.probabilities) for c in cells])
    label = max(fused, key=fused.__getitem__)
    return Prediction(
        id="clip.wav",
        label=label if fused[label] >= THRESHOLD else None,
        confidence=fused[label],
        probabilities=fused,
        perspectives={"fused": fused, "speech": fused},
        segments=tuple(cells) if timeline else (),
        model="starter",
        modalities=("speech",),
        shares=shares(cells),
        turns=tuple(turn(c) for c in cells),
        moments=moments(cells),
        change=change(cells),
        evidence=Evidence(max(c.end for c in cells) + 0.4, sum(c.end - c.start for c in cells), 0, 23.4),
    )


def short() -> Prediction:
    """One turn with a clear label."""
    return prediction([cell(0.1, 2.9, angry=0.89, neutral=0.07)])


def unclear() -> Prediction:
    """One turn whose two first labels are nearly equally probable."""
    return prediction([cell(0.1, 2.9, sad=0.45, neutral=0.4)])


def with_words(contributions: Sequence[float] | None = None) -> Prediction:
    """Speech and words that disagree, with contributions of the words."""
    scores = contributions or (0.02, 0.31, 0.05, 0.62, 0.44, -0.03, 0.01, 0.18, 1.3, -0.22, 0.04)
    whole = short()
    return replace(
        whole,
        perspectives={**whole.perspectives, "text": posterior(neutral=0.55, angry=0.3)},
        words=words(TEXT, scores, 0.24),
        modalities=("speech", "text"),
        text=TEXT,
        text_source="given",
        evidence=replace(whole.evidence, words=len(TEXT.split())),
    )


def long(seconds: int = 600) -> Prediction:
    """Cells of 2 s, every tenth a pause: neutral, then sad, with two angry stretches and unclear ones."""
    cells = []
    for index in range(seconds // 2):
        if index % 10 == 9:
            continue
        part = index / (seconds // 2)
        named = {"neutral": 0.8} if part < 0.4 else {"sad": 0.75}
        if 0.25 < part < 0.3 or 0.7 < part < 0.73:
            named = {"angry": 0.91}
        elif index % 17 < 3:
            named = {"neutral": 0.44, "sad": 0.41}
        cells.append(cell(2.0 * index, 2.0 * index + 2, **named))
    return replace(prediction(cells, timeline=True), turns=_joined(cells))


def _joined(cells: Sequence[TimelineSegment]) -> tuple[Turn, ...]:
    runs: list[list[TimelineSegment]] = []
    for one in cells:
        if runs and one.start - runs[-1][-1].end < 0.25:
            runs[-1].append(one)
        else:
            runs.append([one])
    made = []
    for run in runs:
        probabilities = mean([(c.end - c.start, c.probabilities) for c in run])
        made.append(turn(cell(run[0].start, run[-1].end, run[0].speaker, **probabilities)))
    return tuple(made)


def two_speakers() -> Prediction:
    """Two speakers in turns; for half a second both speak."""
    own = [
        (cell(0.2, 4.0, "left", neutral=0.81), "Good morning, how can I help you?", 0.0),
        (cell(4.2, 9.0, "right", angry=0.78), "You sent me the wrong bill again.", 0.5),
        (cell(8.5, 12.0, "left", neutral=0.5, sad=0.42), "I am sorry, let me look at it.", 0.5),
        (cell(12.4, 18.0, "right", angry=0.93), "That is what you said the last time!", 0.0),
        (cell(18.3, 22.0, "left", sad=0.61), "I understand. I correct it now.", 0.0),
        (cell(22.4, 25.0, "right", neutral=0.72), "Thank you.", 0.0),
    ]
    cells = [stretch for stretch, _, _ in own]
    turns = tuple(turn(*one) for one in own)
    whole = prediction(cells, timeline=True)
    return replace(
        whole, turns=turns, speakers={name: _summary(name, cells, turns) for name in ("left", "right")}
    )


def _summary(name: str, cells: Sequence[TimelineSegment], turns: Sequence[Turn]) -> SpeakerSummary:
    own = [c for c in cells if c.speaker == name]
    fused = mean([(c.end - c.start, c.probabilities) for c in own])
    label = max(fused, key=fused.__getitem__)
    return SpeakerSummary(
        label if fused[label] >= THRESHOLD else None,
        fused[label],
        fused,
        sum(c.end - c.start for c in own),
        sum(t.speaker == name for t in turns),
        shares(own),
        change(own),
    )


def silent() -> dict[str, Any]:
    """No speech at all."""
    even = dict.fromkeys(LABELS, 0.25)
    return Prediction("clip.wav", None, 0.25, even, {"fused": even}, evidence=Evidence(3.0, 0.0)).plain()
