"""Where a run's features are, and what shape they have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from undertone.config import fingerprint
from undertone.types import FrameClock

__all__ = ["Features"]


@dataclass(frozen=True)
class Features:
    """Where the features of a manifest are, and their sizes."""

    store: str
    """Folder of the store."""
    speech: Mapping[str, str] = field(default_factory=dict)
    """By utterance: its key; empty where no speech is used."""
    text: Mapping[str, str] = field(default_factory=dict)
    """By utterance: its key; empty where text is not used, or its encoder is learned in the fold."""
    clock: FrameClock | None = None
    speech_dim: int = 0
    speech_layers: int = 0
    text_dim: int = 0
    encoders: Mapping[str, Any] = field(default_factory=dict)
    """``speech`` and ``text``: name, identity and settings of each, as a model's card has them."""
    recordings: str = ""
    """Where a speech encoder learns and nothing is stored: hash of what it hears."""

    @property
    def mark(self) -> str:
        """Hash of all that a training reads of them: not of where they are, nor where they were made."""
        identities = {side: encoder["identity"] for side, encoder in self.encoders.items()}
        return fingerprint([identities, dict(self.speech), dict(self.text), self.recordings])
