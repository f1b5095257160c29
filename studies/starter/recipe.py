"""What the starter is made of: one typed recipe, read from ``recipes/starter/*.toml``."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pydantic import Field

from studies.starter.judges import JudgesConfig
from studies.starter.pooled import Hearing
from studies.starter.targets import TargetsConfig
from studies.starter.text import TextTraining
from undertone.config import Config, apply_overrides, load_toml

__all__ = ["Abstaining", "StarterRecipe", "read"]


class Abstaining(Config):
    """How the confidence is chosen below which the model gives no label."""

    share: float = Field(0.1, ge=0.0, lt=1.0)
    """At most this share of the validation clips, and of the validation sentences, goes without a label."""
    highest: float = Field(0.6, gt=0.25, lt=1.0)
    """The threshold is no higher, however few would abstain."""
    strange: float = Field(0.002, ge=0.0, lt=1.0)
    """The share of the validation clips that are as likely as not to be unlike any speech."""


class StarterRecipe(Config):
    """The whole of it."""

    seed: int = 0
    hearing: Hearing = Hearing()
    """What is made of a recording."""
    targets: TargetsConfig = TargetsConfig()
    judges: JudgesConfig = JudgesConfig()
    text: TextTraining = TextTraining()
    abstain: Abstaining = Abstaining()


def read(path: Path, overrides: Iterable[str] = ()) -> StarterRecipe:
    """The recipe of a file, with ``key=value`` laid over it."""
    return StarterRecipe.parse(apply_overrides(load_toml(path), overrides), str(path))
