"""Label spaces, and the map from each corpus' own labels to them. An unmapped label is an error.

Classes have one name each across corpora (``angry``, never ``ang`` or ``anger``), and sets that
share classes list them in the same order, so that a model's outputs mean the same thing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from undertone.errors import LabelError, no_such

__all__ = ["CLASSES", "LABEL_SETS", "LabelSet", "in_order", "label_set"]

CLASSES = (
    "angry",
    "happy",
    "sad",
    "neutral",
    "excited",
    "frustrated",
    "calm",
    "fearful",
    "disgusted",
    "surprised",
    "bored",
    "contemptuous",
)
"""Every class that a shipped label set uses, in the order in which all sets list them."""


@dataclass(frozen=True)
class LabelSet:
    """A named set of classes and what each of a corpus' labels becomes in it."""

    name: str
    classes: tuple[str, ...]
    """In the order of a model's outputs."""
    mapping: Mapping[str, str | None]
    """Corpus label → class; None for a label of the corpus that this set leaves out."""
    expected: Mapping[str, int] | None = None
    """How many utterances of each class a complete copy of the corpus holds."""

    def map(self, label: str | None, utterance: str) -> str | None:
        """The class of a corpus label, None where this set leaves it out; a class stays what it is."""
        if label is None or label in self.classes:
            return label
        if label in self.mapping:
            return self.mapping[label]
        known = ", ".join(sorted(self.mapping))
        raise LabelError(
            f"{utterance}: label '{label}' is not mapped by label set '{self.name}' (known: {known})"
        )


def in_order(classes: Iterable[str]) -> tuple[str, ...]:
    """Distinct classes in the canonical order, unknown ones after them by name."""
    rank = {name: i for i, name in enumerate(CLASSES)}
    return tuple(sorted(set(classes), key=lambda name: (rank.get(name, len(rank)), name)))


def _set(
    name: str,
    mapping: Mapping[str, str],
    expected: tuple[int, ...] | None = None,
    left_out: Iterable[str] = (),
) -> LabelSet:
    classes = in_order(mapping.values())
    counts = dict(zip(classes, expected, strict=True)) if expected else None
    return LabelSet(name, classes, {**dict.fromkeys(left_out), **mapping}, counts)


IEMOCAP = ("ang", "hap", "sad", "neu", "exc", "fru", "fea", "sur", "dis", "oth", "xxx")
IEMOCAP4 = {"ang": "angry", "hap": "happy", "sad": "sad", "neu": "neutral"}
MERGED = {**IEMOCAP4, "exc": "happy"}
FRUSTRATED = {"fru": "frustrated"}
MELD = {
    "anger": "angry",
    "joy": "happy",
    "sadness": "sad",
    "neutral": "neutral",
    "fear": "fearful",
    "disgust": "disgusted",
    "surprise": "surprised",
}
FOUR = ("angry", "happy", "sad", "neutral")
RAVDESS = (*FOUR, "calm", "fearful", "disgusted", "surprised")
EMODB = {
    "anger": "angry",
    "happiness": "happy",
    "sadness": "sad",
    "neutral": "neutral",
    "fear": "fearful",
    "disgust": "disgusted",
    "boredom": "bored",
}
CREMAD = {
    "ANG": "angry",
    "HAP": "happy",
    "SAD": "sad",
    "NEU": "neutral",
    "FEA": "fearful",
    "DIS": "disgusted",
}
MSPPODCAST = {
    "A": "angry",
    "H": "happy",
    "S": "sad",
    "N": "neutral",
    "F": "fearful",
    "D": "disgusted",
    "U": "surprised",
    "C": "contemptuous",
}


def _own(*classes: str) -> dict[str, str]:
    return {name: name for name in classes}


def _four(mapping: Mapping[str, str]) -> dict[str, str]:
    return {label: name for label, name in mapping.items() if name in FOUR}


_SETS = (
    _set("iemocap4", MERGED, (1103, 1636, 1084, 1708), IEMOCAP[5:]),
    _set("iemocap4-unmerged", IEMOCAP4, (1103, 595, 1084, 1708), IEMOCAP[4:]),
    _set("iemocap5", {**MERGED, **FRUSTRATED}, (1103, 1636, 1084, 1708, 1849), IEMOCAP[6:]),
    _set(
        "iemocap6",
        {**IEMOCAP4, "exc": "excited", **FRUSTRATED},
        (1103, 595, 1084, 1708, 1041, 1849),
        IEMOCAP[6:],
    ),
    _set("meld7", MELD, (1607, 2308, 1002, 6436, 358, 361, 1636)),
    _set("meld4", _four(MELD), (1607, 2308, 1002, 6436), MELD),
    _set("ravdess8", _own(*RAVDESS), (192, 192, 192, 96, 192, 192, 192, 192)),
    _set("ravdess4", {**_own(*FOUR), "calm": "neutral"}, (192, 192, 192, 288), RAVDESS[5:]),
    _set("ravdess4-unmerged", _own(*FOUR), (192, 192, 192, 96), RAVDESS[4:]),
    _set("emodb7", EMODB, (127, 71, 62, 79, 69, 46, 81)),
    _set("emodb4", _four(EMODB), (127, 71, 62, 79), EMODB),
    _set("cremad6", CREMAD, (1271, 1271, 1271, 1087, 1271, 1271)),
    _set("cremad4", _four(CREMAD), (1271, 1271, 1271, 1087), CREMAD),
    _set("msppodcast8", MSPPODCAST, None, ("O", "X")),
    _set("msppodcast4", _four(MSPPODCAST), None, (*MSPPODCAST, "O", "X")),
    _set("demo4", _own(*FOUR)),
)

LABEL_SETS: dict[str, LabelSet] = {s.name: s for s in _SETS}
"""Every label set by name."""


def label_set(name: str) -> LabelSet:
    """A label set by name; the error of an unknown name lists those that exist."""
    try:
        return LABEL_SETS[name]
    except KeyError:
        raise LabelError(no_such("label set", name, LABEL_SETS)) from None
