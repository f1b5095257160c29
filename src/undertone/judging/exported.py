"""What ``undertone export`` wrote: the network runs in onnxruntime or openvino, without torch."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from undertone.errors import ModelError
from undertone.features.assemble import averaged, checked_frames, checked_wave
from undertone.features.batching import at_level, of_lengths, windows
from undertone.features.joined import CLOCK, RATE, SpeechSides, TextSides, one_vector
from undertone.judging.encoders import ClipFeatures, Encoders
from undertone.judging.model import TrainedModel
from undertone.judging.tensors import SIDES, arrays_of, output_name
from undertone.runtimes import open_graph
from undertone.types import BESIDE, EncodedText, FrameClock, SpeechEncoder, TextEncoder

if TYPE_CHECKING:
    from undertone.types import Wave

__all__ = [
    "FILES",
    "ExportedClassifier",
    "ExportedNetwork",
    "ExportedSpeech",
    "ExportedText",
    "ExportedTextClassifier",
    "load_exported",
    "normalised",
]

FILES = {"onnx": "model.onnx", "openvino": "model.xml"}


class ExportedNetwork:
    """A graph and what runs it."""

    def __init__(self, path: Path, sizes: dict[str, int], sides: Sequence[str]) -> None:
        self._sizes, self._sides = sizes, tuple(sides)
        self._run = open_graph(path, [output_name(side) for side in sides])

    def run(self, clips: Sequence[ClipFeatures]) -> dict[str, NDArray[np.float32]]:
        answers = self._run(arrays_of(clips, self._sizes))
        return {side: np.array(answer) for side, answer in zip(self._sides, answers, strict=True)}


def load_exported(path: Path) -> TrainedModel:
    """The model in an exported folder."""
    try:
        card = json.loads((path / "card.json").read_text(encoding="utf-8"))
        about = card["exported"]
        name, sizes, sides = str(about["name"]), dict(about["dimensions"]), list(about["sides"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path}: not an exported model: its card.json lacks {error}") from None
    if not set(sides) <= {*SIDES, *BESIDE}:
        raise ModelError(f"{path}: gives {', '.join(sides)}; this version knows {', '.join(SIDES)}")
    graph = next((path / file for file in FILES.values() if (path / file).is_file()), None)
    if graph is None:
        raise ModelError(f"{path}: holds neither {' nor '.join(FILES.values())}")
    tokenizer = path / "tokenizer.json"
    made = about.get("encoders", {})
    encoders = Encoders(
        card,
        tokenizer if tokenizer.is_file() else None,
        speech=_speech(path, made["speech"]) if "speech" in made else None,
        text=_text(path, made["text"]) if "text" in made else None,
    )
    return TrainedModel(name, card, encoders, ExportedNetwork(graph, sizes, sides), tuple(about["tiers"]))


def _speech(path: Path, made: Mapping[str, Any]) -> SpeechEncoder:
    if "members" in made:
        return SpeechSides([ExportedClassifier(path, one) for one in made["members"]])
    return ExportedSpeech(path, made)


def _text(path: Path, made: Mapping[str, Any]) -> TextEncoder:
    if "members" in made:
        return TextSides([ExportedTextClassifier(path, one) for one in made["members"]])
    return ExportedText(path, made)


# ---- pretrained encoders exported with the model -------------------------------------------------------
#
# The card holds what the graph of each does not: rate, clock, least length and normalisation of a wave; the
# tokens that stand before and after a text, and how many there may be.


class ExportedSpeech:
    """``SpeechEncoder`` over a graph from samples (1, N) to frames (1, T, D) or layers (1, K, T, D).

    Whisper's takes ``lengths`` of samples alone: a clip has silence after it, whose frames are cut.
    """

    def __init__(self, folder: Path, about: Mapping[str, Any]) -> None:
        self.name, self.identity = str(about["name"]), str(about["identity"])
        self.rate, self.dim, self.layers = int(about["rate"]), int(about["dim"]), int(about["layers"])
        self._average, self._hop = int(about.get("average", 1)), float(about["hop"])
        self.clock = FrameClock(hop=about["hop"], offset=about["offset"]).averaged(self._average)
        self._least, self._normalise = int(about["least"]), bool(about["normalise"])
        self._longest, self._level = float(about["longest"]), about.get("level")
        self._lengths, self._overlap = list(about.get("lengths", ())), int(about.get("overlap", 0))
        self._run = open_graph(folder / about["file"], ["frames"])
        # OpenVINO plans by the first shape: after a single frame, longer clips came out wrong (2026.4)
        first = self._lengths[0] if self._lengths else self._least + self.rate
        self._run({"samples": np.zeros((1, first), np.float32)})

    def encode(self, waves: Sequence[Wave]) -> list[NDArray[np.float32]]:
        """Frames of each wave, one at a time."""
        each = (self._one(at_level(checked_wave(wave), self._level)) for wave in waves)
        return [averaged(frames, self._average) for frames in each]

    def _one(self, wave: Wave) -> NDArray[np.float32]:
        if len(wave) > self._longest * self.rate:
            raise ModelError(
                f"{len(wave) / self.rate:.0f} s at once: the exported encoder takes {self._longest:g} s"
            )
        if self._lengths:
            hop = round(self._hop * self.rate)
            parts = of_lengths(wave, self._lengths, hop, self._overlap)
            made = [self._run({"samples": part[None]})[0][0][..., kept, :] for part, kept in parts]
            return checked_frames(np.concatenate(made, axis=-2), self.name)
        padded = np.pad(wave, (0, max(0, self._least - len(wave))))
        samples = normalised(padded) if self._normalise else padded
        (frames,) = self._run({"samples": samples[None]})
        return checked_frames(np.array(frames[0], np.float32), self.name)


def normalised(wave: Wave) -> Wave:
    """Mean 0 and spread 1 over the clip, as transformers' feature extractor does it."""
    values: Wave = ((wave - wave.mean()) / np.sqrt(wave.var() + 1e-7)).astype(np.float32)
    return values


