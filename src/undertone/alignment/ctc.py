"""Forced alignment with any CTC recogniser of Hugging Face: wav2vec 2.0, HuBERT, WavLM …

A CTC path passes through the transcript's tokens in order, blanks (ø) as it likes; between two
equal tokens there must be one. The mark between words (``|``) may be left out, so that a
recogniser that never emits it still aligns:

    ø? ─ c ─ ø? ─ a ─ ø? ─ t ─ ø? ─ |? ─ ø? ─ s …

A word that the vocabulary cannot spell becomes a star, which matches any token.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np

from undertone.alignment.nesting import nest
from undertone.alignment.syllables import complete
from undertone.alignment.tokens import Vocabulary
from undertone.alignment.transcript import SpokenWord, normalise
from undertone.alignment.viterbi import NONE, Topology, best_path
from undertone.audio import resample
from undertone.config import Config
from undertone.errors import AlignmentError, TranscriptMismatch
from undertone.types import Alignment, FrameClock, Segment

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from undertone.types import Wave

__all__ = ["CtcAligner", "CtcConfig", "Token", "align_emissions", "ctc_topology", "place"]


class CtcConfig(Config):
    """Which recogniser, and when its alignment is refused."""

    model: str
    """A folder or a hub name of a CTC model (safetensors)."""
    language: str = "en"
    """How numbers are read and syllables made."""
    gate: float = 0.0
    """An utterance of lower mean probability is refused: another text is spoken; 0 accepts all."""


@dataclass(frozen=True, slots=True)
class Token:
    """One unit of the transcript: a letter, a phone, or the mark between words."""

    column: int
    """Its column of the emissions; ``STAR`` is any token."""
    word: int
    """The word it belongs to, -1 for the mark between words."""
    text: str = ""

    @property
    def optional(self) -> bool:
        return self.word < 0


@dataclass(frozen=True, slots=True)
class TimedToken:
    """A token of the path and its half-open range of frames."""

    token: Token
    first: int
    end: int
    score: float
    """The mean probability of the token in its frames."""


def ctc_topology(tokens: Sequence[Token]) -> Topology:
    """States blank, token, blank … blank: ``2 k`` is the blank before token ``k``, ``2 k + 1`` the token."""
    states = 2 * len(tokens) + 1
    previous = np.full((states, 5), NONE, np.int64)
    previous[:, 0] = np.arange(states)
    for k, token in enumerate(tokens):
        blank, own = 2 * k, 2 * k + 1
        ways = [blank]
        if k:
            previous[blank, 1] = own - 2
            if tokens[k - 1].column != token.column:
                ways.append(own - 2)
        if k > 1 and tokens[k - 1].optional:  # past the mark between words
            ways.append(blank - 2)
            if tokens[k - 2].column != token.column:
                ways.append(own - 4)
        previous[own, 1 : 1 + len(ways)] = ways
    if tokens:
        previous[-1, 1] = states - 2
    first, last = np.full((2, states), -np.inf, np.float32)
    first[:2], last[-2:] = 0, 0
    return Topology(previous, np.where(previous == NONE, -np.inf, 0).astype(np.float32), first, last)


def place(emissions: NDArray[Any], tokens: Sequence[Token], blank: int) -> list[TimedToken] | None:
    """The frames of each token in ``emissions (T, V)``, log probabilities; None where T is too short."""
    columns = np.full(2 * len(tokens) + 1, blank)
    columns[1::2] = [token.column for token in tokens]
    scores = with_star(emissions, blank)[:, columns]
    path, score = best_path(scores, ctc_topology(tokens))
    if not math.isfinite(score):
        return None
    result, at = [], 0
    for state, frames in groupby(path.tolist()):
        end = at + len(list(frames))
        if state % 2:
            probability = float(np.exp(scores[at:end, state]).mean())
            result.append(TimedToken(tokens[state // 2], at, end, probability))
        at = end
    return result


def with_star(emissions: NDArray[Any], blank: int) -> NDArray[np.float32]:
    """The emissions and, as last column (``STAR``), the probability of any token but the blank."""
    others = np.delete(emissions, blank, axis=1)
    top = others.max(axis=1, keepdims=True)
    star = top + np.log(np.exp(others - top).sum(axis=1, keepdims=True))
    return np.concatenate([emissions, star], axis=1).astype(np.float32)


def align_emissions(
    emissions: NDArray[Any],
    words: Sequence[SpokenWord],
    vocabulary: Vocabulary,
    clock: FrameClock,
    language: str = "en",
) -> Alignment:
    """The nested tiers of ``words`` in ``emissions (T, V)``; phones where the vocabulary has them."""
    spelled = [vocabulary.spell(word.text) for word in words]
    tokens: list[Token] = []
    for index, pieces in enumerate(spelled):
        if index and vocabulary.delimiter is not None:
            tokens.append(Token(vocabulary.delimiter, -1))
        tokens.extend(Token(column, index, text) for column, text in pieces)
    timed = place(emissions, tokens, vocabulary.blank)
    if timed is None:
        raise AlignmentError(f"{len(emissions)} frames are too short for {len(tokens)} tokens")
    spoken, phones = [], []
    for index, group in groupby((t for t in timed if t.token.word >= 0), key=lambda t: t.token.word):
        members = list(group)
        frames = sum(t.end - t.first for t in members)
        score = sum(t.score * (t.end - t.first) for t in members) / frames
        start, end = _edge(clock, members[0].first), _edge(clock, members[-1].end)
        spoken.append(Segment(words[index].text, start, end, round(score, 4), words[index].chars))
        if vocabulary.phonetic:
            starts = [_edge(clock, t.first) for t in members] + [end]  # a phone lasts until the next one
            for t, a, b in zip(members, starts, starts[1:], strict=False):
                phones.append(Segment(t.token.text, a, b, round(t.score, 4)))
    return complete(nest(spoken, (), phones), language)


def _edge(clock: FrameClock, frame: int) -> float:
    """When a frame begins: it covers the time around its centre."""
    return max(0.0, clock.centre(frame) - clock.hop / 2)


class CtcAligner:
    """Aligns with one recogniser; one instance serves any number of utterances."""

    name = "ctc"

    def __init__(self, config: CtcConfig) -> None:
        from undertone.pretrained import load_recogniser

        self.config = config
        self.language = config.language
        recogniser = load_recogniser(config.model)
        self.model = recogniser.model.eval()
        self.extractor = recogniser.feature_extractor
        self.rate = int(self.extractor.sampling_rate)
        self.clock = frame_clock(self.model.config, self.rate)
        tokenizer = recogniser.tokenizer
        self.vocabulary = Vocabulary.of(
            tokenizer.get_vocab(),
            blank=tokenizer.pad_token_id,
            delimiter=getattr(tokenizer, "word_delimiter_token", None),
        )

    def align(self, wave: Wave, rate: int, text: str) -> Alignment:
        """Nested tiers with confidences of a mono wave; AlignmentError with the reason."""
        words = normalise(text, self.language)
        if not words:
            raise AlignmentError("the transcript has no words")
        emissions = self.emissions(wave, rate)
        alignment = align_emissions(emissions, words, self.vocabulary, self.clock, self.language)
        confidence, gate = float(np.mean([word.score or 0.0 for word in alignment.word])), self.config.gate
        if confidence < gate:
            raise TranscriptMismatch(
                f"what is spoken is not the transcript (confidence {confidence:.2f} < gate {gate:.2f})",
                alignment,
                confidence,
            )
        return alignment

    def emissions(self, wave: Wave, rate: int) -> NDArray[np.float32]:
        """``(T, V)`` log probabilities."""
        import torch

        samples = resample(wave, rate, self.rate)
        shortest = round((self.clock.offset * 2) * self.rate)  # one frame of the encoder
        samples = np.pad(samples, (0, max(0, shortest - len(samples))))
        inputs = self.extractor(samples, sampling_rate=self.rate, return_tensors="pt")
        with torch.inference_mode():
            logits = self.model(inputs.input_values).logits[0]
            result: NDArray[np.float32] = torch.log_softmax(logits.float(), dim=-1).numpy()
        return result


def frame_clock(settings: Any, rate: int) -> FrameClock:
    """The times of an encoder's frames, from the kernels and strides of its convolutions."""
    hop, field = 1, 1
    for kernel, stride in zip(settings.conv_kernel, settings.conv_stride, strict=True):
        field += (kernel - 1) * hop
        hop *= stride
    return FrameClock(hop=hop / rate, offset=field / 2 / rate)
