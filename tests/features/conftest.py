"""Checkpoints made once a session, clips made on demand."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import soundfile

from undertone.types import Utterance


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a small random checkpoint, by its name in ``checkpoints``."""
    root = tmp_path_factory.mktemp("checkpoints")

    @cache
    def made(name: str) -> Path:
        from tests.features import checkpoints

        return checkpoints.make((checkpoints.SPEECH | checkpoints.TEXT)[name], root / name.replace(" ", "-"))

    return made


@pytest.fixture
def clips(tmp_path: Path) -> Callable[..., list[Utterance]]:
    """Utterances of noise with the given lengths in seconds, written as files."""

    def made(*seconds: float, seed: int = 0) -> list[Utterance]:
        rng = np.random.default_rng(seed)
        utterances = []
        for number, length in enumerate(seconds):
            path = tmp_path / "audio" / f"clip{number:04d}.wav"
            path.parent.mkdir(exist_ok=True)
            soundfile.write(path, rng.normal(0, 0.1, round(length * 16_000)), 16_000)
            utterances.append(Utterance(id=f"u{number:04d}", audio=str(path), text=f"clip number {number}"))
        return utterances

    return made
