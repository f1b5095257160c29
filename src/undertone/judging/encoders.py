"""From clips to features: the encoders that a model was trained with, built from its card. No torch is
imported where the encoders need none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from undertone.alignment.transcript import normalise
from undertone.errors import ModelError
from undertone.features.assemble import assemble, frame_count, token_words
from undertone.features.config import CODE
from undertone.features.subword import Subword
from undertone.judging.clip import Clip
from undertone.models.example import Example
from undertone.types import Alignment, EncodedText, FrameClock, Segment, SpeechEncoder, TextEncoder, Utterance

if TYPE_CHECKING:
    from undertone.types import Wave

__all__ = ["ClipFeatures", "Encoders", "check_identity"]

Tokens = EncodedText | tuple[NDArray[np.int64], NDArray[np.int32]]


@dataclass(frozen=True)
class ClipFeatures:
    """One clip as a network takes it, whole or with parts of it left out, and its words.

    One call of the network holds several variants of a clip:

        the clip as it is                             → the fused posterior, and each branch's
        the clip without its text, without its speech → a perspective, for systems without that branch
        the clip without one word, for every word     → that word's contribution
    """

    clip: Clip
    example: Example
    words: tuple[Segment, ...]
    """Every spoken word of the transcript, with times where they are known (else 0 and 0)."""
    token_word: NDArray[np.int64]
    """(L,): the index in ``words`` of each token, -1 for none."""
    timed: bool
    """Whether the words have times."""
    frame_gate: NDArray[np.float32] | None = None
    """(T,) factors on the frames; None: all 1."""
    token_gate: NDArray[np.float32] | None = None
    """(L,) factors on the tokens."""
    clock: FrameClock | None = None
    """Of the frames."""

    @property
    def frame_count(self) -> int:
        return 0 if self.example.speech is None else frame_count(self.example.speech, self.clock)

    @property
    def token_count(self) -> int:
        tokens = self.example.text
        return 0 if tokens is None else len(tokens)

    @property
    def sides(self) -> tuple[str, ...]:
        """The modalities that are present."""
        counts = {"speech": self.frame_count, "text": self.token_count}
        return tuple(side for side, count in counts.items() if count)

    def only(self, side: str) -> Self:
        """The clip as if the other modality were missing."""
        if side == "speech":
            example = replace(self.example, text=None, token_word=None)
        else:
            example = replace(self.example, speech=None, segments={}, segment_word={})
        return replace(self, example=example)

    def without_each_word(self) -> list[Self]:
        """For each word of the transcript: everything but that word, in its frames (if timed) and tokens."""
        spans = self.example.segments.get("word")
        deleted = []
        for index in range(len(self.words)):
            frame_gate = np.ones(self.frame_count, np.float32)
            token_gate = np.ones(self.token_count, np.float32)
            if spans is not None:
                frame_gate[spans[index, 0] : spans[index, 1]] = 0.0
            if self.token_count:
                token_gate[self.token_word == index] = 0.0
            deleted.append(replace(self, frame_gate=frame_gate, token_gate=token_gate))
        return deleted


class Encoders:
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
        described = card.get("encoders", {})
        if any(one.get("functionals") for one in described.values()):
            raise ModelError("trained by an older undertone on features pooled beforehand; train again")
        self.speech = speech or _speech(described.get("speech"))
        self.text = text or _text(described.get("text"), tokenizer)

    @property
    def sides(self) -> tuple[str, ...]:
        """The modalities that there are encoders for."""
        encoders = {"speech": self.speech, "text": self.text}
        return tuple(side for side, encoder in encoders.items() if encoder is not None)

    @property
    def rate(self) -> int:
        return self.speech.rate if self.speech else 16_000

    def without_each_word(self, one: ClipFeatures) -> list[ClipFeatures]:
        """For each word of the transcript the clip without it."""
        if getattr(self.speech or self.text, "members", None):
            from undertone.judging.deletion import without_each_word

            return without_each_word(self, one)
        return one.without_each_word()

    def encode(self, clips: Sequence[Clip]) -> list[ClipFeatures]:
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
        if isinstance(self.text, Subword):
            return [self.text.encode(clip.text) if clip.text else None for clip in clips]
        encoded = iter(self.text.encode([clip.text for clip in clips if clip.text]))
        return [next(encoded) if clip.text else None for clip in clips]

    def _one(self, clip: Clip, frames: NDArray[np.float32] | None, tokens: Tokens | None) -> ClipFeatures:
        alignment = (clip.words and clip.words.alignment) or Alignment()
        utterance = Utterance(clip.id, "", text=clip.text, alignment=alignment if alignment.word else None)
        clock = self.speech.clock if self.speech else None
        parts = assemble(utterance, frames, clock, tokens)
        words = alignment.word or _words(clip.text)
        chars = tokens.chars if isinstance(tokens, EncodedText) else tokens[1] if tokens else _NOTHING
        token_word = token_words(chars, words, clip.text or "")
        example = Example(id=clip.id, **parts)
        return ClipFeatures(clip, example, words, token_word, timed=bool(alignment.word), clock=clock)


_NOTHING = np.zeros((0, 2), np.int32)


def _words(text: str | None) -> tuple[Segment, ...]:
    """The spoken words of a transcript with their characters, and no times."""
    return tuple(Segment(word.text, 0.0, 0.0, chars=word.chars) for word in normalise(text or ""))


def _speech(described: Mapping[str, Any] | None) -> SpeechEncoder | None:
    if described is None:
        return None
    if "members" in described:
        from undertone.judging.sides import side_encoder

        return side_encoder("speech", described)  # type: ignore[return-value]
    from undertone.features.config import SpeechConfig
    from undertone.features.speech import build

    settings = described.get("settings", {"name": described["name"]})
    encoder = build(SpeechConfig.parse({**settings, "device": "cpu"}, "card.json"))
    check_identity(described, encoder)
    return encoder


def _text(described: Mapping[str, Any] | None, tokenizer: Path | None) -> TextEncoder | Subword | None:
    if described is None:
        return None
    if "members" in described:
        from undertone.judging.sides import side_encoder

        return side_encoder("text", described)  # type: ignore[return-value]
    if described["name"] == "subword" or "tuning" in described:
        if tokenizer is None:
            raise ModelError("the model folder holds no tokenizer.json for the ids that its network takes")
        return Subword(None, tokenizer)
    from undertone.features.config import TextConfig
    from undertone.features.text import build

    encoder = build(TextConfig.parse({**described["settings"], "device": "cpu"}, "card.json"))
    check_identity(described, encoder)
    return encoder


def check_identity(described: Mapping[str, Any], encoder: SpeechEncoder | TextEncoder) -> None:
    """A model needs the features it was trained on: other weights, layers or code are another encoder."""
    known = described.get("identity")
    if known and known != encoder.identity:
        raise ModelError(
            f"{described['name']} is not the encoder that the model was trained with: "
            + _difference(described, encoder)
        )


def _difference(described: Mapping[str, Any], encoder: SpeechEncoder | TextEncoder) -> str:
    """What of the encoder is other than the card has it."""
    known, files = described.get("files"), getattr(encoder, "files", None)
    if files is None:
        return (
            f"undertone computes it otherwise (as {encoder.identity}, not as {described['identity']}); "
            "train again, or install the version on the model's card"
        )
    if known is None:
        return "an older undertone made the card, which does not list its files; train the model again"
    changed = sorted(name for name in {**known, **files} if known.get(name) != files.get(name))
    if changed:
        where = f" (revision {described['revision']})" if described.get("revision") else ""
        verb = "differs" if len(changed) == 1 else "differ"
        return f"{', '.join(changed)} {verb}; give it the same files again{where}, or train again"
    if described.get("code") != CODE:
        return (
            "undertone's own code for it has changed; train again, or install the version on the model's card"
        )
    return "the settings on the card (layer, precision, keep …) are not those of its identity"
