"""What the starter is made of: one typed recipe, read from ``recipes/starter/*.toml``."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pydantic import Field, PositiveInt

from undertone.config import Config, apply_overrides, load_toml
from undertone.experiment.starter.augment import AugmentConfig
from undertone.experiment.starter.speech import SpeechTraining
from undertone.experiment.starter.text import TextTraining
from undertone.experiment.starter.whole import WholeTraining
from undertone.features.acoustic import AcousticConfig

__all__ = ["Abstaining", "NetworkSizes", "StarterRecipe", "read"]


class NetworkSizes(Config):
    """Of the networks over the spectrum."""

    channels: PositiveInt = 16
    """Of the first convolution; the last has four times as many."""
    width: PositiveInt = 128
    """Of the recurrent part."""
    networks: PositiveInt = 1
    """Networks trained one after another from other seeds; their log posteriors are averaged."""
    dropout: float = Field(0.3, ge=0.0, lt=0.9)


class Abstaining(Config):
    """How the confidence is chosen below which the model gives no label."""

    share: float = Field(0.1, ge=0.0, lt=1.0)
    """At most this share of the validation clips, and of the validation sentences, goes without a label."""
    highest: float = Field(0.6, gt=0.25, lt=1.0)
    """The threshold is no higher, however few would abstain."""


class StarterRecipe(Config):
    """The whole of it."""

    seed: int = 0
    variants: PositiveInt = 20
    """Of each clip: the recording as it is, and so many less one varied ones."""
    sounds: PositiveInt = 1000
    """Generated sounds that nobody speaks."""
    acoustic: AcousticConfig = AcousticConfig(stack=2, mels=64)
    """The frames that the speech side hears."""
    augment: AugmentConfig = AugmentConfig()
    """How variants of the recordings are made."""
    noisy: int = Field(10, ge=0)
    """Further variants of each clip, all of them in noise, that the networks over figures learn from."""
    noise: AugmentConfig = AugmentConfig(
        noise_share=1.0,
        snr=(5.0, 18.0),
        colours=("white", "white", "white", "pink", "brown", "blue"),
        room_share=0.25,
        band_share=0.1,
        cut_share=0.15,
    )
    """How those are made."""
    network: NetworkSizes = NetworkSizes()
    speech: SpeechTraining = SpeechTraining()
    whole: WholeTraining = WholeTraining()
    text: TextTraining = TextTraining()
    abstain: Abstaining = Abstaining()


def read(path: Path, overrides: Iterable[str] = ()) -> StarterRecipe:
    """The recipe of a file, with ``key=value`` laid over it."""
    return StarterRecipe.parse(apply_overrides(load_toml(path), overrides), str(path))
