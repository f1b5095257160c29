"""A model that needs no weights: for tests of everything around the model, here and in others' code."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from undertone.judging.clip import Clip
from undertone.types import Prediction, WordScore

__all__ = ["FakeModel"]


class FakeModel:
    """Louder is angrier, and words in capitals too: a clip's answer depends on that clip alone.

    ``seconds`` a call and ``seconds_each`` a clip are slept, to stand for a slow network.
    """

    name = "fake@0 (no weights)"
    labels: tuple[str, ...] = ("angry", "happy", "sad", "neutral")
    rate = 16000
    sides: tuple[str, ...] = ("speech", "text")
    tiers: tuple[str, ...] = ()
    contextual = False

    def __init__(self, seconds: float = 0.0, seconds_each: float = 0.0) -> None:
        self.seconds = seconds
        self.seconds_each = seconds_each
        self.batches: list[int] = []
        """The size of every batch that came."""
        self.card: Mapping[str, Any] = {"system": "fake", "labels": list(self.labels), "synthesised": True}

    def predict(self, clips: Sequence[Clip], explain: bool = False) -> list[Prediction]:
        self.batches.append(len(clips))
        time.sleep(self.seconds + self.seconds_each * len(clips))
        return [self._one(clip, explain) for clip in clips]

    def _one(self, clip: Clip, explain: bool) -> Prediction:
        spoken = clip.wave is not None and len(clip.wave) > 0
        sides: dict[str, np.ndarray[Any, Any]] = {}
        if spoken:
            assert clip.wave is not None
            level = float(np.sqrt(np.mean(np.square(clip.wave, dtype=np.float64))))
            pitch = (
                float(np.mean(np.abs(np.diff(np.sign(clip.wave[:160_000]))))) if len(clip.wave) > 1 else 0.0
            )
            sides["speech"] = np.array([20 * level, 4 * pitch, 1 - 10 * level, 1.0])
        if clip.text:
            loud = sum(word.isupper() for word in clip.text.split())
            sides["text"] = np.array([loud, "!" in clip.text, "sad" in clip.text.lower(), 0.5], dtype=float)
        sides["fused"] = np.sum(list(sides.values()), axis=0) if sides else np.zeros(len(self.labels))
        named = {side: _named(self.labels, values) for side, values in sorted(sides.items())}
        fused = named["fused"]
        label = max(fused, key=fused.__getitem__)
        return Prediction(
            id=clip.id,
            label=label,
            confidence=fused[label],
            probabilities=fused,
            perspectives=named,
            words=_words(clip) if explain else (),
            model=self.name,
            modalities=tuple(side for side in ("speech", "text") if side in sides),
            text=clip.text,
            text_source=clip.words.source if clip.words else None,
        )


def _named(labels: Sequence[str], scores: np.ndarray[Any, Any]) -> dict[str, float]:
    weights = np.exp(scores - scores.max())
    return {label: float(p) for label, p in zip(labels, weights / weights.sum(), strict=True)}


def _words(clip: Clip) -> tuple[WordScore, ...]:
    times = clip.words.alignment.word if clip.words and clip.words.alignment else ()
    words, at = [], 0
    for index, text in enumerate((clip.text or "").split()):
        at = (clip.text or "").index(text, at)
        span = times[index] if index < len(times) else None
        words.append(
            WordScore(
                text=text,
                contribution=0.5 if text.isupper() else -0.1,
                start=span.start if span else None,
                end=span.end if span else None,
                chars=(at, at + len(text)),
            )
        )
        at += len(text)
    return tuple(words)
