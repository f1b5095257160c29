"""What the starter is made of: one typed recipe, read from ``recipes/starter/*.toml``."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pydantic import Field, PositiveInt

from studies.starter.augment import AugmentConfig
from studies.starter.judges import JudgesConfig
from studies.starter.targets import TargetsConfig
from studies.starter.text import TextTraining
from undertone.config import Config, apply_overrides, load_toml
from undertone.features.config import AcousticConfig

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
    variants: PositiveInt = 20
    """Of each clip: the recording as it is, and so many less one varied ones."""
    sounds: PositiveInt = 1000
    """Generated sounds that nobody speaks."""
    acoustic: AcousticConfig = AcousticConfig(stack=2, mels=64)
    """The frames of the speech side."""
    augment: AugmentConfig = AugmentConfig()
    """How variants of the recordings are made."""
    noisy: int = Field(10, ge=0)
    """Further variants of each clip, all of them in noise."""
    noise: AugmentConfig = AugmentConfig(
        noise_share=1.0,
        snr=(5.0, 18.0),
        colours=("white", "white", "white", "pink", "brown", "blue"),
        room_share=0.25,
        band_share=0.1,
        cut_share=0.15,
    )
    """How those are made."""
    targets: TargetsConfig = TargetsConfig()
    judges: JudgesConfig = JudgesConfig()
    text: TextTraining = TextTraining()
    lean: float = Field(0.5, ge=0.0, le=1.0)
    """How far probabilities follow how common the classes are in the validation clips: 0 not, 1 wholly."""
    abstain: Abstaining = Abstaining()


def read(path: Path, overrides: Iterable[str] = ()) -> StarterRecipe:
    """The recipe of a file, with ``key=value`` laid over it."""
    return StarterRecipe.parse(apply_overrides(load_toml(path), overrides), str(path))
