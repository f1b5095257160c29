"""Whisper's encoder and BERT in plain torch: for prediction with the encoders in the box.

transformers takes five seconds to import, more than all else of a first answer together. Names of weights are
its own, so a state fits either; a test holds the numbers of both together. Not for training: no dropout.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from undertone import packed
from undertone.errors import ModelError

__all__ = ["Bert", "LogMel", "Settings", "WhisperBody", "fill", "network"]


def network(folder: Path) -> WhisperBody | Bert | None:
    """The network of a folder of packed weights, still without them (``fill``); None where it is of another
    kind, or has a decoder."""
    values = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    with torch.device("meta"):  # sizes without numbers
        if values["model_type"] == "whisper" and not values["decoder_layers"]:
            return WhisperBody(Settings(values))
        return Bert(Settings(values)) if values["model_type"] == "bert" else None


def fill(network: nn.Module, folder: Path) -> None:
    """Read the weights that a network is still without from a folder of packed ones."""
    missing = {name for name, tensor in network.state_dict().items() if tensor.is_meta}
    weights = {name: torch.from_numpy(values) for name, values in packed.read(folder, missing).items()}
    if left := sorted(missing - set(weights)):
        raise ModelError(f"{folder / packed.WEIGHTS}: lacks {', '.join(left[:3])}")
    network.load_state_dict(weights, strict=False, assign=True)


def _embedding(count: int, width: int) -> nn.Embedding:
    """Without the random numbers, which torch makes by importing its compiler where there is no memory."""
    return nn.Embedding(count, width, _weight=torch.empty(count, width))


class Settings(SimpleNamespace):
    """A network's ``config.json``, under the names that transformers gives all kinds."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        super().__init__(**values)
        self._values = dict(values)
        if values["model_type"] == "whisper":
            self.hidden_size, self.num_hidden_layers = values["d_model"], values["encoder_layers"]

    def to_dict(self) -> dict[str, Any]:
        """The file's values."""
        return dict(self._values)


def _attend(query: Tensor, key: Tensor, value: Tensor, heads: int, mask: Tensor | None = None) -> Tensor:
    """(B, T, D): scaled dot products of each head; ``mask (B, T)`` is True where there is something."""
    q, k, v = (x.view(*x.shape[:2], heads, -1).transpose(1, 2) for x in (query, key, value))
    seen = None if mask is None else mask[:, None, None].bool()
    mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=seen)
    return mixed.transpose(1, 2).flatten(2)


# ---- Whisper -----------------------------------------------------------------------------------------------


class WhisperBody(nn.Module):
    """Whisper's encoder alone."""

    def __init__(self, config: Settings) -> None:
        super().__init__()
        self.config = config
        self.encoder = _WhisperEncoder(config)

    def get_encoder(self) -> nn.Module:
        return self.encoder


class _WhisperEncoder(nn.Module):
    """The parts; ``features.neural.whisper_states`` runs them."""

    def __init__(self, config: Settings) -> None:
        super().__init__()
        self.config = config
        self.conv1 = nn.Conv1d(config.num_mel_bins, config.d_model, 3, padding=1)
        self.conv2 = nn.Conv1d(config.d_model, config.d_model, 3, stride=2, padding=1)
        self.embed_positions = _embedding(config.max_source_positions, config.d_model)
        self.layers = nn.ModuleList(_WhisperBlock(config) for _ in range(config.encoder_layers))
        last = getattr(config, "final_norm", True) is not False
        self.layer_norm = nn.LayerNorm(config.d_model) if last else nn.Identity()


class _WhisperBlock(nn.Module):
    def __init__(self, config: Settings) -> None:
        super().__init__()
        width, wide = config.d_model, config.encoder_ffn_dim
        self.self_attn = _WhisperAttention(width, config.encoder_attention_heads)
        self.self_attn_layer_norm = nn.LayerNorm(width)
        self.fc1, self.fc2 = nn.Linear(width, wide), nn.Linear(wide, width)
        self.final_layer_norm = nn.LayerNorm(width)

    def forward(self, hidden: Tensor, _mask: Tensor | None = None) -> Tensor:
        hidden = hidden + self.self_attn(self.self_attn_layer_norm(hidden))
        wide = F.gelu(self.fc1(self.final_layer_norm(hidden)))
        mixed: Tensor = hidden + self.fc2(wide)
        return mixed


class _WhisperAttention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj, self.k_proj = nn.Linear(width, width), nn.Linear(width, width, bias=False)
        self.v_proj, self.out_proj = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        mixed: Tensor = self.out_proj(_attend(self.q_proj(x), self.k_proj(x), self.v_proj(x), self.heads))
        return mixed


