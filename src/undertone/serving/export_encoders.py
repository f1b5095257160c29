"""The pretrained encoders of a model as graphs: samples to frames, ids to vectors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from undertone.errors import ConfigError, ModelError
from undertone.features.classify import LEAST, SpeechClassifier, TextClassifier
from undertone.features.frontends import Convolutions, Spectrogram
from undertone.features.neural import PretrainedSpeech
from undertone.features.text import PretrainedText, special
from undertone.judging.exported import (
    ExportedClassifier,
    ExportedSpeech,
    ExportedText,
    ExportedTextClassifier,
)

__all__ = ["TOLERANCE", "export_speech", "export_speech_side", "export_text", "export_text_side"]

TOLERANCE = 1e-3
"""Largest allowed difference of an encoder's numbers, over the largest number."""

TOKENIZER = "text-tokenizer.json"
Write = Callable[[nn.Module, Tensor, str, str, str, Mapping[int, str]], str]
"""Module, example, file stem, names of input and output, free dimensions of the input → the file's name."""


class _Samples(nn.Module):
    def __init__(self, encoder: PretrainedSpeech) -> None:
        super().__init__()
        assert isinstance(encoder.frontend, Convolutions)
        self.stack, self.body = encoder.frontend.stack, encoder.body

    def forward(self, samples: Tensor) -> Tensor:
        frames: Tensor = self.body(self.stack(samples))
        return frames


