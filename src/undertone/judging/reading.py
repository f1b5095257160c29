"""Whether a model can read a transcript: words that it can't read are no evidence.

It matters only for models whose card says that they read English alone.
"""

from __future__ import annotations

from dataclasses import replace

from undertone.features.english import not_english
from undertone.judging.clip import Model, Transcript
from undertone.types import Evidence, Prediction

__all__ = ["unjudged", "unread"]


def unread(model: Model, words: Transcript) -> str | None:
    """Why the model can't read the words; None where it can."""
    languages = tuple(model.card.get("languages", ()))
    if words.language is not None and words.language not in (languages or ("en",)):
        return f"the language is {words.language}"
    return not_english(words.text) if languages == ("en",) else None


def unjudged(model: Model, name: str, words: Transcript, why: str) -> Prediction:
    """The answer to words that can't be read, where there is no speech either."""
    even = {label: 1 / len(model.labels) for label in model.labels}
    prediction = Prediction(name, None, 0.0, even, {"fused": even}, model=model.name, text=words.text)
    return replace(prediction, text_source=f"{words.source}, not judged: {why}", evidence=Evidence())