class ExportedText:
    """``TextEncoder`` over a graph from ids (1, L) to vectors (1, L, D)."""

    def __init__(self, folder: Path, about: Mapping[str, Any]) -> None:
        from tokenizers import Tokenizer

        self.name, self.identity, self.dim = str(about["name"]), str(about["identity"]), int(about["dim"])
        self._before, self._after = list(about["before"]), list(about["after"])
        self._limit = int(about["limit"])
        self._tokenizer = Tokenizer.from_file(str(folder / about["tokenizer"]))
        self._run = open_graph(folder / about["file"], [str(about.get("gives", "vectors"))])
        self._run({"ids": np.zeros((1, min(self._limit, 16)), np.int64)})  # as of speech, above

    def encode(self, texts: Sequence[str]) -> list[EncodedText]:
        """Vectors of each text, one at a time."""
        return [self._one(text) for text in texts]

    def _one(self, text: str) -> EncodedText:
        if not text.strip():
            return EncodedText(np.zeros((0, self.dim), np.float32), np.zeros((0, 2), np.int32))
        ids, chars = self._ids(text)
        (vectors,) = self._run({"ids": np.array([ids], np.int64)})
        return EncodedText(np.array(vectors[0], np.float32), np.array(chars, np.int32).reshape(-1, 2))

    def _ids(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """The ids of a text and the characters of each."""
        coded = self._tokenizer.encode(text, add_special_tokens=False)
        room = self._limit - len(self._before) - len(self._after)
        kept = slice(room if self._tokenizer.truncation else None)  # cut as in training, else refused
        ids = [*self._before, *coded.ids[kept], *self._after]
        if len(ids) > self._limit:
            raise ModelError(f"a text of {len(ids)} tokens: the exported encoder takes {self._limit}")
        none = (0, 0)
        return ids, [*([none] * len(self._before)), *coded.offsets[kept], *([none] * len(self._after))]


class ExportedTextClassifier(ExportedText):
    """A published classifier of text, over a graph from ids (1, L) to logits (1, 1, K)."""

    def _one(self, text: str) -> EncodedText:
        if not text.strip():
            return one_vector(np.zeros((0, self.dim), np.float32))
        (logits,) = self._run({"ids": np.array([self._ids(text)[0]], np.int64)})
        return one_vector(np.array(logits[0], np.float32))


class ExportedClassifier:
    """``SpeechEncoder``: a published classifier over a graph from samples (1, N) to logits (1, 1, K)."""

    rate, layers, clock = RATE, 0, CLOCK

    def __init__(self, folder: Path, about: Mapping[str, Any]) -> None:
        self.name, self.identity, self.dim = str(about["name"]), str(about["identity"]), int(about["dim"])
        self._least, self._normalise = int(about["least"]), bool(about["normalise"])
        self._whole = about.get("whole")
        self._run = open_graph(folder / about["file"], ["logits"])
        self._run({"samples": np.zeros((1, self._whole or self._least + self.rate), np.float32)})  # as above

    def encode(self, waves: Sequence[Wave]) -> list[NDArray[np.float32]]:
        """The logits of each wave; of one that is longer than the network takes, the mean of its windows'."""
        return [self._one(checked_wave(wave)) for wave in waves]

    def _one(self, wave: Wave) -> NDArray[np.float32]:
        size = self._whole or max(len(wave), self._least)
        parts = [wave[w.start : w.stop] for w, _ in windows(max(1, len(wave)), size, size // 6)]
        padded = [np.pad(p, (0, max(0, (self._whole or self._least) - len(p)))) for p in parts]
        given = [normalised(p) if self._normalise else p for p in padded]
        logits = [self._run({"samples": p[None]})[0][0] for p in given]
        return checked_frames(np.mean(logits, axis=0, dtype=np.float32), self.name)
