"""A system over encoders that learn with it: blocks of speech and text networks inside the graph.

The head is any system; it gets the same batch as when all features come from the store.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from threading import Lock
from typing import Any

import torch
from torch import Tensor, nn

from undertone import pretrained
from undertone.errors import ModelError
from undertone.models.batch import Batch
from undertone.models.example import Dimensions
from undertone.models.system import Output, System
from undertone.models.targets import TargetHeads
from undertone.models.towers import SpeechTower, TextTower, Tower, TuneConfig
from undertone.types import Tier

__all__ = ["Tuned"]

DESIGN = 2
"""Of the settings. In the first one speech networks were whole and took samples."""
FILLING = Lock()
"""Held while weights are read that were left for later: models are shared between threads."""


class Tuned(System):
    """Any system over encoders that learn with it."""

    def __init__(
        self, head: System, speech: SpeechTower | None = None, text: TextTower | None = None
    ) -> None:
        """Where a tower is None, that side's input goes to the head as it comes."""
        super().__init__(head.config, head.dimensions)
        self.head, self.speech_tower, self.text_tower = head, speech, text
        self.weights, self.reductions, self.sides = head.weights, head.reductions, head.sides
        self.target = head.target
        self.exportable, self.takes_prompts = head.exportable, head.takes_prompts
        self.base: dict[str, str] = {}
        """By side the name of the encoder that holds its frozen weights, so that a folder need not."""
        self.rest: Callable[[], None] | None = None
        """Reads the text tower's weights, where that is left until the first words come."""

    @property
    def layout(self) -> Dimensions:
        """A speech tower takes one hidden state, a text network its ids; the head takes what they make."""
        sizes = self.dimensions
        if self.speech_tower is not None:
            sizes = replace(sizes, speech_layers=0)
        return sizes if self.text_tower is None else replace(sizes, vocabulary=1)

    @property
    def tiers(self) -> tuple[Tier, ...]:
        return self.head.tiers

    def standardise(self, mean: Tensor, std: Tensor) -> None:
        """The head's input is standardised, not the towers'."""
        self.head.standardise(mean, std)

    def observe(self, batch: Batch) -> None:
        self.head.observe(batch)

    def standardised(self, batch: Batch) -> Batch:
        return batch

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
        values = {"design": DESIGN} | {side: tower.plain() for side, tower in towers.items() if tower}
        return values | ({"base": self.base} if self.base else {})

    def borrowed(self) -> set[str]:
        """The weights that are read from the encoders that ``base`` names: those that never learned."""
        places = tuple(f"{side}_tower." for side in self.base)
        return {
            name
            for name, parameter in self.named_parameters()
            if places and name.startswith(places) and not parameter.requires_grad
        }

    @classmethod
    def rebuild(
        cls, head: System, settings: Mapping[str, Any], where: str, text_later: bool = False
    ) -> Tuned:
        """Encoders by their ``settings``, with weights to be overwritten, around ``head``; ``text_later``:
        a text encoder of the box takes no memory yet."""
        design = int(settings.get("design", 1))
        if design != DESIGN:
            other, remedy = ("an older", "train again") if design < DESIGN else ("a newer", "update")
            raise ModelError(f"{where}: tuned by {other} undertone; {remedy}")

        base = dict(settings.get("base", {}))

        def tower(kind: type[Any], side: str, later: bool = False) -> Any:
            values = settings.get(side)
            if values is None:
                return None
            config = TuneConfig.parse(values["tune"])
            if side not in base:
                return kind.rebuild(values["network"], config)
            load = pretrained.load_speech if side == "speech" else pretrained.load_text
            boxed = pretrained.in_plain_torch(base[side], filled=not later)
            return kind((boxed or load(base[side])).model, config)

        tuned = cls(head, tower(SpeechTower, "speech"), tower(TextTower, "text", text_later))
        tuned.base = base
        return tuned

    def encoded(self, batch: Batch) -> Batch:
        """The batch for the head: later frames in place of stored ones, vectors in place of token ids."""
        if self.speech_tower is not None:
            speech = self._through(self.speech_tower, batch.speech, batch.speech_lengths)
            batch = replace(batch, speech=speech)
        if self.text_tower is not None:
            batch = replace(batch, text=self._text(self.text_tower, batch.text, batch.text_lengths))
        return batch

    def _text(self, tower: TextTower, ids: Tensor, lengths: Tensor) -> Tensor:
        if self.rest is not None and not lengths.any():
            return torch.zeros(*ids.shape, tower.dim)
        self.complete()
        return self._through(tower, ids, lengths)

    def complete(self) -> None:
        with FILLING, torch.inference_mode(False):
            if self.rest is not None:
                self.rest()
            self.rest = None

    def _through(self, tower: Tower, values: Tensor, lengths: Tensor) -> Tensor:
        """What a tower makes of a side. In evaluation of no row twice, and of none that is missing but the
        first: of equal neighbours (a clip and itself without one word) one is computed."""
        if self.training:
            made: Tensor = tower(values, lengths)
            return made
        alike = (values[1:] == values[:-1]).flatten(1).all(1) & (lengths[1:] == lengths[:-1])
        rows = torch.cat([lengths[:1] >= 0, ~alike & (lengths[1:] > 0)])
        made = tower(values[rows], lengths[rows])[rows.long().cumsum(0) - 1]
        return made * (lengths > 0).view(-1, *(1 for _ in made.shape[1:]))

    def second_view(self, output: Output, batch: Batch) -> Output | None:
        return self.head.second_view(output, output.batch or batch)

    def describe(self, prompts: Tensor) -> None:
        self.head.describe(prompts)

    def terms(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        self.head.criterion, self.head.soft_criterion = self.criterion, self.soft_criterion
        self.head.gather = self.gather
        kept = {k.removeprefix("member "): v for k, v in output.extra.items() if k.startswith("member ")}
        return self.head.terms(replace(output, members=kept), output.batch or batch)

    def aimed(self) -> dict[str, TargetHeads]:
        return self.head.aimed()

    def asides(self, output: Output) -> dict[str, Tensor]:
        return self.head.asides(output)

    def members(self) -> dict[str, nn.Module]:
        """One: all members of the head share the encoders."""
        return {"": self}

    def layers_above(self, name: str) -> int | None:
        for prefix, tower in (("speech_tower.", self.speech_tower), ("text_tower.", self.text_tower)):
            if tower is not None and name.startswith(prefix):
                return tower.layers_above(name.removeprefix(prefix))
        return None
