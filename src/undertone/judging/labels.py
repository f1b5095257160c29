"""Other classes than those that a model learned, given as words: for models that judge by class prompts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from undertone.errors import ConfigError, ModelError
from undertone.features.subword import Subword
from undertone.judging.clip import Model
from undertone.judging.model import TrainedModel

__all__ = ["with_labels"]

MARK = "zero-shot"
"""In the name of a model with other classes, and on its card."""


def with_labels(model: Model, labels: Sequence[str]) -> TrainedModel:
    """The model with these classes; its temperature is that of the classes that it learned."""
    chosen = [label.strip() for label in labels if label.strip()]
    if len(chosen) < 2 or len(set(chosen)) < len(chosen):
        raise ConfigError(f"--labels {','.join(labels)}: two or more classes are wanted, each once")
    system: Any = getattr(getattr(model, "network", None), "system", None)
    if not isinstance(model, TrainedModel) or system is None or not system.takes_prompts:
        raise ModelError(
            f"{model.name}: has the classes that it learned ({', '.join(model.labels)}); others need a"
            " trained (not exported) model that judges by class prompts: `undertone list systems` names them"
        )
    from undertone.models.inputs import prompts

    text = model.encoders.text
    if text is None:
        raise ModelError(f"{model.name}: has no text encoder for the words of the classes")

    def encode(words: str) -> Any:
        return text.encode(words)[0] if isinstance(text, Subword) else text.encode([words])[0].vectors

    system.describe(prompts(chosen, encode, system.dimensions))
    learned = set(model.labels)
    card = {
        **model.card,
        "labels": chosen,
        MARK: {"learned": list(model.labels), "new": [label for label in chosen if label not in learned]},
    }
    name = f"{model.name} {MARK}"
    return TrainedModel(name, card, model.encoders, model.network, model.tiers)
