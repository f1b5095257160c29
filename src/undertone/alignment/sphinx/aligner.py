"""Forced alignment of English with the acoustic model and the dictionary of pocketsphinx' wheel.

Only these files are used, nothing is downloaded; the search is our own (``search``).
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

from undertone.alignment.boundaries import LATENESS, Lateness, settle
from undertone.alignment.nesting import nest
from undertone.alignment.pronunciation import UNKNOWN, english, stressed
from undertone.alignment.sphinx import cepstra
from undertone.alignment.sphinx.hmm import STATES, load_model
from undertone.alignment.sphinx.search import PhonePath, SearchConfig, TimedPhone, search
from undertone.alignment.syllables import complete
from undertone.alignment.transcript import SpokenWord, normalise
from undertone.audio import resample
from undertone.errors import AlignmentError, TranscriptMismatch
from undertone.types import Alignment, Segment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from undertone.types import Wave

__all__ = ["SphinxAligner", "SphinxConfig", "LEAST_FIT", "LEAST_SPREAD", "margins", "tiers"]

MARGIN_MIDDLE, MARGIN_SLOPE = -6.5, 1.0
"""The mean margin of confidence one half, and the slope of the confidence there (per nat)."""
LEAST_FIT, LEAST_SPREAD = -11.1, -14.8
"""Below each is 1 in 200 of the right transcripts of 18 actors, and none of 8 readers'; chosen by
``benchmarks/gate.py``, which measures each speaker with thresholds chosen without that speaker."""
WORST, UNEVEN = 0.3, 4.0
"""Weights of the worst quarter of phones and of uneven durations beside the mean margin."""


class SphinxConfig(SearchConfig):
    """The search's weights, and which results are refused."""

    gate: float = 0.5
    """An utterance of lower confidence is refused: another text is spoken; 0 accepts all."""
    longest: float = 120.0
    """Seconds that are aligned in one piece: memory grows with their square."""


class SphinxAligner:
    """Aligns English transcripts; one instance serves any number of utterances."""

    name = "sphinx"
    language = "en"

    def __init__(self, config: SphinxConfig | None = None) -> None:
        self.config = config or SphinxConfig()
        self.model = load_model()
        self.lexicon = english()

    def align(self, wave: Wave, rate: int, text: str) -> Alignment:
        """Nested tiers with confidences of a mono wave.

        Raises AlignmentError with the reason; TranscriptMismatch where another text is spoken.
        """
        words = normalise(text)
        path = self.find(wave, rate, words)
        confidence = _logistic(self.evidence(path))
        alignment, gate = tiers(path, words), self.config.gate
        if confidence < gate:
            raise TranscriptMismatch(
                f"what is spoken is not the transcript (confidence {confidence:.2f} < gate {gate:.2f})",
                alignment,
                confidence,
            )
        return alignment

    def find(self, wave: Wave, rate: int, words: Sequence[SpokenWord]) -> PhonePath:
        """The best path, however bad."""
        if not words:
            raise AlignmentError("the transcript has no words")
        seconds = len(wave) / rate
        if seconds > self.config.longest:
            raise AlignmentError(
                f"{seconds:.0f} s in one piece, at most {self.config.longest:.0f} s: cut it into utterances"
            )
        variants = [self.lexicon.variants(word.text) for word in words]
        path = search(resample(wave, rate, cepstra.RATE), variants, self.model, self.config)
        if path is None:
            least = sum(min(map(len, v)) for v in variants) * STATES * cepstra.HOP / cepstra.RATE
            raise AlignmentError(
                f"{seconds:.2f} s are too short for {len(words)} words ({least:.2f} s at least)"
            )
        return path

    def evidence(self, path: PhonePath) -> float:
        """How well a transcript fits the recording, by the worse of its clues; below 0 it is another text."""
        fit, spread = self.clues(path)
        return min(fit - LEAST_FIT, (spread - LEAST_SPREAD) / 2)

    def clues(self, path: PhonePath) -> tuple[float, float]:
        """How well all words fit, low where all are wrong; and a spread, low where some are wrong.

        A voice or a room unlike the training data lowers all margins, a wrong word only its own: the spread
        is how far the worst word and the worst tenth of phones are below the others, with half the mean.
        """
        own = margins(path)
        mean, tenth, quarter, middle = float(own.mean()), *map(float, np.percentile(own, [10, 25, 50]))
        spoken = groupby((p for p in path.phones if p.phone.word >= 0), key=lambda p: p.phone.word)
        words = [np.concatenate([path.margins[p.first : p.end] for p in word]).mean() for _, word in spoken]
        spread = float(min(words) - np.mean(words)) + tenth - middle + mean / 2
        return mean + WORST * quarter - UNEVEN * self._unevenness(path), spread

    def _unevenness(self, path: PhonePath) -> float:
        """How far durations of phones deviate from the usual ones at the clip's own pace, in log time."""
        usual = self.model.lasting.sum(axis=1)
        spoken = [p for p in path.phones if p.phone.word >= 0]
        pace = [np.log((p.end - p.first) / usual[self.model.phones.index(p.phone.name)]) for p in spoken]
        return float(np.abs(np.array(pace) - np.median(pace)).mean())


def margins(path: PhonePath) -> NDArray[np.float32]:
    """How much each phone scores below the best of all phones, nats a frame in the mean.

    Long phones weigh no more than short ones, since a wrong word fits silences and long vowels.
    """
    spoken = [path.margins[p.first : p.end].mean() for p in path.phones if p.phone.word >= 0]
    return np.array(spoken, np.float32)


def _logistic(value: float) -> float:
    return round(float(1 / (1 + np.exp(-value))), 4)


def _confidence(margin: float) -> float:
    """The confidence of a mean margin."""
    return _logistic(MARGIN_SLOPE * (margin - MARGIN_MIDDLE))


def tiers(path: PhonePath, words: Sequence[SpokenWord], lateness: Lateness = LATENESS) -> Alignment:
    """The path's words, syllables and phones in seconds, phones with their stress."""
    clock = cepstra.clock()
    start = clock.offset - clock.hop / 2  # a frame covers the time around its centre
    edges = [start + p.first * clock.hop for p in path.phones] + [start + path.phones[-1].end * clock.hop]
    edges = settle(edges, [p.phone.name for p in path.phones], path.contrast, lateness)
    timed = zip(path.phones, edges, edges[1:], strict=False)
    spoken, phones = [], []
    for index, group in groupby(timed, key=lambda item: item[0].phone.word):
        if index < 0:
            continue
        members = list(group)
        names = stressed(words[index].text, [p.phone.name for p, _, _ in members])
        for name, (p, a, b) in zip(names, members, strict=True):
            label = "spn" if name == UNKNOWN else name
            phones.append(Segment(label, a, b, _confidence(_mean(path, p.first, p.end))))
        spoken.append(_word(words[index], members, path))
    return complete(nest(spoken, (), phones))


def _word(word: SpokenWord, members: Sequence[tuple[TimedPhone, float, float]], path: PhonePath) -> Segment:
    score = _confidence(_mean(path, members[0][0].first, members[-1][0].end))
    return Segment(word.text, members[0][1], members[-1][2], score, word.chars)


def _mean(path: PhonePath, first: int, end: int) -> float:
    return float(path.margins[first:end].mean())
