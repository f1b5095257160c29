"""Several speakers in one recording: each on a channel of their own, or in turns that are given.

Everyone is judged apart, on the recording's own times:

    a channel         as a recording of its own; a turn is what is spoken without a long pause
    a given turn      as a recording of its own, from its start to its end
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from undertone.errors import DataError
from undertone.judging import summary
from undertone.judging.clip import Clip, Excerpt, Model, Transcript, excerpt, least_of
from undertone.judging.course import NOTHING, Course, Loudness, Step, Steps
from undertone.judging.reading import unread
from undertone.judging.regions import Region, pooled
from undertone.judging.settings import Segmenting
from undertone.judging.windows import RATE
from undertone.types import Alignment, Evidence, Prediction, Segment, TimelineSegment

if TYPE_CHECKING:
    from undertone.judging.words import Words
    from undertone.types import Wave

__all__ = ["Conversation", "GivenTurn", "Voice"]

log = logging.getLogger(__name__)
PIECE = 60 * RATE
"""Samples that are given to a channel's course at once."""


@dataclass(frozen=True)
class GivenTurn:
    """A turn as somebody else has found it; seconds of the recording."""

    start: float
    end: float
    text: str | None = None

    @property
    def span(self) -> tuple[float, float]:
        return self.start, self.end


@dataclass(frozen=True)
class Voice:
    """One speaker: a channel of the recording, or turns in it (of a channel, or of all of them mixed)."""

    speaker: str
    channel: int | None = None
    turns: tuple[GivenTurn, ...] | None = None
    """None: everything on the channel is theirs."""


@dataclass
class _Open:
    """A given turn whose samples are coming."""

    turn: GivenTurn
    voice: Voice
    held: list[Wave]


