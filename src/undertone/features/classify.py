"""Published classifiers as encoders: one frame a clip, one vector a text, which hold the class logits.

A clip gives what transformers' pipeline computes from it, one clip at a time: no padding, no neighbours.
What is longer than a network takes is judged in windows, whose logits are averaged by their lengths.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import model_validator

from undertone.config import Config, fingerprint
from undertone.errors import ConfigError
from undertone.features.assemble import checked_frames, checked_wave
from undertone.features.batching import windows
from undertone.features.config import CODE, PrecisionOption, Window, choose_precision
from undertone.features.frontends import LENGTHS
from undertone.features.joined import CLOCK, RATE, one_vector
from undertone.features.text import token_limit
from undertone.pretrained.classifiers import ClassifierNetwork, load_classifier
from undertone.types import EncodedText

if TYPE_CHECKING:
    from undertone.types import Wave

__all__ = ["ClassifierConfig", "SpeechClassifier", "TextClassifier", "classifier"]

LEAST = RATE // 10
"""Samples: a shorter clip has silence after it, since convolutions need some."""
SILENCE = 2.0
"""Seconds of silence after a clip, of which ``window = "clip"`` computes the rest of Whisper's 30 s."""


class ClassifierConfig(Config):
    """Which published classifier, and how it is run."""

    name: str
    """A folder or hub name."""
    side: Literal["speech", "text"]
    revision: str | None = None
    """The hub's branch, tag or commit."""
    precision: PrecisionOption = "auto"
    """Numbers the network computes in; ``auto`` takes bf16 where the hardware has it."""
    window: Window = "full"
    """What Whisper gets: ``full``, the clip and silence up to 30 s, as it was trained and as the pipeline has
    it; ``clip``, another input, several times faster: the clip and two seconds of silence, whose last state
    stands for that of the silence left out."""

    @model_validator(mode="after")
    def _of_speech(self) -> ClassifierConfig:
        if self.window == "clip" and self.side == "text":
            raise ValueError("window = 'clip' is for speech")
        return self


def classifier(config: ClassifierConfig) -> SpeechClassifier | TextClassifier:
    """The classifier that a config describes."""
    return SpeechClassifier(config) if config.side == "speech" else TextClassifier(config)


class _Published:
    """What both sides share: the network, its identity, its device."""

    def __init__(self, config: ClassifierConfig) -> None:
        loaded = load_classifier(config.name, config.side, config.revision)
        precision = choose_precision(config.precision)
        self.name, self.revision, self.files = loaded.name, loaded.revision, loaded.files
        self.kind, self.labels, self.task = loaded.kind, loaded.labels, loaded.task
        self.config = config.model_copy(
            update={"precision": precision.name, "revision": loaded.revision or config.revision}
        )
        self.dim, self.dtype = len(loaded.labels), precision.dtype
        self.model, self.processor = loaded.model.to(precision.dtype), loaded.processor
        determining: dict[str, Any] = {
            "weights": loaded.weights,
            "head": list(loaded.labels),
            "task": loaded.task,
        }
        determining |= {"window": config.window, "precision": precision.name, "code": CODE}
        self.identity = fingerprint(determining)
        self._set_up(loaded)

    def _set_up(self, loaded: ClassifierNetwork) -> None:
        """What a side needs beyond that."""

    @torch.inference_mode()
    def _logits(self, inputs: Any) -> NDArray[np.float32]:
        """(1, K) of what a processor made."""
        given = {k: v.to(self.dtype) if v.is_floating_point() else v for k, v in inputs.items()}
        values: NDArray[np.float32] = self.model(**given).logits.float().numpy()
        return checked_frames(values, self.name)


