"""Label spaces, and the map from each corpus' own words to them. An unmapped label is an error."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from undertone.errors import LabelError

__all__ = ["LABEL_SETS", "LabelSet", "label_set"]


@dataclass(frozen=True)
class LabelSet:
    """A named set of classes and what each of a corpus' labels becomes in it."""

    name: str
    classes: tuple[str, ...]
    """In the order of a model's outputs."""
    mapping: Mapping[str, str | None]
    """Corpus label → class; None: the corpus knows the label, this set leaves it out."""
    expected: Mapping[str, int] | None = None
    """How many utterances of each class a complete copy of the corpus holds."""

    def map(self, label: str | None, utterance: str) -> str | None:
        """The class of a corpus label, None where this set leaves it out."""
        if label is None:
            return None
        if label in self.mapping:
            return self.mapping[label]
        known = ", ".join(sorted(self.mapping))
        raise LabelError(
            f"{utterance}: label '{label}' is not mapped by label set '{self.name}' (it knows: {known})"
        )


LABEL_SETS: dict[str, LabelSet] = {}
"""Every label set by name."""


def label_set(name: str) -> LabelSet:
    """A label set by name; an unknown name says which there are."""
    try:
        return LABEL_SETS[name]
    except KeyError:
        raise LabelError(f"no label set '{name}'; there are: {', '.join(LABEL_SETS)}") from None
