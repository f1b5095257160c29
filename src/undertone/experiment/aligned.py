"""Which alignment is wanted, its outcomes, and the journal that a stopped run goes on from."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from undertone import __version__
from undertone.config import fingerprint
from undertone.errors import ManifestError
from undertone.manifest.records import from_plain, to_plain
from undertone.types import Utterance

__all__ = ["AlignmentRequest", "Journal", "Outcome"]


@dataclass(frozen=True)
class AlignmentRequest:
    """Which aligner, and its settings; what determines the result, and nothing else."""

    method: Literal["given", "sphinx", "ctc", "asr"]
    model: str | None = None
    """ctc, asr: the recogniser."""
    source: str | None = None
    """given: where the boundaries are; None: in the manifest or beside the recordings."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the aligner's config."""
    keep_doubtful: bool = False
    """Keep the alignment, marked, of an utterance that is below the gate."""

    def stamp(self) -> str:
        """Changes when results would."""
        kept = [self.keep_doubtful] if self.keep_doubtful else []
        return fingerprint([self.method, self.model, self.source, dict(self.settings), *kept, __version__])


@dataclass(frozen=True)
class Outcome:
    """What came of one utterance."""

    utterance: Utterance
    """With its tiers, or without any where it failed."""
    reason: str | None = None
    """Why it failed, None where it did not."""
    refused: bool = False
    """Whether it failed because another text is spoken."""
    audio_s: float = 0.0
    work_s: float = 0.0
    """Processor time."""

    @property
    def confidence(self) -> float | None:
        alignment = self.utterance.alignment
        scores = [w.score for w in alignment.word if w.score is not None] if alignment else []
        return sum(scores) / len(scores) if scores else None


class Stamped(Protocol):
    """A request whose outcomes are kept."""

    def stamp(self) -> str:
        """Changes when results would."""


class Journal:
    """Outcomes as they come, one a line; the first line is the request's stamp."""

    def __init__(
        self, path: Path, request: Stamped, own: Callable[[Utterance], Utterance] | None = None
    ) -> None:
        """``own``: the utterance without what the work adds to it; by default without its tiers."""
        self.path = path
        self.stamp = request.stamp()
        self._own = own or Utterance.without_alignment

    def read(self, utterances: Sequence[Utterance]) -> dict[str, Outcome]:
        """Outcomes of these utterances by an earlier run of the same request."""
        if not self.path.is_file():
            return {}
        head, *lines = self.path.read_bytes().splitlines() or [b""]
        if head.decode("utf-8", "replace") != self.stamp:
            self.path.unlink()
            return {}
        known = {u.id: self._identity(u) for u in utterances}
        done = {}
        for line in lines:
            try:
                outcome = _outcome(json.loads(line))
            except (ValueError, KeyError, TypeError, ManifestError):
                continue  # the line during which it was stopped
            if known.get(outcome.utterance.id) == self._identity(outcome.utterance):
                done[outcome.utterance.id] = outcome
        return done

    def __enter__(self) -> Journal:
        self.empty = not self.path.is_file()
        self.file = self.path.open("ab")
        self.file.write(f"{self.stamp}\n".encode() if self.empty else b"\n")
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()
        if self.empty:  # a mistyped recogniser leaves nothing behind
            self.path.unlink()

    def add(self, outcome: Outcome) -> None:
        values = {
            "utterance": to_plain(outcome.utterance),
            "reason": outcome.reason,
            "refused": outcome.refused,
            "audio_s": outcome.audio_s,
            "work_s": outcome.work_s,
        }
        self.file.write(json.dumps(values, ensure_ascii=False).encode() + b"\n")
        self.file.flush()
        self.empty = False

    def _identity(self, utterance: Utterance) -> str:
        """Hash of what the work was begun with."""
        return fingerprint(to_plain(self._own(utterance)))


def _outcome(values: Mapping[str, Any]) -> Outcome:
    return Outcome(
        from_plain(values["utterance"]),
        values["reason"],
        values["refused"],
        values["audio_s"],
        values["work_s"],
    )
