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
from undertone.models.layers import Pooling, masked_mean
from undertone.models.system import Output, System, SystemConfig, scored

__all__ = ["Probe", "ProbeConfig"]

ROUNDS = 100
"""Iterations of one solution at most; it starts from that of the penalty before."""


class ProbeConfig(SystemConfig):
    """What the probe is computed from, and its penalties."""

    sides: Literal["speech", "text", "both"] = "speech"
    """The modalities whose pooled features it takes."""
    strengths: tuple[PositiveFloat, ...] = (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
    """C of each solution, as scikit-learn defines it: the loss summed over utterances counts C times."""


class Probe(System):
    """Mean and deviation over frames (of each layer), mean over tokens (or their counts), one linear map."""

    cost = 0.5
    vector_mean: Tensor
    vector_std: Tensor
    """(F,) of the pooled vectors of the training part."""

    def __init__(self, config: ProbeConfig, dimensions: Dimensions) -> None:
        super().__init__(config, dimensions)
        self.sides = ("speech", "text") if config.sides == "both" else (config.sides,)
        self.strengths = config.strengths
        self.solutions = len(config.strengths)
        frames = dimensions.speech * max(1, dimensions.speech_layers)
        sizes = {"speech": 2 * frames, "text": dimensions.vocabulary or dimensions.text}
        width = sum(sizes[side] for side in self.sides)
        self.pool = Pooling(frames, "mean_std")
        self.last = nn.Linear(width, dimensions.classes)
        self.register_buffer("vector_mean", torch.zeros(width))
        self.register_buffer("vector_std", torch.ones(width))
        self._rows: tuple[Tensor, Tensor] | None = None

    def forward(self, batch: Batch, attention: bool = False) -> Output:
        present = batch.present[:, [("speech", "text").index(side) for side in self.sides]]
        rows = (self.pooled(batch) - self.vector_mean) / self.vector_std
        logits = self.last(rows) * present.any(1, keepdim=True)
        output = Output(logits, vectors={"fused": rows}, attention=self._weights(batch) if attention else {})
        if len(self.sides) == 1:
            setattr(output, self.sides[0], logits)
        return output

    def terms(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        return {"fused": self.criterion(output.logits, scored(batch.labels, self._given(batch)))}

    def pooled(self, batch: Batch) -> Tensor:
        """(B, F)"""
        vectors = {"speech": self._speech, "text": self._text}
        return torch.cat([vectors[side](batch) for side in self.sides], -1)

    def solve(self, batches: Iterable[Batch], number: int) -> dict[str, float]:
        """Become the solution of this number; the training part is read for the first alone."""
        if self._rows is None:
            self._rows = self._read(batches)
        rows, labels = self._rows
        strength = 1 / (self.strengths[number] * len(rows))
        optimizer = torch.optim.LBFGS(
            self.last.parameters(), max_iter=ROUNDS, tolerance_grad=1e-5, line_search_fn="strong_wolfe"
        )

        def loss() -> Tensor:
            value: Tensor = self.criterion(self.last(rows), labels)
            return value + 0.5 * strength * self.last.weight.square().sum()

        def closure() -> float:
            optimizer.zero_grad()
            value = loss()
            value.backward()  # type: ignore[no-untyped-call]
            return float(value.detach())

        with torch.enable_grad():
            optimizer.step(closure)
        optimizer.zero_grad()
        return {"loss": float(self.criterion(self.last(rows), labels).detach())}

    @torch.no_grad()
    def _read(self, batches: Iterable[Batch]) -> tuple[Tensor, Tensor]:
        """The standardised vectors (n, F) and labels (n,) of all that has both."""
        vectors, labels = [], []
        for batch in batches:
            kept = scored(batch.labels, self._given(batch)) != IGNORE
            batch = self.standardised(batch)
            vectors.append(self.pooled(batch)[kept])
            labels.append(batch.labels[kept])
        rows = torch.cat(vectors)
        deviation = rows.std(0, correction=0)
        self.vector_mean.copy_(rows.mean(0))
        self.vector_std.copy_(torch.where(deviation < 1e-4, 1.0, deviation))
        return (rows - self.vector_mean) / self.vector_std, torch.cat(labels)

    def _given(self, batch: Batch) -> Tensor:
        """(B,) whether any of the probe's modalities is present."""
        present = dict(zip(("speech", "text"), batch.present.unbind(1), strict=True))
        return torch.stack([present[side] for side in self.sides]).any(0)

    def _speech(self, batch: Batch) -> Tensor:
        frames = batch.speech if batch.speech.ndim == 3 else batch.speech.transpose(1, 2).flatten(2)
        if batch.speech_gate is not None:
            frames = frames * batch.speech_gate[..., None]
        vectors: Tensor = self.pool(frames * batch.speech_mask[..., None], batch.speech_mask)
        return vectors

    def _text(self, batch: Batch) -> Tensor:
        mask, gate = batch.text_mask, batch.text_gate
        if not self.dimensions.vocabulary:
            return masked_mean(batch.text if gate is None else batch.text * gate[..., None], mask)
        kept = mask.float() if gate is None else mask * gate
        counts = kept.new_zeros(len(batch.text), self.dimensions.vocabulary)
        counts = counts.scatter_add(1, batch.text * mask, kept)
        return counts / mask.sum(1, keepdim=True).clamp(min=1)

    def _weights(self, batch: Batch) -> dict[str, Tensor]:
        masks = {"speech": ("frame", batch.speech_mask), "text": ("token", batch.text_mask)}
        named = (masks[side] for side in self.sides)
        return {name: mask / mask.sum(1, keepdim=True).clamp(min=1) for name, mask in named}