class SpeechClassifier(_Published):
    """``SpeechEncoder``: the logits (1, K) of each wave."""

    rate, layers, clock = RATE, 0, CLOCK

    def _set_up(self, loaded: ClassifierNetwork) -> None:
        extractor = self.processor
        self.longest = {
            "whisper": RATE * int(getattr(extractor, "chunk_length", 30)),
            "audio-spectrogram-transformer": int(getattr(extractor, "max_length", 1024)) * RATE // 100,
        }.get(loaded.kind)
        """Samples that the network takes at most; None: any number."""
        if self.config.window == "full":
            return
        if loaded.kind != "whisper" or loaded.settings.use_weighted_layer_sum:
            raise ConfigError(f"{self.name}: window = 'clip' is for Whisper, by its last layer")

    def encode(self, waves: Sequence[Wave]) -> list[NDArray[np.float32]]:
        """The logits of each wave."""
        return [self._one(checked_wave(wave)) for wave in waves]

    def _one(self, wave: Wave) -> NDArray[np.float32]:
        if self.longest is None or len(wave) <= self.longest:
            return self._window(wave)
        parts = [wave[w.start : w.stop] for w, _ in windows(len(wave), self.longest, self.longest // 6)]
        mean: NDArray[np.float32] = np.mean([self._window(part) for part in parts], axis=0, dtype=np.float32)
        return mean

    def _window(self, wave: Wave) -> NDArray[np.float32]:
        padded = np.pad(wave, (0, max(0, LEAST - len(wave))))
        if self.config.window == "clip":
            return self._of_clip(padded)
        return self._logits(self.processor(padded, sampling_rate=RATE, return_tensors="pt"))

    @torch.inference_mode()
    def _of_clip(self, wave: Wave) -> NDArray[np.float32]:
        """The logits by Whisper's encoder over the clip and some silence, pooled as if it went on to 30 s."""
        from undertone.features.neural import whisper_states

        assert self.longest is not None
        wanted = len(wave) + SILENCE * RATE
        length = min([self.longest, *(n * RATE for n in LENGTHS if n * RATE >= wanted)])
        mel = self.processor(
            wave, sampling_rate=RATE, return_tensors="pt", padding="max_length", max_length=length
        ).input_features
        states = whisper_states(self.model.encoder, mel.transpose(1, 2).to(self.dtype))[0].float()
        whole = int(self.model.config.max_source_positions)
        last = states[-int(SILENCE * 25) :].mean(0)
        pooled = (states.sum(0) + (whole - len(states)) * last) / whole
        hidden = self.model.projector(pooled.to(self.dtype))
        values: NDArray[np.float32] = self.model.classifier(hidden).float().numpy()[None]
        return checked_frames(values, self.name)


class TextClassifier(_Published):
    """``TextEncoder``: the logits of each text, as one vector that covers no characters."""

    def _set_up(self, loaded: ClassifierNetwork) -> None:
        self.limit = token_limit(self.processor, loaded.settings)

    def encode(self, texts: Sequence[str]) -> list[EncodedText]:
        """The logits (1, K) of each text; nothing for an empty one."""
        return [one_vector(self._one(text)) for text in texts]

    def _one(self, text: str) -> NDArray[np.float32]:
        if not text.strip():
            return np.zeros((0, self.dim), np.float32)
        coded = self.processor(text, return_tensors="pt", verbose=False)
        count = coded["input_ids"].shape[1]
        if count <= self.limit:
            return self._logits(coded)
        logits, counts = zip(*self._parts(text), strict=True)
        return np.asarray(np.average(np.stack(logits), axis=0, weights=counts), np.float32)

    def _parts(self, text: str) -> Iterator[tuple[NDArray[np.float32], float]]:
        """The logits of each window of tokens, and how many tokens it has."""
        coded = self.processor(
            text, return_tensors="pt", truncation=True, max_length=self.limit, stride=self.limit // 4,
            return_overflowing_tokens=True, padding=True,
        )  # fmt: skip
        coded.pop("overflow_to_sample_mapping", None)
        for row in range(len(coded["input_ids"])):
            length = int(coded["attention_mask"][row].sum())
            yield self._logits({k: v[row : row + 1, :length] for k, v in coded.items()}), float(length)
