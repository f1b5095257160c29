"""Every error a user can meet, as one tree.

    UndertoneError
    ├── ConfigError          a recipe, an option or an override is wrong
    │   └── UsageError       an argument names something that there is none of (exit status 2)
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

import re
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
    "UsageError",
    "install_line",
    "nearest",
    "nearest_name",
    "no_such",
]


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: the nearest that is known, else all of them.

    >>> nearest("unisno", ["concat", "unison"])
    ": did you mean 'unison'?"
    >>> nearest("x", ["concat", "unison"])
    '; there are: concat, unison'
    """
    names = list(known)
    near = nearest_name(name, names)
    return f": did you mean '{near}'?" if near else f"; there are: {', '.join(names)}"


def nearest_name(name: str, known: Iterable[str]) -> str | None:
    """The name that is most like a mistyped one, where one is like it."""
    near = get_close_matches(name, list(known), n=1, cutoff=0.5)
    return near[0] if near else None


def no_such(what: str, name: str, known: Iterable[str]) -> str:
    """The message for a name that is none of those there are.

    >>> no_such("engine", "rya", ["local", "ray"])
    "no engine 'rya': did you mean 'ray'?"
    """
    return f"no {what} '{name}'{nearest(name, known)}"


class UndertoneError(Exception):
    """Base of all errors whose cause lies outside the program."""


class ConfigError(UndertoneError):
    """A recipe, an option or an override is wrong."""


class UsageError(ConfigError):
    """An argument or an option of a command names something that there is none of."""


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
        super().__init__(f"{feature} needs the extra '{extra}': {install_line(extra)}")
        self.feature = feature
        self.extra = extra

    def __reduce__(self) -> tuple[type[MissingExtra], tuple[str, str]]:
        """As errors of worker processes come back: built from what it was built from."""
        return MissingExtra, (self.feature, self.extra)


def install_line(extra: str) -> str:
    """The command that installs an extra's packages, by their own names: undertone may be on no index."""
    from importlib.metadata import PackageNotFoundError, requires

    try:
        stated = requires("undertone") or []
    except PackageNotFoundError:  # run from a checkout that nobody installed
        stated = []
    of_extra = [line.partition(";")[0].strip() for line in stated if f"extra == '{extra}'" in _plain(line)]
    packages: list[str] = []
    for name in of_extra:  # an extra may name another one: undertone[espeak]
        inner = re.fullmatch(r"undertone\[(.+)\]", name)
        if inner:
            packages += install_line(inner[1]).split()[2:]
        elif own := re.match(r"undertone-[a-z-]+", name):  # weights: a folder in undertone's checkout
            packages.append(f"./packages/{own[0]}")
        else:
            packages.append(f"'{name}'")
    return f"pip install {' '.join(packages)}" if packages else f"pip install -e '.[{extra}]'"


def _plain(requirement: str) -> str:
    return requirement.replace('"', "'").replace("extra=='", "extra == '")
