"""The model folder of the starter: two trained sides put into one ``compact`` system, and its card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from undertone import __version__
from undertone.experiment.starter.recipe import StarterRecipe
from undertone.experiment.starter.speech import CLASSES, KINDS, MEANS
from undertone.features.acoustic import columns
from undertone.features.speech import SpeechConfig, speech_encoder
from undertone.features.subword import Subword
from undertone.models import folder
from undertone.models.batch import Dimensions, Example, collate
from undertone.models.compact import Compact, CompactConfig
from undertone.models.compact_speech import SpeechNet
from undertone.models.compact_whole import Whole

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

__all__ = ["EIGHT", "EMOTIONS", "card", "dimensions", "heard", "save", "speech_net", "system", "whole_net"]

EMOTIONS = 28
"""Labels of GoEmotions, which help the text side learn."""
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


def speech_net(recipe: StarterRecipe) -> SpeechNet:
    """One network over the spectrum, with fresh weights."""
    import torch

    sizes = recipe.network
    net = SpeechNet(len(columns(recipe.acoustic)), sizes.channels, sizes.width, len(KINDS), sizes.dropout)
    return net.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def whole_net(recipe: StarterRecipe) -> Whole:
    """One network over figures, with fresh weights."""
    return Whole(len(columns(recipe.acoustic)), len(KINDS), recipe.whole.dropout, recipe.whole.hidden)


def system(recipe: StarterRecipe, vocabulary: int) -> Compact:
    """The whole with fresh weights."""
    sizes = recipe.network
    config = CompactConfig(
        channels=sizes.channels,
        width=sizes.width,
        networks=sizes.networks,
        wholes=recipe.whole.networks,
        hidden=recipe.whole.hidden,
        share=recipe.whole.share,
        texts=recipe.text.networks,
        kinds=MEANS,
        aside="ravdess8",
        first=len(EIGHT),
        emotions=EMOTIONS,
        dropout=sizes.dropout,
    )
    return Compact(config, dimensions(recipe, vocabulary))


def card(recipe: StarterRecipe, training: Mapping[str, Any], notes: Sequence[str] = ()) -> dict[str, Any]:
    """What the model folder says of itself."""
    heard = SpeechConfig(acoustic=recipe.acoustic)
    speech = {
        "name": "acoustic",
        "identity": speech_encoder(acoustic=recipe.acoustic.plain()).identity,
        "settings": heard.plain(),
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


def heard(
    recipe: StarterRecipe, weights: Mapping[str, Tensor], frames: Sequence[NDArray[np.float32]]
) -> NDArray[np.float32]:
    """(n, kinds): log posteriors of clips, each by itself."""
    import torch

    model = system(recipe, vocabulary=2).eval()
    model.load_state_dict(weights, strict=False)
    with torch.inference_mode():
        batches = [collate([Example("", speech=one)], model.dimensions) for one in frames]
        found: NDArray[np.float32] = torch.cat([model.speech_kinds(batch) for batch in batches]).numpy()
    return found


def save(path: Path, model: Compact, pieces: Subword, about: Mapping[str, Any]) -> None:
    """Write the folder; large weights are kept in half precision and computed with in full."""
    from safetensors.torch import load_file, save_file

    folder.save(path, model, about, pieces)
    tensors = load_file(path / folder.WEIGHTS)
    large = {k: v.half() for k, v in tensors.items() if v.is_floating_point() and v.numel() >= LARGE}
    part = path / (folder.WEIGHTS + ".part")
    save_file({**tensors, **large}, part, metadata={"format": "pt"})
    part.replace(path / folder.WEIGHTS)
