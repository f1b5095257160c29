"""Encoders that learn with the system: the blocks around it, and the weights that the system begins with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from undertone import pretrained
from undertone.config import fingerprint
from undertone.errors import ConfigError, ModelError
from undertone.experiment.recipe import Recipe
from undertone.features.subword import Subword
from undertone.features.text import build as build_text
from undertone.features.text import token_limit
from undertone.models import folder as models
from undertone.models.example import Dimensions
from undertone.models.system import System
from undertone.models.towers import SpeechTower, TextTower
from undertone.models.tuned import Tuned

__all__ = ["FINAL", "encoding", "layout", "own_tokens", "tuned_text", "warm_mark", "warmed", "wrapped"]

FINAL = "final"
"""In place of a fold: the model that learns from all data."""


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


def layout(recipe: Recipe, dimensions: Dimensions) -> Dimensions:
    """The sizes of a batch for ``wrapped`` around a head of these, as ``Tuned.layout``."""
    if recipe.uses_speech and recipe.speech.tuned:
        dimensions = replace(dimensions, speech_layers=0)
    return replace(dimensions, vocabulary=1) if recipe.uses_text and recipe.text.tuned else dimensions


def tuned_text(recipe: Recipe) -> tuple[dict[str, Any], int]:
    """What a model's card has of a text network that learns, which is where it began; and its width."""
    side, network = recipe.text, pretrained.load_text(recipe.text.name, recipe.text.revision)
    values = {"name": network.name, "identity": network.weights, "files": dict(network.files)}
    values |= {"settings": side.encoder.plain(), "tuning": side.tuning.plain()}
    values |= {"revision": network.revision} if network.revision else {}
    return values, int(network.settings.hidden_size)


def own_tokens(recipe: Recipe) -> Subword:
    """The tokenizer of a text network that learns: its ids go into the network."""
    return _own_tokens(recipe.text.name, recipe.text.revision)


@lru_cache(maxsize=2)
def _own_tokens(name: str, revision: str | None) -> Subword:
    network = pretrained.load_text(name, revision)
    return Subword.of(network.processor, token_limit(network.processor, network.settings))


def encoding(recipe: Recipe, tokenizer: Subword | None) -> Callable[[str], NDArray[Any]]:
    """From a text to what the recipe's systems take of it: its ids, or its vectors."""
    if recipe.text.tuned:
        raise ConfigError(f"{recipe.title}: class prompts need a frozen text encoder, not one that learns")
    if tokenizer is not None:
        return lambda text: tokenizer.encode(text)[0]
    encoder = build_text(recipe.text.encoder)
    return lambda text: encoder.encode([text])[0].vectors


def warm_mark(recipe: Recipe, fold: str, seed: int) -> str:
    """Hash of the training that ``warmed`` begins with."""
    done = _warm_place(recipe, fold, seed) / "done.json"
    return fingerprint(done.read_text(encoding="utf-8") if done.is_file() else "")


def _warm_place(recipe: Recipe, fold: str, seed: int) -> Path:
    run = Path(recipe.training.warm)
    return run / FINAL if fold == FINAL else run / fold / str(seed)


def warmed(system: System, recipe: Recipe, split: str, fold: str, seed: int) -> None:
    """Give the system the weights that it has in the run of ``training.warm`` after this fold and seed."""
    place = _warm_place(recipe, fold, seed)

    def refuse(why: str) -> None:
        raise ConfigError(f"training.warm: {place} {why}")

    if not (place / models.CARD).is_file():
        what = "its final model, which crossval makes," if fold == FINAL else "that fold and seed"
        refuse(f"was not trained; train {what} first, with tune = 'frozen'")
    before = models.load(place)
    if before.card["protocol"]["hash"] != split:
        refuse("is of other folds")
    if isinstance(before.system, Tuned) or before.name != recipe.system:
        refuse(f"is not a '{recipe.system}' over frozen encoders")
    if recipe.uses_speech and recipe.speech.tuned:
        speech = before.card["encoders"]["speech"]
        ours, theirs = recipe.speech.layer, speech["settings"].get("layer")
        several = ours == "weighted" and "-" in str(theirs)  # as many states: their sizes must fit
        if recipe.speech.name != speech["name"] or not (several or theirs == ours):
            refuse(f"is over layer {theirs} of {speech['name']}, not {ours} of {recipe.speech.name}")
    try:
        system.load_state_dict(before.system.state_dict())
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise ModelError(f"training.warm: {place} does not fit this recipe: {reason}") from None