class Conversation:
    """The speakers of one recording, judged while its samples come."""

    def __init__(
        self,
        model: Model,
        voices: Sequence[Voice],
        words: Transcript | None = None,
        *,
        settings: Segmenting | None = None,
        aligner: Words | None = None,
        explain: bool = True,
        threshold: float | None = None,
        listen: bool = False,
    ) -> None:
        """``words``: of the whole recording, with times; the turns take theirs from it by these."""
        if words is not None and (words.alignment is None or any(v.turns is None for v in voices)):
            raise DataError(
                "words of a recording with several speakers must say when they are spoken, and turns whose"
                " they are: give a transcript with speakers, or have the words recognised"
            )
        self._model, self._settings, self._words = model, settings or Segmenting(), words
        self._aligner, self._least = aligner, least_of(model, threshold)
        self._options: dict[str, Any] = {"explain": explain, "threshold": threshold, "listen": listen}
        self._explain = explain
        self._channels = [(v, self._course(v, 0)) for v in voices if v.turns is None]
        turns = ((turn, voice) for voice in voices for turn in voice.turns or ())
        self._coming = sorted(turns, key=lambda pair: pair[0].span)
        self._open: list[_Open] = []
        self._regions: list[Region] = []
        self._cells: list[TimelineSegment] = []
        self._loudness = Loudness()
        self._at = 0

    def run(self, name: str, blocks: Iterable[Wave]) -> Steps[Prediction]:
        """The recording's prediction; blocks are ``(N,)`` or ``(N, channels)``."""
        for block in blocks:
            for first in range(0, len(block), PIECE):
                piece = block[first : first + PIECE]
                yield from self._feed(piece[:, None] if piece.ndim == 1 else piece)
        if self._coming:
            seconds = self._at / RATE
            log.warning("%s: %d turns begin after its end (%.1f s)", name, len(self._coming), seconds)
        yield from self._judge_turns(self._open)
        for _, course in self._channels:
            yield from course.close()
            self._take(course)
        return self._prediction(name)

    def _feed(self, piece: Wave) -> Steps[None]:
        for voice, course in self._channels:
            yield from course.feed(_channel(piece, voice.channel))
        end = self._at + len(piece)
        while self._coming and self._coming[0][0].start * RATE < end:
            self._open.append(_Open(*self._coming.pop(0), held=[]))
        if not self._channels:
            self._loudness.add(_channel(piece, None), speech=False)
        for one in self._open:
            first, last = (min(max(round(t * RATE) - self._at, 0), len(piece)) for t in one.turn.span)
            one.held.append(_channel(piece[first:last], one.voice.channel))
        over = [one for one in self._open if one.turn.end * RATE <= end]
        self._open = [one for one in self._open if one.turn.end * RATE > end]
        self._at = end
        yield from self._judge_turns(over)

    def _judge_turns(self, over: Sequence[_Open]) -> Steps[None]:
        for one in sorted(over, key=lambda one: one.turn.span):
            wave = np.concatenate([NOTHING, *one.held])
            if not len(wave):
                continue
            yield from self._judge_turn(one.turn, one.voice, wave)

    def _judge_turn(self, turn: GivenTurn, voice: Voice, wave: Wave) -> Steps[None]:
        origin, words = round(turn.start * RATE), self._words_of(turn, wave)
        if self._model.contextual:  # such a model was trained on turns as they are
            end = origin + len(wave)
            known = Excerpt(_moved(words, -turn.start), turn.start, 0) if words else None
            region = Region(origin, end, NOTHING, known, speaker=voice.speaker, turn=turn.span)
            clip = Clip(f"{turn.start:.3f}-{turn.end:.3f}", wave, known.words if known else None)
            (region.prediction,) = yield Step([clip], self._explain)
            self._regions.append(region)
            return
        course = self._course(voice, origin, words)
        yield from course.feed(wave)
        yield from course.close()
        self._take(course, turn.span)

    def _course(self, voice: Voice, origin: int, words: Transcript | None = None) -> Course:
        return Course(
            self._model,
            self._settings,
            words=words,
            live=False,
            speaker=voice.speaker,
            origin=origin,
            **self._options,
        )

    def _words_of(self, turn: GivenTurn, wave: Wave) -> Transcript | None:
        """The turn's own words, or those of the recording within it; times are of the recording."""
        if turn.text:
            words = Transcript(turn.text)
            if unread(self._model, words):
                return None
            if self._aligner is not None:
                words = self._aligner.align(wave, words)
            return _moved(words, turn.start)
        if self._words is None:
            return None
        own = excerpt(self._words, turn.start, turn.end, origin=0.0)
        return own.words if own else None

    def _take(self, course: Course, turn: tuple[float, float] | None = None) -> None:
        regions = [replace(region, turn=turn) for region in course.regions]
        self._cells += course.cells if course.long else summary.cells_of(regions, self._least)
        self._regions += regions
        self._loudness.speech += course.loudness.speech
        self._loudness.speech_samples += course.loudness.speech_samples
        if turn is None:
            self._loudness.total += course.loudness.total
            self._loudness.samples += course.loudness.samples

    def _prediction(self, name: str) -> Prediction:
        regions = sorted(self._regions, key=lambda r: (r.start, r.end))
        words = _placed(regions)
        spoken = sum(region.end - region.start for region in regions) / RATE
        cells = sorted(self._cells, key=lambda c: (c.start, c.end)) or summary.cells_of(regions, self._least)
        return pooled(
            name,
            self._model,
            regions,
            words,
            cells,
            evidence=Evidence(self._at / RATE, spoken, snr=self._loudness.snr),
            threshold=self._options["threshold"],
            settings=self._settings,
        )


def _channel(piece: Wave, channel: int | None) -> Wave:
    if channel is None:
        mixed: Wave = piece.mean(1, dtype=np.float32)
        return mixed
    return np.ascontiguousarray(piece[:, channel])


def _moved(words: Transcript, seconds: float) -> Transcript:
    """The transcript with its times so much later."""
    if words.alignment is None:
        return words
    tiers = (words.alignment.word, words.alignment.syllable, words.alignment.phone)
    return replace(words, alignment=Alignment(*(tuple(_later(tier, seconds)) for tier in tiers)))


def _later(tier: Sequence[Segment], seconds: float) -> Iterator[Segment]:
    return (replace(s, start=s.start + seconds, end=s.end + seconds) for s in tier)


def _placed(regions: Sequence[Region]) -> Transcript | None:
    """All words in the order of the regions, each region's characters moved to where they are in it."""
    text, source = "", None
    for region in regions:
        if region.excerpt is None:
            continue
        first = len(text) + bool(text)
        text = f"{text} {region.excerpt.words.text}" if text else region.excerpt.words.text
        region.excerpt = replace(region.excerpt, first=first)
        source = source or region.excerpt.words.source
    return Transcript(text, source) if text and source else None
