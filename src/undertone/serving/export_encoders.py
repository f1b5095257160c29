"""The pretrained encoders of a model as graphs: samples to frames, ids to vectors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from undertone.errors import ConfigError, ModelError
from undertone.features.frontends import Convolutions
from undertone.features.neural import PretrainedSpeech
from undertone.features.text import PretrainedText
from undertone.judging.exported import ExportedSpeech, ExportedText

__all__ = ["TOLERANCE", "export_speech", "export_text"]

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
    if not isinstance(encoder.frontend, Convolutions) or encoder.precision.name != "fp32":
        raise ConfigError(
            f"{encoder.name}: only waveform networks (wav2vec 2.0, HuBERT, WavLM, data2vec) in fp32 can be"
            " exported"
        )
    about = {
        "name": encoder.name,
        "identity": encoder.identity,
        "dim": encoder.dim,
        "layers": encoder.layers,
        "least": encoder.frontend.receptive,
        "normalise": bool(encoder.frontend.extractor.do_normalize),
        "longest": encoder.config.long.above,
    }
    return _speech(about, encoder, _Samples(encoder), encoder.encode, folder, write)


def _speech(
    about: dict[str, Any],
    encoder: PretrainedSpeech,
    module: nn.Module,
    encode: Callable[[Sequence[Any]], list[Any]],
    folder: Path,
    write: Write,
) -> dict[str, Any]:
    example = torch.randn(1, 24_000, generator=torch.Generator().manual_seed(0))
    about |= {"rate": encoder.rate, "hop": encoder.clock.hop, "offset": encoder.clock.offset}
    about["file"] = write(module, example, "speech", "samples", "frames", {1: "N"})
    drawn = np.random.default_rng(0)
    waves = [(0.1 * drawn.standard_normal(n)).astype(np.float32) for n in (200, 9_000, 40_000)]
    with torch.inference_mode():
        pairs = zip(encode(waves), ExportedSpeech(folder, about).encode(waves), strict=True)
    return about | {"largest_difference": _checked(about["name"], pairs)}


def export_text(encoder: PretrainedText, folder: Path, write: Write) -> dict[str, Any]:
    """The graph and its tokenizer into the folder; what ``ExportedText`` must know of them."""
    if encoder.precision.name != "fp32":
        raise ConfigError(f"{encoder.name}: only encoders in fp32 can be exported")
    before, after = encoder._special()
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


def _checked(name: str, pairs: Any) -> float:
    worst = max(float(np.abs(a - b).max() / np.abs(a).max()) for a, b in pairs)
    if not worst <= TOLERANCE:
        raise ModelError(f"{name}: the graph's numbers differ by {worst:.1e}; {TOLERANCE:.0e} is allowed")
    return worst