class LogMel:
    """Whisper's feature extractor: a wave to log-mel, as transformers' computes it."""

    def __init__(self, folder: Path) -> None:
        values = json.loads((folder / "preprocessor_config.json").read_text(encoding="utf-8"))
        self.sampling_rate, self.hop_length = int(values["sampling_rate"]), int(values["hop_length"])
        self.n_fft, self.feature_size = int(values["n_fft"]), int(values["feature_size"])
        self.mel_filters = _mel_filters(self.n_fft, self.feature_size, self.sampling_rate)
        self.window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(self.n_fft) / self.n_fft)

    def __call__(self, wave: NDArray[np.float32], **_: Any) -> Any:
        """``input_features`` (1, mels, frames) of a wave that is as long as it should be."""
        around = np.pad(wave.astype(np.float64), self.n_fft // 2, "reflect")
        frames = np.lib.stride_tricks.sliding_window_view(around, self.n_fft)[:: self.hop_length][:-1]
        power = np.abs(np.fft.rfft(frames * self.window, axis=1)) ** 2
        level = np.log10(np.maximum(power @ self.mel_filters, 1e-10))
        scaled = (np.maximum(level, level.max() - 8.0) + 4.0) / 4.0
        return SimpleNamespace(input_features=scaled.T[None].astype(np.float32))


def _mel_filters(size: int, mels: int, rate: int) -> NDArray[np.float64]:
    """(size / 2 + 1, mels): triangles on Slaney's mel scale up to 8 kHz, each of area 1."""
    places = np.linspace(0.0, 15.0 + 27.0 * np.log(8.0) / np.log(6.4), mels + 2)
    hertz = np.where(
        places < 15.0, places * 200.0 / 3.0, 1_000.0 * np.exp((places - 15.0) * np.log(6.4) / 27.0)
    )
    bins = np.linspace(0.0, rate / 2, size // 2 + 1)
    widths = np.diff(hertz)
    rise = (bins[:, None] - hertz[:-2]) / widths[:-1]
    fall = (hertz[2:] - bins[:, None]) / widths[1:]
    triangles = np.maximum(0.0, np.minimum(rise, fall))
    scaled: NDArray[np.float64] = triangles * (2.0 / (hertz[2:] - hertz[:-2]))
    return scaled


# ---- BERT --------------------------------------------------------------------------------------------------


class Bert(nn.Module):
    """BERT without heads: ids and a mask to vectors."""

    def __init__(self, config: Settings) -> None:
        super().__init__()
        self.config = config
        self.embeddings = _Embeddings(config)
        self.encoder = nn.Module()
        self.encoder.layer = nn.ModuleList(_BertBlock(config) for _ in range(config.num_hidden_layers))
        self.pooler = nn.Module()
        self.pooler.dense = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, **_: Any) -> Any:
        """``last_hidden_state`` (B, L, D)."""
        hidden = self.embeddings(input_ids)
        for block in self.encoder.layer:  # type: ignore[union-attr]
            hidden = block(hidden, attention_mask)
        return SimpleNamespace(last_hidden_state=hidden)


class _Embeddings(nn.Module):
    def __init__(self, config: Settings) -> None:
        super().__init__()
        width = config.hidden_size
        self.word_embeddings = _embedding(config.vocab_size, width)
        self.position_embeddings = _embedding(config.max_position_embeddings, width)
        self.token_type_embeddings = _embedding(config.type_vocab_size, width)
        self.LayerNorm = nn.LayerNorm(width, eps=config.layer_norm_eps)

    def forward(self, ids: Tensor) -> Tensor:
        places = self.position_embeddings.weight[: ids.shape[1]]
        summed = self.word_embeddings(ids) + self.token_type_embeddings.weight[0] + places
        normal: Tensor = self.LayerNorm(summed)
        return normal


class _Added(nn.Module):
    """A map whose output is added to what went in, and normalised."""

    def __init__(self, size: int, config: Settings) -> None:
        super().__init__()
        self.dense = nn.Linear(size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, x: Tensor, before: Tensor) -> Tensor:
        normal: Tensor = self.LayerNorm(self.dense(x) + before)
        return normal


class _BertBlock(nn.Module):
    def __init__(self, config: Settings) -> None:
        super().__init__()
        width = config.hidden_size
        self.heads = config.num_attention_heads
        self.attention = nn.Module()
        self.attention.self = nn.ModuleDict({n: nn.Linear(width, width) for n in ("query", "key", "value")})
        self.attention.output = _Added(width, config)
        self.intermediate = nn.Module()
        self.intermediate.dense = nn.Linear(width, config.intermediate_size)
        self.output = _Added(config.intermediate_size, config)

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        maps: Any = self.attention.self
        query, key, value = (maps[name](hidden) for name in ("query", "key", "value"))
        mixed = _attend(query, key, value, self.heads, mask)
        attended = self.attention.output(mixed, hidden)  # type: ignore[operator]
        wide = F.gelu(self.intermediate.dense(attended))  # type: ignore[operator]
        made: Tensor = self.output(wide, attended)
        return made
