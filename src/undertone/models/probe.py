"""The linear probe: pooled features, standardised, and a multinomial logistic regression, solved exactly.

It shows what an encoder's features give without a network over them. One epoch of the loop is one strength
of the penalty, from the strongest to the weakest; the validation part chooses among them as among epochs.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import torch
from pydantic import PositiveFloat
from torch import Tensor, nn

from undertone.models.batch import Batch
from undertone.models.example import IGNORE, Dimensions
from undertone.models.inputs import Moments
from undertone.models.system import Output, System, SystemConfig, scored
from undertone.models.targets import minimise, target_loss

__all__ = ["Probe", "ProbeConfig"]


class ProbeConfig(SystemConfig):
    """What the probe is computed from, and its penalties."""

    sides: Literal["speech", "text", "both"] = "speech"
    """The modalities whose pooled features it takes."""
    strengths: tuple[PositiveFloat, ...] = (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
    """C of each solution, as scikit-learn defines it: the loss summed over utterances counts C times."""

    @property
    def by_statistics(self) -> bool:
        return True


class Probe(System):
    """Mean and deviation over frames (of each layer), mean over tokens (or their counts), one linear map."""

    cost = 0.5

    def __init__(self, config: ProbeConfig, dimensions: Dimensions) -> None:
        super().__init__(config, dimensions)
        self.sides = ("speech", "text") if config.sides == "both" else (config.sides,)
        self.strengths = config.strengths
        self.solutions = len(config.strengths)
        self.parts = nn.ModuleList(Moments(side, dimensions) for side in self.sides)
        self.last = nn.Linear(sum(part.width for part in self.parts), dimensions.classes)  # type: ignore[misc]
        self._rows: tuple[Tensor, Tensor] | None = None
        self._wanted: dict[str, Tensor] = {}

    def forward(self, batch: Batch, attention: bool = False) -> Output:
        vectors, weights = zip(*(part(batch) for part in self.parts), strict=True)
        rows = torch.cat(vectors, -1)
        logits = self.last(rows) * self._given(batch)[:, None]
        named = {name: value for each in weights for name, value in each.items()} if attention else {}
        output = Output(logits, vectors={"fused": rows}, attention=named)
        if len(self.sides) == 1:
            setattr(output, self.sides[0], logits)
        return output

    def terms(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        return {"fused": self.criterion(output.logits, scored(batch.labels, self._given(batch)))}

    def solve(self, batches: Iterable[Batch], number: int) -> dict[str, float]:
        """Become the solution of this number; the training part is read for the first alone."""
        if self._rows is None:
            self._rows = self._read(batches)
        if number == 0:  # from one place, so that no seed decides
            for parameter in self.parameters():
                nn.init.zeros_(parameter)
        rows, labels = self._rows
        if "class" in self.target.weights:
            known = int((labels != IGNORE).sum())
            minimise(
                self.last, lambda: self.criterion(self.last(rows), labels), known, self.strengths[number]
            )
        if self.target.further:  # apart from the class: they share nothing with it but the vectors
            heads = self.get_submodule("target_heads")
            minimise(heads, lambda: self._further(heads(rows)), len(rows), self.strengths[number])
        return {"loss": float(self.criterion(self.last(rows), labels).detach())}

    def _further(self, made: dict[str, Tensor]) -> Tensor:
        """The losses of targets beside the class."""
        losses = [
            self.weights[f"{kind} target"]
            * target_loss(self, kind, made, self._wanted["ratings" if kind == "dimensions" else "votes"])
            for kind in self.target.further
        ]
        return torch.stack(losses).sum()

    @torch.no_grad()
    def _read(self, batches: Iterable[Batch]) -> tuple[Tensor, Tensor]:
        """The standardised vectors (n, F) and labels (n,) of all that has both, or further targets."""
        vectors, labels = [], []
        wanted: dict[str, list[Tensor]] = {}
        for batch in batches:
            kept = self._given(batch)
            if not self.target.further:
                kept = scored(batch.labels, kept) != IGNORE
            vectors.append(self(batch).vectors["fused"][kept])
            labels.append(batch.labels[kept])
            for name in ("votes", "ratings") if self.target.further else ():
                if name in batch.targets:
                    wanted.setdefault(name, []).append(batch.targets[name][kept])
        self._wanted = {name: torch.cat(parts) for name, parts in wanted.items()}
        return torch.cat(vectors), torch.cat(labels)

    def _given(self, batch: Batch) -> Tensor:
        """(B,) whether any of the probe's modalities is present."""
        present = dict(zip(("speech", "text"), batch.present.unbind(1), strict=True))
        return torch.stack([present[side] for side in self.sides]).any(0)
