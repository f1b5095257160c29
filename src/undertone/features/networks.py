"""Pretrained speech networks as a front and a body, so that both can be run piece by piece.

    wave (N,) --front--> features (T, F) --body--> hidden states (T, D) or layers (K, T, D)

The front (``fronts.py``) takes one clip at a time. The body attends over frames; padded batches need a
mask, which every architecture marked ``pads`` in ``FAMILIES`` honours exactly.

Hidden state ``k`` is the input of block ``k``; the last is what the network itself returns.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from undertone.errors import ConfigError, ModelError
from undertone.features.fronts import Convolutions, Filterbanks, Front, Spectrogram
from undertone.pretrained import Pretrained, architecture, load_speech

__all__ = ["FAMILIES", "Body", "Convolutions", "Family", "Layer", "load"]

Layer = int | Literal["last", "weighted"]
"""One hidden state, the last, or all of them."""


class Body(nn.Module):
    """Attention over frames, run only as deep as the wanted hidden state."""

    def __init__(self, found: Pretrained, layer: Layer) -> None:
        super().__init__()
        self.project = getattr(found.model, "feature_projection", None)
        self.encoder: Any = found.model.encoder if self.project is not None else found.model.get_encoder()
        self.blocks = len(self.encoder.layers)
        self.layer = _checked_layer(layer, self.blocks, found.name)
        if isinstance(self.layer, int):
            self.encoder.layers = self.encoder.layers[: max(self.layer, 1)]
        self.dim = int(found.settings.hidden_size)
        self.layers = self.blocks + 1 if self.layer == "weighted" else 0

    def forward(self, features: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, T, F) with mask (B, T) → (B, T, D), or (B, K, T, D) for ``weighted``."""
        seen: list[Tensor] = []
        with self._listening(seen):
            if self.project is None:
                out = self.encoder(features.transpose(1, 2))
            else:
                hidden = self.project(features)
                hidden = hidden[0] if isinstance(hidden, tuple) else hidden
                with warnings.catch_warnings():  # WavLM adds a float bias to a boolean mask
                    warnings.filterwarnings("ignore", "Support for mismatched key_padding_mask")
                    out = self.encoder(hidden, attention_mask=mask)
        last: Tensor = out.last_hidden_state
        if self.layer == "last":
            return last
        return torch.stack([*seen, last], 1) if self.layer == "weighted" else seen[-1]

    @contextmanager
    def _listening(self, seen: list[Tensor]) -> Iterator[None]:
        """Collect what goes into each block (``weighted``), or the one hidden state asked for."""

        def before(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            seen.append(args[0] if args else kwargs["hidden_states"])

        def after(_module: nn.Module, _args: Any, out: Any) -> None:
            seen.append(out[0] if isinstance(out, tuple) else out)

        layers, hooks = self.encoder.layers, []
        if self.layer == "weighted":
            hooks = [layer.register_forward_pre_hook(before, with_kwargs=True) for layer in layers]
        elif self.layer == 0:
            hooks = [layers[0].register_forward_pre_hook(before, with_kwargs=True)]
        elif isinstance(self.layer, int):
            hooks = [layers[-1].register_forward_hook(after)]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()


@dataclass(frozen=True)
class Family:
    """How the networks of one architecture are taken apart."""

    front: Callable[[Pretrained], Front]
    pads: bool
    """Does a masked, padded batch give what single clips give? If not: equal lengths only."""


FAMILIES: dict[str, Family] = {
    "wav2vec2": Family(Convolutions, pads=True),
    "hubert": Family(Convolutions, pads=True),
    "wavlm": Family(Convolutions, pads=True),
    "data2vec-audio": Family(Convolutions, pads=False),  # five position convolutions leak across the mask
    "wav2vec2-bert": Family(Filterbanks, pads=True),
    "whisper": Family(Spectrogram, pads=False),  # all clips fill the same window: lengths are equal
}
"""By transformers' name of the architecture. Each is held to the contract by the same test."""


def load(name: str, revision: str | None = None) -> Pretrained:
    """A pretrained network of one of the families; ModelError when it is of another kind."""
    kind = architecture(name, revision)
    if kind not in FAMILIES:
        raise ModelError(f"{name}: '{kind}' is not a speech encoder; known: {', '.join(FAMILIES)}")
    return load_speech(name, revision)


def _checked_layer(layer: Layer, blocks: int, name: str) -> Layer:
    if layer in ("last", "weighted"):
        return layer
    if isinstance(layer, bool) or not isinstance(layer, int) or not -blocks - 1 <= layer <= blocks:
        raise ConfigError(f"layer {layer}: {name} has hidden states 0 to {blocks}, 'last' and 'weighted'")
    index = layer % (blocks + 1)
    return "last" if index == blocks else index
