"""Systems with their encoders inside the graph, from samples and BERT's token ids, so that encoders learn.

    frozen   nothing of the encoder learns
    top-k    the uppermost k blocks (and a final norm above them)
    full     everything above the front end
    lora     low-rank maps added to those of attention (extra ``lora``), the rest frozen

The convolutional front end of a speech network never learns, and runs clip by clip: the group norm of
wav2vec2-base has no mask, so padding would change its output. The head is any system; it gets the same batch
as when features come from the store.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from undertone.config import Config
from undertone.errors import MissingExtra, ModelError
from undertone.models.batch import Batch, mask_from
from undertone.models.example import Dimensions
from undertone.models.system import Output, System
from undertone.types import Tier

__all__ = ["SpeechTower", "TextTower", "TuneConfig", "Tuned"]


PROJECTIONS = (
    *("q_proj", "v_proj"),  # wav2vec 2.0 and kin
    *("query", "value"),  # BERT, RoBERTa
    *("q_lin", "v_lin"),  # DistilBERT
    *("query_proj", "value_proj"),  # DeBERTa
)
"""Names of attention's maps to queries and values, which ``lora`` adapts."""


class TuneConfig(Config):
    """How much of an encoder learns."""

    tune: Literal["frozen", "top-k", "full", "lora"] = "frozen"
    """See above."""
    top: PositiveInt = 2
    """k of ``top-k``."""
    layer: Literal["last", "weighted"] = "last"
    """What the system gets: the last hidden states, or all of them, to be weighted."""
    checkpointing: bool = False
    """Compute blocks again in the backward pass: a third more time, much less memory."""
    rank: PositiveInt = 8
    """Of ``lora``."""


class Tower(nn.Module):
    """A pretrained network of stacked blocks, of which some learn."""

    def __init__(self, model: Any, config: TuneConfig) -> None:
        super().__init__()
        self.settings = config
        self.model = model
        self.stack: list[nn.Module] = list(_blocks(model))
        _choose(self, config)
        if config.checkpointing:
            enable = getattr(model, "activation_checkpointing_enable", None)
            enable = enable or model.gradient_checkpointing_enable  # in older versions
            enable({"use_reentrant": False})
        if config.tune == "lora":
            self.model = _with_lora(model, config.rank)

    @property
    def dim(self) -> int:
        """Width of the hidden states."""
        return int(self.model.config.hidden_size)

    @property
    def layers(self) -> int:
        """K of ``layer = "weighted"``, else 0."""
        return len(self.stack) + 1 if self.settings.layer == "weighted" else 0

    def layers_above(self, name: str) -> int:
        """How many blocks lie above the parameter of this name (as ``named_parameters`` has it)."""
        parameter = dict(self.named_parameters())[name]
        for index, block in enumerate(self.stack):
            if any(p is parameter for p in block.parameters()):
                return len(self.stack) - 1 - index
        return len(self.stack)  # embeddings, and what leads into the first block

    def train(self, mode: bool = True) -> Tower:
        """A frozen tower stays in evaluation mode: its dropout would only add noise."""
        super().train(mode and self.settings.tune != "frozen")
        return self

    def plain(self) -> dict[str, Any]:
        """The network's and the tuning's settings."""
        return {"network": self.model.config.to_dict(), "tune": self.settings.plain()}

    def _states(self, run: Callable[[], Any]) -> Tensor:
        """(B, S, D): the last hidden states of a run, or for ``weighted`` all of them, (B, K, S, D): what
        goes into each block, and what comes out in the end."""
        if self.settings.layer == "last":
            last: Tensor = run().last_hidden_state
            return last
        states: list[Tensor] = []

        def keep(_: nn.Module, args: tuple[Any, ...], named: dict[str, Any]) -> None:
            states.append(args[0] if args else named["hidden_states"])

        handles = [block.register_forward_pre_hook(keep, with_kwargs=True) for block in self.stack]
        try:
            states.append(run().last_hidden_state)
        finally:
            for handle in handles:
                handle.remove()
        return torch.stack(states, 1)


