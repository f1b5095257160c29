"""Every error a user can meet, as one tree.

    UndertoneError
    ├── ConfigError          a recipe, an option or an override is wrong
    ├── DataError            something on disk is not what it should be
    │   ├── AudioError       a recording cannot be read
    │   ├── CorpusError      a corpus folder is not laid out as its release is
    │   ├── ManifestError    a manifest cannot be read or does not hold together
    │   ├── LabelError       a label that no map knows
    │   ├── AlignmentError   a boundary file or an alignment is wrong
    │   │   └── TranscriptMismatch   the transcript is of another text than the recording
    │   └── StoreError       the feature store is damaged or of another schema
    ├── ModelError           a model folder cannot be loaded, or does not fit its input
    ├── OutputError          a file cannot be written in its place
    ├── ProtocolError        an experiment would not be honest: a leak, a mismatch of ids
    ├── TrainingError        training cannot go on (a NaN, nothing to train on)
    └── MissingExtra         a feature whose optional dependency is not installed

The command line turns each into one line on stderr and exit status 1; a programmer's
mistake is an ``assert`` or a built-in exception and keeps its traceback.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from undertone.types import Alignment

__all__ = [
    "AlignmentError",
    "AudioError",
    "ConfigError",
    "CorpusError",
    "DataError",
    "LabelError",
    "ManifestError",
    "MissingExtra",
    "ModelError",
    "OutputError",
    "ProtocolError",
    "StoreError",
    "TrainingError",
    "TranscriptMismatch",
    "UndertoneError",
    "nearest",
]


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: the nearest that is known, else all of them.

    >>> nearest("unisno", ["concat", "unison"])
    ": did you mean 'unison'?"
    >>> nearest("x", ["concat", "unison"])
    '; there are: concat, unison'
    """
    names = list(known)
    near = get_close_matches(name, names, n=1, cutoff=0.5)
    return f": did you mean '{near[0]}'?" if near else f"; there are: {', '.join(names)}"


class UndertoneError(Exception):
    """Base of all errors whose cause lies outside the program."""


class ConfigError(UndertoneError):
    """A recipe, an option or an override is wrong."""


class DataError(UndertoneError):
    """Something on disk is not what it should be."""


class AudioError(DataError):
    """A recording cannot be read."""


class CorpusError(DataError):
    """A corpus folder is not laid out as its release is."""


class ManifestError(DataError):
    """A manifest cannot be read or does not hold together."""


class LabelError(DataError):
    """A label that no map knows."""


class AlignmentError(DataError):
    """A boundary file or an alignment is wrong."""


class TranscriptMismatch(AlignmentError):
    """The transcript is of another text than the recording; with the best alignment all the same."""

    def __init__(self, message: str, alignment: Alignment | None = None, confidence: float = 0.0) -> None:
        super().__init__(message)
        self.alignment = alignment
        self.confidence = confidence


class StoreError(DataError):
    """The feature store is damaged or of another schema."""


class ModelError(UndertoneError):
    """A model folder cannot be loaded, or does not fit its input."""


class OutputError(UndertoneError):
    """A file cannot be written in its place."""


class ProtocolError(UndertoneError):
    """An experiment would not be honest: a leak, a mismatch of ids."""


class TrainingError(UndertoneError):
    """Training cannot go on."""


class MissingExtra(UndertoneError):
    """A feature whose optional dependency is not installed."""

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(f"{feature} needs the extra '{extra}': pip install 'undertone[{extra}]'")
        self.feature = feature
        self.extra = extra
