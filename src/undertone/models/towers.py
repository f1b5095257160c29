"""Blocks of pretrained networks that learn with a system: of speech from stored frames, of text from ids.

    top-k    the uppermost k blocks, and the final norm above them
    full     every block; of text the embeddings too
    lora     low-rank maps, added to attention's maps to queries and values; all else is frozen

Of a speech network what lies below its blocks never learns: the frozen part, an encoder like any other,
computes hidden state ``given`` once, and the tower makes a later one of it.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from typing import Any, Literal, Self

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.utils.checkpoint import checkpoint

from undertone.config import Config
from undertone.errors import ConfigError, ModelError
from undertone.models.batch import mask_from

__all__ = ["SpeechTower", "TextTower", "Tower", "TuneConfig"]

PROJECTIONS = (
    *("q_proj", "v_proj"),  # wav2vec 2.0 and kin, Whisper
    *("linear_q", "linear_v"),  # w2v-BERT
    *("query", "value"),  # BERT, RoBERTa
    *("q_lin", "v_lin"),  # DistilBERT
    *("query_proj", "value_proj"),  # DeBERTa
)
"""Names of attention's maps to queries and values, which ``lora`` adapts."""
FINAL_NORMS = ("final_norm", "final_layer_norm", "layer_norm", "LayerNorm")
"""Names of a text network's norm above its blocks, where it has one."""
MASKED = -1e9
"""Added to a score of attention: its weight is exactly 0."""


class TuneConfig(Config):
    """How much of an encoder learns."""

    tune: Literal["top-k", "full", "lora"] = "top-k"
    """See above."""
    top: PositiveInt = 2
    """k of ``top-k``."""
    layer: int | Literal["last", "weighted"] = "last"
    """What the system gets: one hidden state, the last, or all from ``given`` on, to be weighted."""
    checkpointing: bool = False
    """Compute blocks again in the backward pass: a third more time, much less memory."""
    rank: PositiveInt = 8
    """Of ``lora``."""
    dropout: float | None = Field(default=None, ge=0.0, lt=1.0)
    """Within the blocks that learn; None: as in the network's own settings."""

    @property
    def made(self) -> int:
        """The hidden state that the uppermost block makes; a negative number counts from the last."""
        return self.layer if isinstance(self.layer, int) else -1

    @property
    def given(self) -> int:
        """The hidden state that the lowest block takes, counted in the same way."""
        return self.made - self.top if self.tune == "top-k" else 0

    def learning(self, count: int) -> range:
        """Those of a network's blocks that learn."""
        stop = self.made % (count + 1) if -count - 1 <= self.made <= count else 0
        start = stop - self.top if self.tune == "top-k" else 0
        if not 0 <= start < stop:
            wanted = self.top if self.tune == "top-k" else 1
            raise ConfigError(
                f"layer {self.layer} has no {wanted} of the network's {count} blocks below it to tune"
            )
        return range(start, stop)

    def layers(self, count: int) -> int:
        """K of ``weighted``, else 0."""
        return len(self.learning(count)) + 1 if self.layer == "weighted" else 0


class Tower(nn.Module):
    """Stacked blocks of a pretrained network, of which some learn."""

    def __init__(self, network: Any, config: TuneConfig, stack: Iterable[nn.Module]) -> None:
        super().__init__()
        self.config, self.network = config, network.config
        self.stack = list(stack)
        """From the lowest to the uppermost."""

    @property
    def dim(self) -> int:
        """Width of the hidden states."""
        return int(self.network.hidden_size)

    @property
    def final(self) -> nn.Module:
        """The norm above the blocks; it does nothing where the network has none."""
        raise NotImplementedError

    def layers_above(self, name: str) -> int:
        """How many blocks lie above the parameter of this name (as ``named_parameters`` has it)."""
        parameter = self.get_parameter(name)
        if any(p is parameter for p in self.final.parameters()):
            return 0
        for above, block in enumerate(reversed(self.stack)):
            if any(p is parameter for p in block.parameters()):
                return above
        return len(self.stack)  # embeddings, and what leads into the first block

    def plain(self) -> dict[str, Any]:
        """The network's and the tuning's settings."""
        return {"network": self.network.to_dict(), "tune": self.config.plain()}

    def _choose(self, blocks: Sequence[nn.Module]) -> None:
        """Set which parameters learn: those of ``blocks`` and above, or maps added in ``blocks``."""
        self.requires_grad_(False)
        if self.config.dropout is not None:
            _drop(blocks, self.config.dropout)
        if self.config.tune == "lora":
            _adapt(blocks, self.config.rank)
        else:
            for part in (*blocks, self.final):
                part.requires_grad_(True)


