"""Builds the systems that the two-process test compares."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from tiny import DIMENSIONS, Tiny, dataset
from torch import nn

from undertone.models.example import Example
from undertone.models.system import System
from undertone.training.dataset import Dataset


def build(name: str) -> tuple[System, Dataset]:
    """A system and 24 utterances, the same in every process."""
    torch.manual_seed(0)
    if name == "tiny":
        return Tiny(), dataset(24)
    from undertone.models.table import SYSTEMS

    kind, config = SYSTEMS[name]
    # a matched pair's rival is drawn at random among the process' own utterances: left out here
    small = {"width": 16, "heads": 2, "dropout": 0.0, "modality_dropout": 0.0, "match": 0.0}
    small |= {"speech_dropout": 0.0, "attention_dropout": 0.0, "refine_ratio": 1}
    known = {key: value for key, value in small.items() if key in config.model_fields}
    system = kind(config.parse(known), DIMENSIONS)
    for module in system.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0  # processes draw their own masks, so nothing may be drawn
    return system, Dataset([_with_words(e) for e in dataset(24).examples], DIMENSIONS)


def _with_words(example: Example) -> Example:
    """Two words, halves of the frames; every token belongs to the first or the second."""
    assert example.speech is not None and example.text is not None
    middle, end = max(1, len(example.speech) // 2), len(example.speech)
    return replace(
        example,
        segments={"word": np.array([[0, middle], [middle, end]])},
        token_word=np.arange(len(example.text)) % 2,
    )
