"""Encoders that learn with the system: their inputs are samples and token ids, and nothing is stored."""

from __future__ import annotations

from dataclasses import asdict
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from undertone import audio, pretrained
from undertone.audio import RATE
from undertone.experiment.recipe import Recipe, SpeechSide, TextSide
from undertone.features.frontends import Convolutions
from undertone.features.subword import Subword
from undertone.features.text import token_limit
from undertone.models.system import System
from undertone.models.tuned import SpeechTower, TextTower, Tuned
from undertone.types import Utterance

__all__ = ["described", "own_tokens", "samples", "wrapped"]


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
        clock = Convolutions(network).clock
        sizes |= {
            "clock": clock,
            "speech_dim": int(network.settings.hidden_size),
            "speech_layers": int(network.settings.num_hidden_layers) + 1 if weighted else 0,
        }
        encoders["speech"] = _identity(network, recipe.speech) | {"clock": asdict(clock)}
    if recipe.uses_text and recipe.text.tuned:
        network = pretrained.load_text(recipe.text.name, recipe.text.revision)
        sizes["text_dim"] = int(network.settings.hidden_size)
        encoders["text"] = _identity(network, recipe.text)
    return sizes, encoders


def _identity(network: pretrained.Pretrained, side: SpeechSide | TextSide) -> dict[str, Any]:
    """Where training began: the weights that it came to are the model's own."""
    values = {"name": network.name, "identity": network.weights, "files": dict(network.files)}
    values |= {"settings": side.encoder.plain(), "tuning": side.tuning.plain()}
    return values | ({"revision": network.revision} if network.revision else {})


def samples(utterance: Utterance) -> NDArray[np.float32]:
    """The utterance's wave (N,)."""
    return audio.load(utterance.audio, utterance.start, utterance.end, RATE)


def own_tokens(recipe: Recipe) -> Subword:
    """The tokenizer of a text network that learns: its ids go into the network."""
    return _own_tokens(recipe.text.name, recipe.text.revision)


@lru_cache(maxsize=2)
def _own_tokens(name: str, revision: str | None) -> Subword:
    network = pretrained.load_text(name, revision)
    return Subword.of(network.processor, token_limit(network.processor, network.settings))
