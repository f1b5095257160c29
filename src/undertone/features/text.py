"""Pretrained text encoders: a vector for each token, and the characters each token covers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from undertone.config import fingerprint
from undertone.errors import ConfigError
from undertone.features.assemble import checked_frames
from undertone.features.batching import plan, windows
from undertone.features.config import CODE, TextConfig, check_device, choose_precision
from undertone.pretrained import load_text
from undertone.types import EncodedText, TextEncoder

__all__ = ["PretrainedText", "build", "special", "text_encoder", "token_limit"]

BATCH_TOKENS = 16_384
"""On a GPU: tokens, padding included, that share a batch."""
OVERLAP = 64
"""Tokens that neighbouring windows of a very long text share."""


def text_encoder(name: str, layer: int | str = "last", precision: str = "auto", **more: Any) -> TextEncoder:
    """The text encoder of a folder or hub name; ``more`` are the other fields of ``TextConfig``."""
    return build(TextConfig.parse({"name": name, "layer": layer, "precision": precision, **more}))


def build(config: TextConfig) -> TextEncoder:
    """The encoder that a config describes."""
    check_device(config.device)
    return PretrainedText(config)


@dataclass(frozen=True)
class _Window:
    """Ids that the network takes at once, and which of its vectors are kept."""

    ids: list[int]
    keep: slice


@dataclass(frozen=True)
class _Plan:
    """How one text is encoded."""

    windows: list[_Window]
    chars: NDArray[np.int32]


class PretrainedText:
    """Any encoder that transformers' AutoModel loads and that has a fast tokenizer."""

    def __init__(self, config: TextConfig) -> None:
        pretrained = load_text(config.name, config.revision)
        self.name = config.name
        self.keep = config.keep
        self.revision = pretrained.revision
        self.tokenizer = pretrained.processor
        self.model: Any = pretrained.model
        if getattr(pretrained.settings, "is_encoder_decoder", False):
            self.model = pretrained.model.get_encoder()
        self.device = torch.device(config.device)
        self.precision = choose_precision(config.precision, config.device)
        self.config = config.model_copy(
            update={"precision": self.precision.name, "revision": pretrained.revision or config.revision}
        )
        """As given, but with what ``auto`` and a branch's name were resolved to."""
        self.model.to(self.device, self.precision.dtype)
        self.dim = int(pretrained.settings.hidden_size)
        self.limit = token_limit(self.tokenizer, pretrained.settings)
        self.depth = int(pretrained.settings.num_hidden_layers)
        self.layer = self._checked(config.layer)
        self.padding = int(getattr(self.tokenizer, "pad_token_id", None) or 0)
        self.batch_tokens = 1 if self.device.type == "cpu" else BATCH_TOKENS
        self.group = 1 if self.device.type == "cpu" else 256
        self.files = pretrained.files
        determining = {"weights": pretrained.weights, "layer": self.layer, "keep": self.keep, "code": CODE}
        self.identity = fingerprint(determining | {"precision": self.precision.name})

    def _checked(self, layer: int | str) -> int:
        index = self.depth if layer == "last" else int(layer)
        if not 0 <= index <= self.depth:
            raise ConfigError(f"layer {layer}: {self.name} has hidden states 0 to {self.depth} and 'last'")
        return index

    @torch.inference_mode()
    def encode(self, texts: Sequence[str]) -> list[EncodedText]:
        """Token vectors of each text; a text beyond the network's length is encoded in windows."""
        plans = [self._plan(text) for text in texts]
        states = iter(self._states([window.ids for one in plans for window in one.windows]))
        encoded = []
        for one in plans:
            parts = [next(states)[window.keep] for window in one.windows]
            vectors = np.concatenate(parts) if parts else np.zeros((0, self.dim), np.float32)
            encoded.append(EncodedText(checked_frames(vectors, self.name), one.chars))
        return encoded

    def _plan(self, text: str) -> _Plan:
        """The windows a text is cut into, the special tokens kept once."""
        if not text.strip():
            return _Plan([], np.zeros((0, 2), np.int32))
        coded = self.tokenizer(
            text, add_special_tokens=False, return_offsets_mapping=True, truncation=False, verbose=False
        )
        ids, chars = list(coded["input_ids"]), np.array(coded["offset_mapping"], np.int32).reshape(-1, 2)
        before, after = special(self.tokenizer)
        size = self.limit - len(before) - len(after)
        spans = windows(len(ids), size, min(OVERLAP, size // 4))
        parts = []
        for number, (span, keep) in enumerate(spans):
            shift = len(before) - span.start
            first = 0 if number == 0 else keep.start + shift
            last = None if number == len(spans) - 1 else keep.stop + shift
            parts.append(_Window([*before, *ids[span.start : span.stop], *after], slice(first, last)))
        none = np.zeros((1, 2), np.int32)
        return _Plan(parts, np.concatenate([none.repeat(len(before), 0), chars, none.repeat(len(after), 0)]))

    def _states(self, rows: Sequence[list[int]]) -> list[NDArray[np.float32]]:
        """Hidden states of each row of ids: one at a time on a CPU, padded and masked on a GPU."""
        states: list[NDArray[np.float32] | None] = [None] * len(rows)
        for batch in plan([len(row) for row in rows], self.batch_tokens, pads=True):
            longest = max(len(rows[i]) for i in batch)
            ids = torch.zeros(len(batch), longest, dtype=torch.int64)
            mask = torch.zeros(len(batch), longest, dtype=torch.int64)
            for place, i in enumerate(batch):
                ids[place, : len(rows[i])] = torch.tensor(rows[i])
                mask[place, : len(rows[i])] = 1
            ids[mask == 0] = self.padding
            out = self._forward(ids.to(self.device), mask.to(self.device))
            for place, i in enumerate(batch):
                states[i] = out[place, : len(rows[i])]
        return [x for x in states if x is not None]

    def _forward(self, ids: Tensor, mask: Tensor) -> NDArray[np.float32]:
        out = self.model(input_ids=ids, attention_mask=mask, output_hidden_states=self.layer < self.depth)
        state = out.last_hidden_state if self.layer == self.depth else out.hidden_states[self.layer]
        vectors: NDArray[np.float32] = state.float().cpu().numpy()
        return vectors

    def __reduce__(self) -> tuple[Any, ...]:
        return PretrainedText, (self.config,)


def special(tokenizer: Any) -> tuple[list[int], list[int]]:
    """Ids that a tokenizer puts before and after a text."""
    coded = tokenizer("a", return_special_tokens_mask=True)
    ids, added = list(coded["input_ids"]), list(coded["special_tokens_mask"])
    first, last = added.index(0), len(added) - added[::-1].index(0)
    return ids[:first], ids[last:]


def token_limit(tokenizer: Any, settings: Any) -> int:
    """Tokens the network can take at once, special ones included."""
    positions = int(getattr(settings, "max_position_embeddings", 512))
    if settings.model_type in ("roberta", "xlm-roberta", "camembert", "data2vec-text"):
        positions -= settings.pad_token_id + 1  # positions begin after the padding id
    return min(positions, int(tokenizer.model_max_length))
