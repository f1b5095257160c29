"""Every error a user can meet, as one tree.

    UndertoneError
    ├── ConfigError          a recipe, an option or an override is wrong
    ├── DataError            something on disk is not what it should be
    │   ├── AudioError       a recording cannot be read
    │   ├── CorpusError      a corpus folder is not laid out as its release is
    │   ├── ManifestError    a manifest cannot be read or does not hold together
    │   ├── LabelError       a label that no map knows
    │   ├── AlignmentError   a boundary file or an alignment is wrong
    │   │   └── TranscriptMismatch   another text is spoken than the transcript says
    │   └── StoreError       the feature store is damaged or of another schema
    ├── ModelError           a model folder cannot be loaded, or does not fit its input
    ├── OutputError          a file cannot be written where it was asked for
    ├── ProtocolError        an experiment would not be honest: a leak, a mismatch of ids
    ├── TrainingError        training cannot go on (a NaN, nothing to train on)
    └── MissingExtra         a feature whose optional dependency is not installed

The command line turns each into one line on stderr and exit status 1; a programmer's
mistake is an ``assert`` or a built-in exception and keeps its traceback.
"""

from __future__ import annotations

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
]


class UndertoneError(Exception):
    """Base of all errors that are the world's fault, not the program's."""


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
    """Another text is spoken than the transcript says."""


class StoreError(DataError):
    """The feature store is damaged or of another schema."""


class ModelError(UndertoneError):
    """A model folder cannot be loaded, or does not fit its input."""


class OutputError(UndertoneError):
    """A file cannot be written where it was asked for."""


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