class SpeechTower(Tower):
    """wav2vec 2.0 and its kin: HuBERT, WavLM, data2vec-audio."""

    def __init__(self, model: Any, config: TuneConfig) -> None:
        if not all(hasattr(model, part) for part in ("feature_extractor", "feature_projection", "encoder")):
            kind = getattr(getattr(model, "config", None), "model_type", type(model).__name__)
            raise ModelError(
                f"{kind}: only wav2vec 2.0, HuBERT, WavLM and data2vec-audio can be tuned; "
                "extract its features instead"
            )
        super().__init__(model, config)
        model.config.layerdrop = 0.0  # a block left out would shift the weighted layers

    def forward(self, waves: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Frames and their lengths (B,) from samples ``waves (B, N)``, ``lengths (B,)``; 0 stays 0."""
        features, counts = self._front(waves, lengths)
        return self._body(features, mask_from(counts, features.shape[1])), counts

    def one(self, samples: Tensor) -> Tensor:
        """(1, T, D), or (1, K, T, D): frames of one clip (1, N), padded and normalised: for a graph."""
        return self._body(self._net.feature_extractor(samples).transpose(1, 2), None)

    @property
    def receptive(self) -> int:
        """Samples under one frame: the least that the convolutions take."""
        hop, field = 1, 1
        for kernel, stride in zip(self._net.config.conv_kernel, self._net.config.conv_stride, strict=True):
            field += (kernel - 1) * hop
            hop *= stride
        return field

    @property
    def _net(self) -> Any:
        """The network itself, from within what ``lora`` puts around it."""
        return self.model.base_model.model if self.settings.tune == "lora" else self.model

    def _body(self, features: Tensor, mask: Tensor | None) -> Tensor:
        net = self._net
        projected = net.feature_projection(features)
        hidden = projected[0] if isinstance(projected, tuple) else projected
        return self._states(lambda: net.encoder(hidden, attention_mask=mask, return_dict=True))

    @torch.no_grad()
    def _front(self, waves: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, F): each clip alone, normalised to mean 0 and deviation 1 as a whole."""
        clips = [self._clip(wave[:n]) if n else None for wave, n in zip(waves, lengths, strict=True)]
        counts = torch.tensor([0 if c is None else len(c) for c in clips], device=waves.device)
        first = next((c for c in clips if c is not None), None)
        width = int(self._net.config.conv_dim[-1]) if first is None else first.shape[-1]
        out = waves.new_zeros(len(clips), max(1, int(counts.max())), width)
        for row, clip in zip(out, clips, strict=True):
            if clip is not None:
                row[: len(clip)] = clip
        return out, counts

    def _clip(self, wave: Tensor) -> Tensor:
        wave = nn.functional.pad(wave, (0, max(0, self.receptive - len(wave))))  # a short clip is one frame
        normal = (wave - wave.mean()) / (wave.var(unbiased=False) + 1e-7).sqrt()
        features: Tensor = self._net.feature_extractor(normal[None])[0].T
        return features


class TextTower(Tower):
    """BERT and its kin: any encoder of token ids."""

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """(B, L, D), or (B, K, L, D), from its own token ids (B, L)."""
        return self._body(ids, mask_from(lengths.clamp(min=1), ids.shape[1]).long())

    def one(self, ids: Tensor) -> Tensor:
        """(1, L, D) of one text (1, L), all of whose tokens are real: for a graph."""
        return self._body(ids, torch.ones_like(ids))

    def _body(self, ids: Tensor, mask: Tensor) -> Tensor:
        return self._states(lambda: self.model(input_ids=ids, attention_mask=mask, return_dict=True))


class Tuned(System):
    """Any system over encoders that learn with it."""

    def __init__(
        self, head: System, speech: SpeechTower | None = None, text: TextTower | None = None
    ) -> None:
        """Where a tower is None, that side's input are features."""
        super().__init__(head.config, head.dimensions)
        if text is not None and text.layers:
            raise ModelError("layer = 'weighted' is for speech: give the text encoder layer = 'last'")
        self.head, self.speech_tower, self.text_tower = head, speech, text
        self.weights, self.reductions, self.sides = head.weights, head.reductions, head.sides
        self.exportable = head.exportable

    @property
    def layout(self) -> Dimensions:
        """A text network takes its own ids, though the head is built for its vectors."""
        return self.dimensions if self.text_tower is None else replace(self.dimensions, vocabulary=1)

    @property
    def tiers(self) -> tuple[Tier, ...]:
        return self.head.tiers

    def forward(self, batch: Batch, attention: bool = False) -> Output:
        encoded = self.encoded(batch)
        output: Output = self.head(encoded, attention)
        output.batch = encoded
        output.extra |= {f"member {name}": logits for name, logits in output.members.items()}
        output.members = {}
        return output

    def settings(self) -> dict[str, Any]:
        """Plain values from which ``rebuild`` makes the same encoders, without weights."""
        towers = {"speech": self.speech_tower, "text": self.text_tower}
        return {side: tower.plain() for side, tower in towers.items() if tower is not None}

    @classmethod
    def rebuild(cls, head: System, settings: Mapping[str, Any]) -> Tuned:
        """Encoders by their ``settings``, with fresh weights to be overwritten, around ``head``."""
        from undertone.pretrained import fresh

        def tower(kind: type[Any], side: str) -> Any:
            values = settings.get(side)
            return values and kind(fresh(values["network"]), TuneConfig.parse(values["tune"]))

        return cls(head, tower(SpeechTower, "speech"), tower(TextTower, "text"))

    def encoded(self, batch: Batch) -> Batch:
        """The batch for the head: with frames in place of samples, vectors in place of token ids."""
        sizes = self.dimensions
        if self.speech_tower is not None:
            empty = (sizes.speech_layers, 1, sizes.speech) if sizes.speech_layers else (1, sizes.speech)
            frames, counts = self._through(self.speech_tower, batch.speech, batch.speech_lengths, empty)
            batch = replace(batch, speech=frames, speech_lengths=counts)
        if self.text_tower is not None:
            empty = (batch.text.shape[1], sizes.text)
            run = self.text_tower  # a token is a vector
            vectors, _ = self._through(lambda ids, n: (run(ids, n), n), batch.text, batch.text_lengths, empty)
            batch = replace(batch, text=vectors)
        return batch

    def _through(
        self,
        tower: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
        values: Tensor,
        lengths: Tensor,
        empty: tuple[int, ...],
    ) -> tuple[Tensor, Tensor]:
        """What a tower makes of a side, and its lengths. In evaluation of no row twice, and of none that is
        missing: of equal neighbours (a clip and itself without one word) the first is computed."""
        if self.training:
            return tower(values, lengths)
        present = lengths > 0
        alike = (values[1:] == values[:-1]).flatten(1).all(1) & (lengths[1:] == lengths[:-1])
        rows = present & torch.cat([torch.ones_like(present[:1]), ~alike])
        if not bool(rows.any()):
            return torch.zeros(len(values), *empty, device=values.device), lengths
        back = (rows.cumsum(0) - 1).clamp(min=0)
        results, counts = tower(values[rows], lengths[rows])
        return results[back] * present.view(-1, *(1 for _ in empty)), counts[back] * present

    def terms(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        self.head.criterion, self.head.gather = self.criterion, self.gather
        kept = {k.removeprefix("member "): v for k, v in output.extra.items() if k.startswith("member ")}
        return self.head.terms(replace(output, members=kept), output.batch or batch)

    def members(self) -> dict[str, nn.Module]:
        """One: all members of the head share the encoders."""
        return {"": self}

    def layers_above(self, name: str) -> int:
        """How many blocks of its encoder lie above a parameter; 0 for the head's."""
        for prefix, tower in (("speech_tower.", self.speech_tower), ("text_tower.", self.text_tower)):
            if tower is not None and name.startswith(prefix):
                return tower.layers_above(name.removeprefix(prefix))
        return 0


def _blocks(model: Any) -> Sequence[nn.Module]:
    """The stacked blocks, from the lowest to the uppermost."""
    encoder = getattr(model, "encoder", None) or getattr(model, "transformer", None)
    for name in ("layers", "layer"):
        blocks = getattr(encoder, name, None)
        if isinstance(blocks, nn.ModuleList):
            return list(blocks)
    raise ModelError(f"{type(model).__name__}: its blocks are not known, so it cannot be tuned")


def _choose(tower: Tower, config: TuneConfig) -> None:
    """Set which parameters learn."""
    tower.model.requires_grad_(config.tune == "full")
    if config.tune == "top-k":
        for block in tower.stack[-config.top :]:
            block.requires_grad_(True)
    front = getattr(tower.model, "feature_extractor", None)
    if front is not None:
        front.requires_grad_(False)
    for name in ("masked_spec_embed", "pooler"):  # for other tasks: no output depends on them
        other = getattr(tower.model, name, None)
        if other is not None:
            other.requires_grad_(False)


def _with_lora(model: Any, rank: int) -> Any:
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError:
        raise MissingExtra("tune = 'lora'", "lora") from None
    names = {name.rpartition(".")[2] for name, _ in model.named_modules()}
    targets = [name for name in PROJECTIONS if name in names]
    if not targets:
        raise ModelError(f"{type(model).__name__}: lora does not know its attention's maps")
    with warnings.catch_warnings():  # peft uses a name of transformers that will change
        warnings.simplefilter("ignore", FutureWarning)
        return get_peft_model(model, LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=targets))
