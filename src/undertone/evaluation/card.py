"""The protocol card: everything that makes two numbers comparable, or not.

>>> ours = Card(corpus="demo", labels="demo4", protocol="loso", seeds=(0,))
>>> theirs = Card(corpus="demo", labels="demo4", protocol="loso", seeds=(0,), selection="test")
>>> differences(ours, theirs)
["selection: 'validation' ≠ 'test'"]
>>> marks([ours, ours, theirs])
['', '', 'a']
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import undertone
from undertone.errors import DataError
from undertone.files import write_json

__all__ = ["Card", "code_version", "differences", "legend", "marks", "read", "this_machine", "write"]

FILE = "card.json"
"""The card lies beside the folds: ``runs/<name>/card.json``."""


@dataclass(frozen=True, slots=True)
class Card:
    """What was measured, on what, how chosen, with what. Plain JSON values only."""

    corpus: str
    labels: str
    """Name of the label set."""
    protocol: str
    """Key of ``splits.PROTOCOLS``, with ``strict`` where it applies."""
    seeds: tuple[int, ...]
    counts: Mapping[str, int] = field(default_factory=dict)
    """Labelled utterances of each class."""
    data: str = ""
    """Hash of the manifest that was used."""
    split: str = ""
    """Hash of the folds."""
    folds: int = 0
    groups: str = "speaker"
    """What is never in two parts of a fold."""
    stamps: tuple[str, ...] = ()
    """Those of the split: ``speaker-dependent``, ``leaking: …``."""
    level: Literal["utterance", "dialogue"] = "utterance"
    selection: Literal["validation", "test", "unknown"] = "validation"
    """What chose the epoch; ``test`` is optimistic, ``unknown`` are predictions made elsewhere."""
    calibration: Literal["validation", "test", "unknown"] = "validation"
    """What the temperature and the weights of members were fitted on."""
    search: str = ""
    """Where settings were searched once for all folds: on what; its numbers are optimistic."""
    unit: str = ""
    """The unit of intervals and tests: ``session``, ``speaker``; empty: the default of the corpus."""
    refit: bool = False
    """Whether the model was trained again on training + validation."""
    context: str = "none"
    """``none``, ``past`` or ``full``: what of the conversation a prediction may see."""
    context_turns: str = ""
    """``labelled`` or ``all``: which turns a conversation holds; of dialogues only."""
    transcripts: str = "gold"
    """``gold`` or the recogniser's name."""
    encoders: Mapping[str, str] = field(default_factory=dict)
    """``speech`` and ``text``: name and revision or hash of the weights."""
    audit: tuple[str, ...] = ()
    """Findings of ``undertone audit``, one line each."""
    code: str = ""
    machine: str = ""
    notes: tuple[str, ...] = ()
    """``reconstruction``, differences from the published settings, and the like."""

    @property
    def warnings(self) -> list[str]:
        """What a reader must know before any number, as far as the card states it."""
        chosen = ["the epoch was selected on test, so it is optimistic"] if self.selection == "test" else []
        fitted = ["the calibration was fitted on test"] if self.calibration == "test" else []
        searched = [f"settings were searched on {self.search}, so it is optimistic"] if self.search else []
        leaks = [line for line in self.audit if line.startswith("leak")]
        return [*chosen, *fitted, *searched, *self.stamps, *leaks]


INCOMPARABLE = (
    "corpus",
    "labels",
    "counts",
    "data",
    "protocol",
    "split",
    "level",
    "selection",
    "search",
    "refit",
    "context",
    "context_turns",
    "transcripts",
    "seeds",
)
"""A difference in one of these puts a mark on the number; so does one in an encoder that both name."""


def differences(one: Card, two: Card) -> list[str]:
    """Why the two cards' numbers do not belong in one column; empty when they do.

    Encoders are compared for the modalities that both name: a speech-only system needs no text encoder.
    """
    reasons = [
        f"{name}: {_short(getattr(one, name))} ≠ {_short(getattr(two, name))}"
        for name in INCOMPARABLE
        if getattr(one, name) != getattr(two, name)
    ]
    for modality in sorted(set(one.encoders) & set(two.encoders)):
        first, second = one.encoders[modality], two.encoders[modality]
        if first != second:
            reasons.append(f"{modality} encoder: {_short(first)} ≠ {_short(second)}")
    return reasons


def _short(value: Any) -> str:
    text = repr(dict(value) if isinstance(value, Mapping) else value)
    return text if len(text) <= 60 else text[:57] + "…"


def marks(cards: Sequence[Card]) -> list[str]:
    """A letter for each card that does not compare with the first; the same letter for the same reasons."""
    letters: dict[tuple[str, ...], str] = {(): ""}
    return [letters.setdefault(tuple(differences(cards[0], c)), _letter(len(letters))) for c in cards]


def legend(cards: Sequence[Card]) -> list[tuple[str, list[str]]]:
    """(letter, reasons) of every mark that ``marks`` sets, in order."""
    reasons = {m: differences(cards[0], c) for m, c in zip(marks(cards), cards, strict=True) if m}
    return sorted(reasons.items())


def _letter(number: int) -> str:
    return chr(ord("a") + (number - 1) % 26) * (1 + (number - 1) // 26)


def write(folder: Path, card: Card) -> None:
    """Write the card into a run's folder."""
    write_json(folder / FILE, asdict(card), indent=1)


def read(folder: Path) -> Card:
    """The card of a run's folder; keys of a later version are ignored."""
    path = folder / FILE
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        known = {f.name for f in fields(Card)}
        known_values: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in values.items() if k in known
        }
        return Card(**known_values)
    except FileNotFoundError:
        raise DataError(f"{path}: no protocol card; is this a run that `undertone crossval` made?") from None
    except (AttributeError, TypeError, ValueError) as error:
        raise DataError(f"{path}: not a protocol card ({error})") from None


def this_machine() -> str:
    """Cores, processor and system in one line."""
    return (
        f"{os.cpu_count()} cores · {_processor()} · {platform.system()} · Python {platform.python_version()}"
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return (named or [platform.processor() or platform.machine()])[0]


def code_version() -> str:
    """The package's version and a hash of its sources, so that an edited checkout shows."""
    root = Path(undertone.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return f"{undertone.__version__}+{digest.hexdigest()[:10]}"