class SpeechTower(Tower):
    """Frames of one hidden state → frames of a later one, by the blocks between."""

    def __init__(self, model: Any, config: TuneConfig) -> None:
        """``model``: a network of ``features/neural.FAMILIES``; its blocks are taken, not copied."""
        encoder = model.encoder if hasattr(model, "feature_projection") else model.get_encoder()
        blocks, kind = list(encoder.layers), model.config.model_type
        chosen = config.learning(len(blocks))
        super().__init__(model, config, [blocks[i] for i in chosen])
        self.blocks = nn.ModuleList(self.stack)
        whole = chosen.stop == len(blocks)
        normed = kind == "whisper" or getattr(model.config, "do_stable_layer_norm", False)
        self.norm = encoder.layer_norm if whole and normed else nn.Identity()
        self.kind, self.layers = kind, config.layers(len(blocks))
        self.positions: Any = None
        if kind == "wav2vec2-bert" and encoder.embed_positions is not None:
            self.positions = type(encoder.embed_positions)(model.config)  # holds no weights
        self._choose(self.stack)
        if kind == "wavlm" and chosen.start:  # the lowest block computes positions for those above
            lowest: Any = self.stack[0]
            lowest.attention.rel_attn_embed = blocks[0].attention.rel_attn_embed.requires_grad_(False)

    @classmethod
    def rebuild(cls, settings: Any, config: TuneConfig) -> Self:
        """Blocks of these settings (a network's config as plain values) with weights to be overwritten."""
        from undertone.pretrained import fresh

        with torch.device("meta"):  # the rest of the network takes no memory
            tower = cls(fresh(settings), config)
        tower.to_empty(device="cpu")
        if tower.positions is not None:
            tower.positions = type(tower.positions)(tower.network)
        return tower

    @property
    def final(self) -> nn.Module:
        return self.norm

    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """(B, T, D) from ``frames (B, T, D)``, or (B, K, T, D); zeros on padding."""
        mask = mask_from(lengths.clamp(min=1), frames.shape[1])
        shared, states = self._shared(frames, mask), [frames]
        for block in self.stack:
            if self.config.checkpointing and self.training:
                out = checkpoint(_run, block, states[-1], use_reentrant=False, **shared)
            else:
                out = _run(block, states[-1], **shared)
            states.append(out[0] if isinstance(out, tuple) else out)
            if self.kind == "wavlm":
                shared["position_bias"] = out[1]
        states[-1] = self.norm(states[-1])
        real = mask_from(lengths, frames.shape[1])[..., None]
        if not self.layers:
            return states[-1] * real
        return torch.stack(states, 1) * real[:, None]

    def _shared(self, frames: Tensor, mask: Tensor) -> dict[str, Any]:
        """What every block gets beside the frames: the mask in the network's form, and positions."""
        if self.kind == "wavlm":
            return {"attention_mask": mask, "position_bias": None}
        added = (~mask).to(frames.dtype)[:, None, None] * MASKED
        if self.kind != "wav2vec2-bert":
            return {"attention_mask": added}
        positions = None
        if self.positions is not None:
            self.positions.cached_sequence_length = None  # a kept one may be of inference mode
            positions = self.positions(frames)
        return {
            "attention_mask": added,
            "relative_position_embeddings": positions,
            "conv_attention_mask": mask,
        }


def _drop(blocks: Iterable[nn.Module], share: float) -> None:
    """Set the dropout of blocks: modules, or (Whisper's) numbers; that of attention's weights stays."""
    for block in blocks:
        if isinstance(getattr(block, "dropout", None), float):
            block.dropout = share  # type: ignore[assignment]
        for part in block.modules():
            if isinstance(part, nn.Dropout):
                part.p = share


