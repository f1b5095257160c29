"""Sounds and tiny models, for the tests of judging and serving."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest


def wav(wave: np.ndarray, rate: int = 16000, subtype: str = "PCM_16", form: str = "WAV") -> bytes:
    """A sound file in memory."""
    import soundfile

    file = io.BytesIO()
    soundfile.write(file, wave, rate, subtype=subtype, format=form)
    return file.getvalue()


def tone(seconds: float = 1.0, level: float = 0.1, rate: int = 16000, hertz: float = 200.0) -> np.ndarray:
    return (level * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


@pytest.fixture(scope="session")
def make_wav() -> Callable[..., bytes]:
    return wav


@pytest.fixture(scope="session")
def make_tone() -> Callable[..., np.ndarray]:
    return tone


@pytest.fixture(scope="session")
def clip() -> bytes:
    """Three seconds of tone as 16-bit wav."""
    return wav(tone(3.0))


# ---- the model in the box ----------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _no_starter(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test here depends on whether this machine has the real starter installed."""
    monkeypatch.setattr("undertone.judging.locate.PACKAGE", "undertone_starter_of_tests")


# ---- tiny models -------------------------------------------------------------------------------------

TEXTS = ["I can't believe you did that", "what a lovely day", "leave me alone now", "the meeting is at nine"]


BESIDE: dict[str, Any] = {
    "target": ["class", "dimensions", "multilabel"],
    "asides": {key: ["arousal", "valence"] for key in ("dimensions", "spread")},
    "scales": {"arousal": [1.0, 7.0], "valence": [1.0, 5.0]},
}
"""Of the card of a model that gives more than the class."""


def make_model(
    folder: Path, system: str = "unison", seed: int = 0, beside: bool = False, **settings: object
) -> Path:
    """A small model folder with random weights, acoustic frames and subword pieces; ``beside``: with
    dimensions and several emotions."""
    import torch

    from undertone.features.config import SpeechConfig
    from undertone.features.speech import build
    from undertone.features.subword import Subword
    from undertone.models import folder as folders
    from undertone.models.example import Dimensions
    from undertone.models.table import SYSTEMS
    from undertone.models.table import build as build_system
    from undertone.models.targets import Target

    torch.manual_seed(seed)
    encoder = build(SpeechConfig())
    pieces = Subword.fit(TEXTS, 80)
    sizes = Dimensions(classes=4, speech=encoder.dim, text=16, vocabulary=pieces.size)
    known = SYSTEMS[system][1].model_fields
    small = {name: value for name, value in {"width": 16, "heads": 4}.items() if name in known}
    made = build_system(system, {**small, **settings}, sizes)
    if beside:
        kinds = {"class": 1.0, "dimensions": 1.0, "multilabel": 1.0}
        made.aim(Target(weights=kinds, dimensions=("arousal", "valence")))
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.3)  # an untrained head would call everything alike
    card: dict[str, Any] = {
        "labels": ["angry", "happy", "sad", "neutral"],
        "corpus": "tiny",
        "synthesised": True,
        "protocol": {"split": "loso"},
        "encoders": {
            "speech": {"name": "acoustic", "identity": encoder.identity, "settings": encoder.config.plain()},
            "text": {"name": "subword"},
        },
        **(BESIDE if beside else {}),
    }
    card["encoders"] = {side: card["encoders"][side] for side in SYSTEMS[system][0].sides}
    folders.save(folder, made.eval(), card, pieces)
    return folder


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("models") / "unison")


@pytest.fixture(scope="session")
def new_model() -> Callable[..., Path]:
    return make_model
