"""Examples with their labels, ready to be batched. The ids of both must agree, one by one.

Examples may be views of memory-mapped features, read when a batch needs them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from undertone.errors import ProtocolError, TrainingError
from undertone.models.batch import Batch, collate
from undertone.models.example import IGNORE, Dimensions, Example

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Dataset", "frame_statistics", "labelled"]

_STATISTICS_SIZE = 512
"""About as many utterances are enough for the mean and deviation of a dimension."""


class Dataset:
    """Some examples in a fixed order, and the sizes that batching needs."""

    def __init__(self, examples: Sequence[Example], dimensions: Dimensions) -> None:
        if not examples:
            raise TrainingError("there is nothing to train on: this part of the split holds no example")
        self.examples = examples
        self.dimensions = dimensions
        self.ids = tuple(e.id for e in examples)
        self.lengths = np.array([_length(e) for e in examples], np.int64)

    def __len__(self) -> int:
        return len(self.examples)

    def batch(self, indices: NDArray[np.int64]) -> Batch:
        """These examples, padded."""
        return collate([self.examples[i] for i in indices], self.dimensions)

    @cached_property
    def turns(self) -> list[str]:
        """The ids of everything that is scored: of the utterances, or of the dialogues' turns."""
        return [turn for e in self.examples for turn in (e.ids or (e.id,))]

    @cached_property
    def targets(self) -> NDArray[np.int64]:
        """The labels, in the order of ``turns``; IGNORE where there is none."""
        return np.concatenate([_targets(e) for e in self.examples])

    def rated(self, name: str) -> NDArray[np.float32] | None:
        """(n, …): the ``votes`` or ``ratings`` of all ``turns``; None where the examples have none."""
        rows = [e.targets[name] for e in self.examples if name in e.targets]
        if len(rows) < len(self.examples):
            return None
        return np.concatenate([row.reshape(-1, row.shape[-1]) for row in rows])

    @cached_property
    def classes(self) -> NDArray[np.int64]:
        """One label per example, for balanced sampling: at dialogue level the dialogue's most frequent."""
        return np.array([_majority(_targets(e)) for e in self.examples], np.int64)

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """(n,) how many labels each example has."""
        return np.array([int((_targets(e) != IGNORE).sum()) for e in self.examples], np.int64)


def labelled(examples: Sequence[Example], ids: Sequence[str], labels: Sequence[int]) -> list[Example]:
    """The examples with labels; refused unless the ids of both are the same in the same order."""
    if len(examples) != len(ids) or len(ids) != len(labels):
        raise ProtocolError(f"{len(examples)} examples, {len(ids)} ids and {len(labels)} labels do not match")
    for example, name in zip(examples, ids, strict=True):
        if example.id != name:
            raise ProtocolError(f"features of '{example.id}' stand where the label of '{name}' is")
    return [replace(e, label=label) for e, label in zip(examples, labels, strict=True)]


def frame_statistics(
    data: Dataset, encoded: Callable[[Batch], Batch] = lambda batch: batch
) -> tuple[Tensor, Tensor] | None:
    """Mean and deviation of the frames, (D,) or of each layer (K, D); None where there are no frames.

    Some of the examples are enough. ``encoded``: what is done to a batch before its frames count. The
    deviation of a dimension that hardly varies is taken as 1.
    """
    import torch

    speech = [i for i, example in enumerate(data.examples) if example.speech is not None]
    if not speech:
        return None
    step = max(1, len(speech) // _STATISTICS_SIZE)
    count, total, square = 0, np.zeros(1), np.zeros(1)
    for index in speech[::step]:
        batch = encoded(data.batch(np.array([index])))
        flat = batch.speech[0][..., batch.speech_mask[0], :].double().cpu().numpy()
        count += flat.shape[-2]
        total, square = total + flat.sum(-2), square + (flat**2).sum(-2)
    mean = total / count
    deviation = np.sqrt(np.maximum(square / count - mean**2, 0.0))
    deviation[deviation < 1e-4] = 1.0
    return torch.from_numpy(mean).float(), torch.from_numpy(deviation).float()


def _length(example: Example) -> int:
    if example.speech is not None:
        return int(example.speech.shape[-2])
    return 0 if example.text is None else len(example.text)


def _targets(example: Example) -> NDArray[np.int64]:
    return np.array([example.label], np.int64) if example.labels is None else example.labels


def _majority(labels: NDArray[np.int64]) -> int:
    known = labels[labels != IGNORE]
    return int(np.bincount(known).argmax()) if len(known) else IGNORE