def _run(block: nn.Module, frames: Tensor, **shared: Any) -> Any:
    with warnings.catch_warnings():  # WavLM adds a float bias to a boolean mask
        warnings.filterwarnings("ignore", "Support for mismatched key_padding_mask")
        return block(frames, **shared)


class TextTower(Tower):
    """BERT and its kin, whole: any encoder of token ids."""

    def __init__(self, model: Any, config: TuneConfig) -> None:
        if getattr(getattr(model, "config", None), "is_encoder_decoder", False):
            model = model.get_encoder()
        place = getattr(model, "encoder", None) or getattr(model, "transformer", None) or model
        name = next((n for n in ("layers", "layer") if hasattr(place, n)), None)
        if name is None:
            raise ModelError(f"{type(model).__name__}: its blocks are not known, so it cannot be tuned")
        if config.layer == "weighted":
            raise ConfigError("layer = 'weighted' is for speech: give the text encoder one layer")
        blocks = list(getattr(place, name))
        chosen = config.learning(len(blocks))
        super().__init__(model, config, blocks[: chosen.stop])
        self.model, self._places = model, (place, model)
        if chosen.stop < len(blocks):  # no hidden state but the last has the norm
            setattr(place, name, nn.ModuleList(self.stack))
            for holder, norm in self._final_norms():
                setattr(holder, norm, nn.Identity())
        self._choose([blocks[i] for i in chosen])
        if config.tune == "full":
            model.requires_grad_(True)
            if getattr(model, "pooler", None) is not None:
                model.pooler.requires_grad_(False)  # no output depends on it
        if config.checkpointing:
            enable = getattr(model, "activation_checkpointing_enable", None)
            enable = enable or model.gradient_checkpointing_enable  # in older versions
            enable({"use_reentrant": False})

    @classmethod
    def rebuild(cls, settings: Any, config: TuneConfig) -> Self:
        """A network of these settings (its config as plain values) with weights to be overwritten."""
        from undertone.pretrained import fresh

        return cls(fresh(settings), config)

    @property
    def final(self) -> nn.Module:
        return nn.ModuleList(getattr(holder, norm) for holder, norm in self._final_norms())

    def _final_norms(self) -> list[tuple[Any, str]]:
        """Where the norm above the blocks is; DeBERTa's is one of positions."""
        if self.network.model_type.startswith("deberta"):
            return []
        return [(p, n) for p in dict.fromkeys(self._places) for n in FINAL_NORMS if hasattr(p, n)]

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """(B, L, D) from its own token ids (B, L); zeros on padding."""
        mask = mask_from(lengths.clamp(min=1), ids.shape[1]).long()
        states: Tensor = self.model(input_ids=ids, attention_mask=mask, return_dict=True).last_hidden_state
        return states * mask_from(lengths, ids.shape[1])[..., None]


class LowRank(nn.Module):
    """Adds to a weight (out, in) the product of two thin matrices, which is 0 at first."""

    def __init__(self, weight: Tensor, rank: int) -> None:
        super().__init__()
        self.down = nn.Parameter(torch.empty(rank, weight.shape[1], device=weight.device))
        self.up = nn.Parameter(torch.zeros(weight.shape[0], rank, device=weight.device))
        nn.init.kaiming_uniform_(self.down, a=5**0.5)

    def forward(self, weight: Tensor) -> Tensor:
        return weight + 2.0 * self.up @ self.down


def _adapt(blocks: Sequence[nn.Module], rank: int) -> None:
    """Low-rank maps on attention's queries and values; who reads such a weight gets the adapted one."""
    named = [pair for block in blocks for pair in block.named_modules()]
    maps = [m for name, m in named if name.rpartition(".")[2] in PROJECTIONS and isinstance(m, nn.Linear)]
    if not maps:
        raise ModelError(f"{type(blocks[0]).__name__}: lora does not know its attention's maps")
    for one in maps:
        parametrize.register_parametrization(one, "weight", LowRank(one.weight, rank))
