"""Encoders that learn with the system: their inputs are samples and token ids, and nothing is stored."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from undertone import audio, pretrained
from undertone.experiment.recipe import Recipe
from undertone.models.system import System
from undertone.models.tuned import SpeechTower, TextTower, Tuned
from undertone.types import FrameClock, Utterance

__all__ = ["described", "frame_count", "samples", "token_ids", "wrapped"]

RATE = 16_000


def wrapped(recipe: Recipe, head: System) -> System:
    """The system around which the recipe's encoders learn; itself where none does."""
    speech = text = None
    if recipe.uses_speech and recipe.speech.tuned:
        network = pretrained.load_speech(recipe.speech.name, recipe.speech.revision).model
        speech = SpeechTower(network, recipe.speech.tuning)
    if recipe.uses_text and recipe.text.tuned:
        network = pretrained.load_text(recipe.text.name, recipe.text.revision).model
        text = TextTower(network, recipe.text.tuning)
    return Tuned(head, speech, text) if speech or text else head


def described(recipe: Recipe) -> tuple[dict[str, Any], dict[str, Any]]:
    """Of the encoders that learn: the sizes and the clock, by their names in ``Features``; and what a model's
    card has of each, by modality."""
    sizes: dict[str, Any] = {}
    encoders: dict[str, Any] = {}
    if recipe.uses_speech and recipe.speech.tuned:
        network = pretrained.load_speech(recipe.speech.name, recipe.speech.revision)
        weighted = recipe.speech.layer == "weighted"
        sizes |= {
            "clock": _clock(network.settings),
            "speech_dim": int(network.settings.hidden_size),
            "speech_layers": int(network.settings.num_hidden_layers) + 1 if weighted else 0,
        }
        encoders["speech"] = _identity(network, recipe.speech.encoder.plain(), recipe.speech.tuning.plain())
    if recipe.uses_text and recipe.text.tuned:
        network = pretrained.load_text(recipe.text.name, recipe.text.revision)
        sizes["text_dim"] = int(network.settings.hidden_size)
        encoders["text"] = _identity(network, recipe.text.encoder.plain(), recipe.text.tuning.plain())
    return sizes, encoders


def _identity(
    network: pretrained.Pretrained, settings: dict[str, Any], tuning: dict[str, Any]
) -> dict[str, Any]:
    values = {"name": network.name, "identity": network.weights, "settings": settings, "tuning": tuning}
    return values | ({"revision": network.revision} if network.revision else {})


def _clock(settings: Any) -> FrameClock:
    """When frames are, derived from the convolutions: each is centred on its receptive field."""
    hop, field = 1, 1
    for kernel, stride in zip(settings.conv_kernel, settings.conv_stride, strict=True):
        field += (kernel - 1) * hop
        hop *= stride
    return FrameClock(hop=hop / RATE, offset=field / 2 / RATE)


@lru_cache(maxsize=2)
def _settings(name: str, revision: str | None) -> Any:
    return pretrained.load_speech(name, revision).settings


def frame_count(recipe: Recipe, length: int) -> int:
    """How many frames the speech network makes of so many samples."""
    settings = _settings(recipe.speech.name, recipe.speech.revision)
    for kernel, stride in zip(settings.conv_kernel, settings.conv_stride, strict=True):
        length = (length - kernel) // stride + 1
    return max(1, length)


def samples(utterance: Utterance) -> NDArray[np.float32]:
    """The utterance's wave (N,)."""
    return audio.load(utterance.audio, utterance.start, utterance.end, RATE)


@lru_cache(maxsize=2)
def _tokenizer(name: str, revision: str | None) -> Any:
    return pretrained.load_text(name, revision).processor


def token_ids(recipe: Recipe, text: str) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """The text network's own ids (L,), special ones included, and the characters (L, 2) each covers."""
    coded = _tokenizer(recipe.text.name, recipe.text.revision)(text, return_offsets_mapping=True)
    chars = np.array(coded["offset_mapping"], np.int32).reshape(-1, 2)
    return np.array(coded["input_ids"], np.int64), chars
