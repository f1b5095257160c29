"""From a clip to numbers: the encoders that a model was trained with, found by its card. No torch needed
where the encoders need none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from undertone.errors import ModelError
from undertone.features.assemble import Assembled, assemble, token_words
from undertone.judging.clips import Clip
from undertone.types import Alignment, EncodedText, Segment, SpeechEncoder, TextEncoder, Utterance

if TYPE_CHECKING:
    from undertone.types import Wave

__all__ = ["Front", "Prepared"]

Tokens = EncodedText | tuple[NDArray[np.int64], NDArray[np.int32]]


@dataclass(frozen=True)
class Prepared:
    """One clip as a network takes it, and its words."""

    clip: Clip
    parts: Assembled
    words: tuple[Segment, ...]
    """Every spoken word of the transcript, with times where they are known (else 0 and 0)."""
    token_word: NDArray[np.int64]
    """(L,): the index in ``words`` of each token, -1 for none."""
    timed: bool
    """Whether the words have times."""


class Front:
    """Speech and text encoders of one model."""

    def __init__(
        self,
        card: Mapping[str, Any],
        tokenizer: Path | None,
        *,
        speech: SpeechEncoder | None = None,
        text: TextEncoder | None = None,
    ) -> None:
        """``speech`` and ``text``: encoders to use in place of those that the card names."""
        encoders = card.get("encoders", {})
        self.speech = speech or _speech(encoders.get("speech"))
        self.text = text or _text(encoders.get("text"), tokenizer)
        self._pool_speech = bool(encoders.get("speech", {}).get("functionals"))
        self._pool_text = bool(encoders.get("text", {}).get("functionals"))

    @property
    def rate(self) -> int:
        return self.speech.rate if self.speech else 16_000

    def prepare(self, clips: Sequence[Clip]) -> list[Prepared]:
        """Each clip's features; encoders promise that they do not depend on the other clips.

        A wave that several clips share, each with other words, is encoded once.
        """
        frames = self._frames({id(c.wave): c.wave for c in clips if c.wave is not None and len(c.wave)})
        tokens = self._tokens(clips)
        return [
            self._one(clip, frames.get(id(clip.wave)), tokenised)
            for clip, tokenised in zip(clips, tokens, strict=True)
        ]

    def _frames(self, waves: Mapping[int, Wave]) -> dict[int, NDArray[np.float32]]:
        if self.speech is None or not waves:
            return {}
        return dict(zip(waves, self.speech.encode(list(waves.values())), strict=True))

    def _tokens(self, clips: Sequence[Clip]) -> list[Tokens | None]:
        if self.text is None:
            return [None] * len(clips)
        if isinstance(self.text, _Pieces):
            return [self.text.encode(clip.text) if clip.text else None for clip in clips]
        found = iter(self.text.encode([clip.text for clip in clips if clip.text]))
        return [next(found) if clip.text else None for clip in clips]

    def _one(self, clip: Clip, frames: NDArray[np.float32] | None, tokens: Tokens | None) -> Prepared:
        alignment = clip.alignment or Alignment()
        utterance = Utterance(clip.id, "", text=clip.text, alignment=alignment if alignment.word else None)
        clock = self.speech.clock if self.speech else None
        parts = assemble(utterance, frames, clock, tokens)
        words = alignment.word or spoken(clip.text)
        chars = tokens.chars if isinstance(tokens, EncodedText) else tokens[1] if tokens else _NOTHING
        token_word = token_words(chars, words, clip.text or "")
        if self._pool_speech and parts["speech"] is not None:
            parts = {**parts, "speech": _functionals(parts["speech"]), "segments": {}, "segment_word": {}}
        if self._pool_text and parts["text"] is not None and len(parts["text"]):
            parts = {**parts, "text": parts["text"].mean(0, keepdims=True), "token_word": None}
            token_word = np.full(1, -1, np.int64)
        return Prepared(clip, parts, words, token_word, timed=bool(alignment.word))


_NOTHING = np.zeros((0, 2), np.int32)


def spoken(text: str | None) -> tuple[Segment, ...]:
    """The spoken words of a transcript with their characters, and no times."""
    from undertone.alignment.transcript import normalise

    return tuple(Segment(word.text, 0.0, 0.0, chars=word.chars) for word in normalise(text or ""))


def _functionals(frames: NDArray[np.float32]) -> NDArray[np.float32]:
    """(1, 2D), or (K, 1, 2D) of layers: mean and deviation over the frames, as in training."""
    both = [frames.mean(-2, keepdims=True), frames.std(-2, keepdims=True)]
    return np.concatenate(both, axis=-1, dtype=np.float32)


class _Pieces:
    """The subword pieces that were fitted with the model."""

    def __init__(self, path: Path | None) -> None:
        from undertone.features.subword import Subword

        if path is None:
            raise ModelError("the model folder holds no tokenizer.json, though its text was learned with it")
        self._subword = Subword.load(path)

    def encode(self, text: str) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        return self._subword.encode(text)


def _speech(described: Mapping[str, Any] | None) -> SpeechEncoder | None:
    if described is None:
        return None
    from undertone.features.config import SpeechConfig
    from undertone.features.speech import build

    encoder = build(SpeechConfig.parse(described.get("settings", {"name": described["name"]}), "card.json"))
    _check_identity(described, encoder)
    return encoder


def _text(described: Mapping[str, Any] | None, tokenizer: Path | None) -> TextEncoder | _Pieces | None:
    if described is None:
        return None
    if described["name"] == "subword":
        return _Pieces(tokenizer)
    from undertone.features.config import TextConfig
    from undertone.features.text import build

    encoder = build(TextConfig.parse(described["settings"], "card.json"))
    _check_identity(described, encoder)
    return encoder


def _check_identity(described: Mapping[str, Any], encoder: SpeechEncoder | TextEncoder) -> None:
    """A model must hear what it was trained on: other weights, layers or code are another encoder."""
    known = described.get("identity")
    if known and known != encoder.identity:
        raise ModelError(
            f"the model was trained on {described['name']} as {known}, here it is {encoder.identity}: "
            "other weights, settings or code; train again or install the version on its card"
        )