class _Spectra(nn.Module):
    """Whisper: samples of one of its lengths to log-mel, as its feature extractor has it, to frames.

    The short-time Fourier transform is a strided convolution with the windowed waves of each bin.
    """

    def __init__(self, extractor: Any, body: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.size, self.hop = int(extractor.n_fft), int(extractor.hop_length)
        time = np.arange(self.size)
        turns = 2 * np.pi * np.outer(np.arange(self.size // 2 + 1), time) / self.size
        hann = 0.5 - 0.5 * np.cos(2 * np.pi * time / self.size)
        waves = np.concatenate([np.cos(turns), np.sin(turns)]) * hann
        self.waves = nn.Buffer(torch.from_numpy(waves[:, None].astype(np.float32)))
        self.bands = nn.Buffer(torch.from_numpy(extractor.mel_filters.astype(np.float32)))
        self.body = body

    def forward(self, samples: Tensor) -> Tensor:
        around = nn.functional.pad(samples[:, None], (self.size // 2, self.size // 2), "reflect")
        cosines, sines = nn.functional.conv1d(around, self.waves, stride=self.hop)[..., :-1].chunk(2, 1)
        power = (cosines.square() + sines.square()).transpose(1, 2) @ self.bands
        level = power.clamp(min=1e-10).log10()
        frames: Tensor = self.body((torch.maximum(level, level.max() - 8.0) + 4.0) / 4.0)
        return frames


class _Ids(nn.Module):
    def __init__(self, encoder: PretrainedText) -> None:
        super().__init__()
        self.model, self.layer, self.depth = encoder.model, encoder.layer, encoder.depth

    def forward(self, ids: Tensor) -> Tensor:
        out = self.model(
            input_ids=ids, attention_mask=torch.ones_like(ids), output_hidden_states=self.layer < self.depth
        )
        frames: Tensor = out.last_hidden_state if self.layer == self.depth else out.hidden_states[self.layer]
        return frames


def export_speech(encoder: PretrainedSpeech, folder: Path, write: Write) -> dict[str, Any]:
    """The graph into the folder; what ``ExportedSpeech`` must know of it."""
    front = encoder.frontend
    if not isinstance(front, Convolutions | Spectrogram) or encoder.precision.name != "fp32":
        raise ConfigError(
            f"{encoder.name}: only Whisper and waveform networks (wav2vec 2.0, HuBERT, WavLM, data2vec) in"
            " fp32 can be exported"
        )
    whisper = isinstance(front, Spectrogram)
    about: dict[str, Any] = {
        "name": encoder.name,
        "identity": encoder.identity,
        "dim": encoder.dim,
        "layers": encoder.layers,
        "least": front.receptive,
        "normalise": not whisper and bool(front.extractor.do_normalize),
        "longest": 3_600.0 if whisper else encoder.config.long.above,
    }
    if encoder.config.level is not None:
        about |= {"level": encoder.config.level}
    if encoder.config.average > 1:
        about |= {"average": encoder.config.average}
    clock = front.clock
    if whisper:
        about |= {"lengths": list(encoder.lengths)}
        about |= {"overlap": round(encoder.config.long.overlap / clock.hop)}
    lengths = about.get("lengths", [24_000])
    example = torch.randn(1, lengths[0], generator=torch.Generator().manual_seed(0))
    about |= {"rate": encoder.rate, "hop": clock.hop, "offset": clock.offset}
    module = _Spectra(front.extractor, encoder.body) if whisper else _Samples(encoder)
    about["file"] = write(module, example, "speech", "samples", "frames", {1: "N"})
    drawn = np.random.default_rng(0)
    sizes = (200, 9_000, 40_000, *(n - 7_777 for n in lengths[1:]))
    waves = [(0.1 * drawn.standard_normal(n)).astype(np.float32) for n in sizes]
    with torch.inference_mode():
        pairs = zip(encoder.encode(waves), ExportedSpeech(folder, about).encode(waves), strict=True)
    return about | {"largest_difference": _checked(about["name"], pairs)}


def export_text(encoder: PretrainedText, folder: Path, write: Write) -> dict[str, Any]:
    """The graph and its tokenizer into the folder; what ``ExportedText`` must know of them."""
    if encoder.precision.name != "fp32":
        raise ConfigError(f"{encoder.name}: only encoders in fp32 can be exported")
    before, after = special(encoder.tokenizer)
    about: dict[str, Any] = {"name": encoder.name, "identity": encoder.identity, "dim": encoder.dim}
    about |= {"before": list(before), "after": list(after), "limit": encoder.limit}
    encoder.tokenizer.backend_tokenizer.save(str(folder / TOKENIZER))
    ids = torch.tensor([[*before, 1, 2, 3, *after]])
    about |= {"tokenizer": TOKENIZER, "file": write(_Ids(encoder), ids, "text", "ids", "vectors", {1: "L"})}
    texts = ["no", "What a lovely day it is!", "I can't believe it, really; not at all."]
    with torch.inference_mode():
        ours, theirs = encoder.encode(texts), ExportedText(folder, about).encode(texts)
    if any(a.chars.tolist() != b.chars.tolist() for a, b in zip(ours, theirs, strict=True)):
        raise ModelError(f"{about['name']}: its tokens differ without transformers; it cannot be exported")
    pairs = ((a.vectors, b.vectors) for a, b in zip(ours, theirs, strict=True))
    return about | {"largest_difference": _checked(about["name"], pairs)}


# ---- published classifiers -------------------------------------------------------------------------------


class _Logits(nn.Module):
    """A network with its head: (1, 1, K) of what it takes."""

    def __init__(self, model: Any, transposed: bool = False, masked: bool = False) -> None:
        super().__init__()
        self.model, self.transposed, self.masked = model, transposed, masked

    def forward(self, given: Tensor) -> Tensor:
        mask = {"attention_mask": torch.ones_like(given)} if self.masked else {}
        logits: Tensor = self.model(given.transpose(1, 2) if self.transposed else given, **mask).logits
        return logits[:, None]


WAVES = (
    "wav2vec2",
    "hubert",
    "wavlm",
    "data2vec-audio",
    "unispeech",
    "unispeech-sat",
    "wav2vec2-conformer",
    "sew",
)
"""Networks that take samples; Whisper takes spectra."""


def export_speech_side(member: Any, folder: Path, stem: str, write: Write) -> dict[str, Any]:
    """The graph of a classifier from samples to logits; what ``ExportedClassifier`` must know of it."""
    whisper = member.kind == "whisper"
    if not isinstance(member, SpeechClassifier) or not (whisper or member.kind in WAVES):
        raise ConfigError(f"{member.name}: only Whisper and waveform networks can be exported as sides")
    _refuse_other(member, window=True)
    about: dict[str, Any] = {
        "name": member.name,
        "identity": member.identity,
        "dim": member.dim,
        "least": LEAST,
    }
    about |= {"whole": member.longest} if whisper else {}
    about |= {"normalise": not whisper and bool(member.processor.do_normalize)}
    core = _Logits(member.model, transposed=whisper)
    module = _Spectra(member.processor, core) if whisper else core
    example = torch.randn(1, member.longest or 24_000, generator=torch.Generator().manual_seed(0))
    about["file"] = write(module, 0.1 * example, stem, "samples", "logits", {} if whisper else {1: "N"})
    drawn = np.random.default_rng(0)
    waves = [(0.1 * drawn.standard_normal(n)).astype(np.float32) for n in (1_000, 9_000, 40_000)]
    pairs = zip(member.encode(waves), ExportedClassifier(folder, about).encode(waves), strict=True)
    return about | {"largest_difference": _checked(member.name, pairs)}


def export_text_side(member: Any, folder: Path, stem: str, write: Write) -> dict[str, Any]:
    """The graph of a classifier from ids to logits; what ``ExportedTextClassifier`` must know of it."""
    if not isinstance(member, TextClassifier):
        raise ConfigError(f"{member.name}: a model of undertone cannot be exported as a side of another")
    _refuse_other(member)
    before, after = special(member.processor)
    about: dict[str, Any] = {"name": member.name, "identity": member.identity, "dim": member.dim}
    tokenizer = f"{stem}-tokenizer.json"
    about |= {"before": before, "after": after, "limit": member.limit, "tokenizer": tokenizer}
    about |= {"gives": "logits"}
    member.processor.backend_tokenizer.save(str(folder / tokenizer))
    ids = torch.tensor([[*before, 1, 2, 3, *after]])
    about["file"] = write(_Logits(member.model, masked=True), ids, stem, "ids", "logits", {1: "L"})
    texts = ["no", "What a lovely day it is!", "I can't believe it, really; not at all."]
    ours, theirs = member.encode(texts), ExportedTextClassifier(folder, about).encode(texts)
    pairs = ((a.vectors, b.vectors) for a, b in zip(ours, theirs, strict=True))
    return about | {"largest_difference": _checked(member.name, pairs)}


def _refuse_other(member: Any, window: bool = False) -> None:
    if member.config.precision != "fp32" or (window and member.config.window != "full"):
        raise ConfigError(f"{member.name}: exported as a side in fp32 and with window = 'full' alone")


def _checked(name: str, pairs: Any) -> float:
    worst = max(float(np.abs(a - b).max() / np.abs(a).max()) for a, b in pairs)
    if not worst <= TOLERANCE:
        raise ModelError(f"{name}: the graph's numbers differ by {worst:.1e}; {TOLERANCE:.0e} is allowed")
    return worst
