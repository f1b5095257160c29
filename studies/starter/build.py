"""The model folder of the starter: two trained sides in one ``compact`` system, and its card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studies.starter.recipe import StarterRecipe
from studies.starter.targets import CLASSES, KINDS, MEANS
from studies.starter.text import EMOTIONS
from undertone import __version__
from undertone.features.acoustic import columns
from undertone.features.config import SpeechConfig
from undertone.features.speech import speech_encoder
from undertone.features.subword import Subword
from undertone.files import whole
from undertone.models import folder
from undertone.models.batch import collate
from undertone.models.compact.classifiers import FunctionalsClassifier, SpeechDistance
from undertone.models.compact.functionals import View
from undertone.models.compact.system import Compact, CompactConfig
from undertone.models.example import Dimensions, Example

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

__all__ = ["EIGHT", "card", "dimensions", "distance_from_speech", "judge", "save", "scores_of", "system"]

LARGE = 1024
"""Numbers in a tensor from which it is kept in half precision."""
EIGHT = KINDS[:8]
"""RAVDESS' emotions, reported beside the four classes."""


def dimensions(recipe: StarterRecipe, vocabulary: int) -> Dimensions:
    """The sizes of what goes in and comes out."""
    return Dimensions(
        classes=len(CLASSES),
        speech=len(columns(recipe.acoustic)),
        text=recipe.text.width,
        vocabulary=vocabulary,
    )


def judge(recipe: StarterRecipe, views: Sequence[View]) -> FunctionalsClassifier:
    """A classifier of these views with fresh weights."""
    sizes = recipe.judges
    return FunctionalsClassifier(
        len(columns(recipe.acoustic)), views, len(KINDS), sizes.hidden, sizes.dropout
    )


def distance_from_speech(recipe: StarterRecipe) -> SpeechDistance:
    """The distance from all speech, before it is learned."""
    return SpeechDistance(len(columns(recipe.acoustic)), recipe.judges.axes)


def system(recipe: StarterRecipe, vocabulary: int) -> Compact:
    """The whole with fresh weights."""
    sizes = recipe.judges
    config = CompactConfig(
        views=sizes.views,
        networks=sizes.networks,
        hidden=sizes.hidden,
        axes=sizes.axes,
        texts=recipe.text.networks,
        kinds=MEANS,
        aside="ravdess8",
        first=len(EIGHT),
        emotions=EMOTIONS,
        dropout=recipe.text.dropout,
    )
    return Compact(config, dimensions(recipe, vocabulary))


def card(recipe: StarterRecipe, training: Mapping[str, Any], notes: Sequence[str] = ()) -> dict[str, Any]:
    """The model folder's card."""
    speech = {
        "name": "acoustic",
        "identity": speech_encoder(acoustic=recipe.acoustic.plain()).identity,
        "settings": SpeechConfig(acoustic=recipe.acoustic).plain(),
    }
    return {
        "labels": list(CLASSES),
        "asides": {"ravdess8": list(EIGHT)},
        "corpus": "RAVDESS, EmoDB, GoEmotions, TIMIT",
        "licence": "CC-BY-NC-SA-4.0",
        "undertone": __version__,
        "encoders": {"speech": speech, "text": {"name": "subword"}},
        "protocol": {"split": "5 speaker folds"},
        "training": dict(training),
        "notes": list(notes),
    }


def scores_of(
    recipe: StarterRecipe, weights: Mapping[str, Tensor], frames: Sequence[NDArray[np.float32]]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Of clips, each by itself: (n, kinds) log posteriors, and (n,) distances from all speech."""
    import torch

    model = system(recipe, vocabulary=2).eval()
    model.load_state_dict(weights, strict=False)
    with torch.inference_mode():
        scores = [model.score_speech(collate([Example("", speech=x)], model.dimensions)) for x in frames]
    distances = [distance for _, distance in scores if distance is not None]
    return torch.cat([kinds for kinds, _ in scores]).numpy(), torch.cat(distances).numpy()


def save(path: Path, model: Compact, pieces: Subword, about: Mapping[str, Any]) -> None:
    """Write the folder; large weights are kept in half precision and computed with in full."""
    from safetensors.torch import load_file, save_file

    folder.save(path, model, about, pieces)
    tensors = load_file(path / folder.WEIGHTS)
    large = {k: v.half() for k, v in tensors.items() if v.is_floating_point() and v.numel() >= LARGE}
    with whole(path / folder.WEIGHTS) as part:
        save_file({**tensors, **large}, part, metadata={"format": "pt"})
