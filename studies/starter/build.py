"""The model folder of the starter: two trained sides in one ``compact`` system, and its card."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studies.starter.recipe import StarterRecipe
from studies.starter.targets import CLASSES, KINDS, MEANS
from undertone import __version__, pretrained
from undertone.features.config import SpeechConfig
from undertone.features.speech import build as speech_encoder
from undertone.features.subword import Subword
from undertone.files import whole
from undertone.models import folder
from undertone.models.compact import Compact, CompactConfig
from undertone.models.example import Dimensions
from undertone.models.kinds import KindClassifier, NoiseShare, SpeechDistance
from undertone.models.tuned import Tuned

if TYPE_CHECKING:
    from torch import Tensor

    from undertone.models.kinds import View

__all__ = ["EIGHT", "card", "dimensions", "distance_from_speech", "head", "judge", "noise_share", "save"]

LARGE = 1024
"""Numbers in a tensor from which it is kept in half precision."""
EIGHT = KINDS[:8]
"""RAVDESS' emotions, reported beside the four classes."""


def dimensions(recipe: StarterRecipe) -> Dimensions:
    """The sizes of what goes into the heads, and what comes out."""
    return _dimensions(json.dumps(recipe.hearing.encoder.plain()), recipe.text.encoder)


@lru_cache
def _dimensions(hearing: str, words: str) -> Dimensions:
    encoder = speech_encoder(SpeechConfig.parse(json.loads(hearing)))
    width = int(pretrained.load_text(words).settings.hidden_size)
    return Dimensions(len(CLASSES), encoder.dim, encoder.layers, width)


def judge(recipe: StarterRecipe, view: View) -> KindClassifier:
    """A classifier of this view with fresh weights."""
    sizes, config = dimensions(recipe), recipe.judges
    states = max(1, sizes.speech_layers)
    return KindClassifier(states, sizes.speech, view, len(KINDS), config.hidden, config.dropout)


def distance_from_speech(recipe: StarterRecipe) -> SpeechDistance:
    """The distance from all speech, before it is learned."""
    sizes = dimensions(recipe)
    return SpeechDistance(2 * max(1, sizes.speech_layers) * sizes.speech, recipe.judges.axes)


def noise_share(recipe: StarterRecipe) -> NoiseShare:
    """How likely speech is in noise, before it is learned."""
    sizes = dimensions(recipe)
    return NoiseShare(2 * max(1, sizes.speech_layers) * sizes.speech)


def head(recipe: StarterRecipe) -> Compact:
    """Both heads with fresh weights."""
    sizes = recipe.judges
    config = CompactConfig(
        views=sizes.views,
        noise_views=sizes.noise_views,
        networks=sizes.networks,
        hidden=sizes.hidden,
        axes=sizes.axes,
        kinds=MEANS,
        aside="emotions",
        first=len(EIGHT),
        words=recipe.text.width,
        dropout=recipe.text.dropout,
    )
    return Compact(config, dimensions(recipe))


def card(
    recipe: StarterRecipe, training: Mapping[str, Any], corpora: Sequence[str], licence: str
) -> dict[str, Any]:
    """The model folder's card."""
    words = pretrained.load_text(recipe.text.encoder)
    # no identity: the precision is the machine's, and decisions are the same in either
    speech = {"name": recipe.hearing.encoder.name, "settings": recipe.hearing.encoder.plain()}
    text = {
        "name": words.name,
        "identity": words.weights,
        "files": dict(words.files),
        "settings": {"name": words.name},
        "tuning": {"tune": "top-k", "top": recipe.text.top},
    }
    return {
        "labels": list(CLASSES),
        "languages": ["en"],
        "asides": {"emotions": list(EIGHT)},
        "corpus": ", ".join(corpora),
        "licence": licence,
        "undertone": __version__,
        "encoders": {"speech": speech, "text": text},
        "protocol": {"split": "5 speaker folds, and each corpus left out"},
        "training": dict(training),
    }


def save(path: Path, model: Tuned, pieces: Subword, about: Mapping[str, Any]) -> None:
    """Write the folder; large weights are kept in half precision and computed with in full."""
    from safetensors.torch import load_file, save_file

    folder.save(path, model, about, pieces)
    tensors: dict[str, Tensor] = load_file(path / folder.WEIGHTS)
    large = {k: v.half() for k, v in tensors.items() if v.is_floating_point() and v.numel() >= LARGE}
    with whole(path / folder.WEIGHTS) as part:
        save_file({**tensors, **large}, part, metadata={"format": "pt"})
