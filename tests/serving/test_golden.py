"""The model that is shipped answers as it did when it was packed, to a thousandth."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from undertone.features.config import SpeechConfig
from undertone.features.speech import build
from undertone.judging.networks import load_torch
from undertone.judging.predictor import Predictor
from undertone.models.folder import read_card

MODEL = Path(__file__).parents[2] / "packages" / "undertone-starter" / "src" / "undertone_starter" / "model"
GOLDEN = json.loads(Path(__file__).with_name("golden.json").read_text(encoding="utf-8"))
"""What it said of the clip and the sentence below; written anew, knowingly, with each packed model."""
TEXT = "we won, I am so glad"
RATE = 16_000


@pytest.fixture(scope="module")
def shipped() -> Predictor:
    """In full precision, which all machines have."""
    settings = read_card(MODEL)["encoders"]["speech"]["settings"] | {"precision": "fp32"}
    return Predictor(load_torch(MODEL, build(SpeechConfig.parse(settings))))


def vowels() -> np.ndarray:
    """Two seconds that a formula speaks: a falling voice, five syllables, two resonances, no dice."""
    times = np.arange(2 * RATE) / RATE
    hertz = 210.0 - 30.0 * times + 25.0 * np.sin(2 * np.pi * 1.3 * times)
    phase = 2 * np.pi * np.cumsum(hertz) / RATE
    wave = np.zeros(len(times))
    for k in range(1, 24):
        loud = sum(1 / (1 + ((k * hertz - f) / 120.0) ** 2) for f in (650.0, 1700.0)) + 0.3 / k
        wave += loud * np.sin(k * phase)
    syllables = np.clip(np.sin(2 * np.pi * 2.5 * times), 0.0, None) ** 0.7
    return (0.1 * wave * syllables / np.abs(wave).max()).astype(np.float32)


def said(model: Predictor) -> dict[str, dict[str, float]]:
    """Every posterior that the golden file holds."""
    heard, read, both = model.predict(vowels()), model.predict(None, TEXT), model.predict(vowels(), TEXT)
    found = {"speech": heard.probabilities, "text": read.probabilities, "both": both.probabilities}
    found["kinds"] = heard.extra["emotions"]  # before it is asked whether this is like any speech: it is not
    return {name: {label: round(p, 4) for label, p in values.items()} for name, values in found.items()}


def test_posteriors_are_those_of_the_day_it_was_packed(shipped: Predictor) -> None:
    for name, values in said(shipped).items():
        assert values == pytest.approx(GOLDEN[name], abs=1e-3), name
    assert GOLDEN["text"]["happy"] > 0.5


@pytest.mark.parametrize("seconds", [0.5, 3.0])
def test_silence_is_no_emotion(shipped: Predictor, seconds: float) -> None:
    answer = shipped.predict(np.zeros(round(seconds * RATE), np.float32))
    assert answer.label is None
    assert answer.confidence < 0.4


def test_level_decides_little(shipped: Predictor) -> None:
    """Whisper's log-mel keeps the level, so that it counts, but less than what is said: 12 dB either way."""
    quiet, loud = (shipped.predict(vowels() * np.float32(gain)).extra["emotions"] for gain in (0.25, 4.0))
    assert quiet == pytest.approx(loud, abs=0.1)
