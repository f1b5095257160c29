"""Builds the systems that the two-process test compares."""

from __future__ import annotations

import torch
from tiny import Tiny, dataset

from undertone.models.batch import Dimensions, Example
from undertone.models.system import System
from undertone.training.dataset import Dataset


def build(name: str) -> tuple[System, Dataset]:
    """A system and 24 utterances, the same in every process."""
    torch.manual_seed(0)
    if name == "tiny":
        return Tiny(), dataset(24)
    from undertone.models.table import SYSTEMS

    kind, config = SYSTEMS[name]
    dimensions = Dimensions(classes=3, speech=5, text=4)
    small = {"width": 16, "heads": 2, "dropout": 0.0}
    known = {key: value for key, value in small.items() if key in config.model_fields}
    return kind(config.parse(known), dimensions), Dataset(
        [_with_words(e) for e in dataset(24).examples], dimensions
    )


def _with_words(example: Example) -> Example:
    return example
