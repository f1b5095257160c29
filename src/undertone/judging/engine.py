"""A model's speech encoder in another engine or precision, accepted where it changes no decision.

The card's own encoder and the other judge the same built-in clips. What counts is the posteriors: where they
differ by at most ``FAR``, a label can only differ where the first two are closer than twice that.
The result is remembered in the user's cache.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from undertone.config import fingerprint
from undertone.errors import ConfigError, ModelError
from undertone.features.config import SpeechConfig, choose_precision
from undertone.features.neural import PretrainedSpeech
from undertone.files import write_json
from undertone.judging.clip import Clip, Transcript
from undertone.judging.model import TrainedModel, name_of
from undertone.judging.networks import load_torch
from undertone.models.folder import WEIGHTS, read_card
from undertone.store import default_root

if TYPE_CHECKING:
    from undertone.types import Wave

__all__ = ["FAR", "compare", "load_in", "signals"]

FAR = 0.01
"""Largest accepted difference of any probability on the built-in clips. On real speech 0.02 is acceptable;
there the largest of many clips is about twice as large as of these (docs/results/precision.md)."""
SECONDS = (0.7, 1.3, 1.9, 2.4, 3.1, 3.7, 4.6, 5.5, 7.2, 9.8)
"""Lengths of the built-in clips: of many clips' lengths, and of several that Whisper pads to."""
WORDS = "I can't believe you did that"

log = logging.getLogger(__name__)


def load_in(path: Path, runtime: str | None = None, precision: str | None = None) -> TrainedModel:
    """The model in a folder, its speech encoder in that engine and precision; None: the card's, but ``auto``
    in another engine. ModelError where the model would decide otherwise; ``auto`` tries fp32 before that."""
    described = read_card(path).get("encoders", {}).get("speech", {"name": "acoustic"})
    if "members" in described:
        raise ConfigError(f"{path}: made by `undertone fuse`, whose own --precision states how its sides run")
    given = described.get("settings", {"name": described["name"]})
    settings = SpeechConfig.parse({**given, "device": "cpu"}, "card.json")
    if settings.name in ("acoustic", "egemaps"):
        raise ConfigError(
            f"{path}: has no pretrained speech encoder, so it runs without --runtime and --precision"
        )
    wanted = {"runtime": runtime or settings.runtime}
    wanted["precision"] = precision or ("auto" if runtime else settings.precision)
    other = SpeechConfig.parse({**settings.plain(), **wanted}, "--runtime and --precision")
    card = choose_precision(settings.precision, runtime=settings.runtime).name
    first = choose_precision(other.precision, runtime=other.runtime).name
    refusal = ""
    for name in dict.fromkeys([first, "fp32"] if other.precision == "auto" else [first]):
        if (other.runtime, name) == (settings.runtime, card):
            return load_torch(path)
        mark = _mark(path, [described.get("identity"), other.runtime, name])
        result = json.loads(mark.read_text(encoding="utf-8")) if mark.is_file() else None
        if result is None or result["largest_difference"] <= FAR:
            encoder = PretrainedSpeech(other.model_copy(update={"precision": name}))
            model = load_torch(path, encoder)
            if result is None or described.get("identity") != encoder.identity_in(settings.runtime, card):
                result = compare(load_torch(path), model)  # refuses an encoder that is not the card's
                _remember(mark, result)
            if result["largest_difference"] <= FAR:
                return model
        refusal = (
            f"{path}: with its speech encoder in {other.runtime} ({name}) the model does not decide as with"
            f" its own ({settings.runtime}, {card}): {result['same_labels']:.0%} of labels agree,"
            f" probabilities differ by up to {result['largest_difference']:.2g} ({FAR:g} is accepted)"
        )
        log.info(refusal)
    raise ModelError(refusal)


def _mark(path: Path, encoder: Sequence[str | None]) -> Path:
    """Where the result of this model with that encoder is kept, by these libraries on such a machine."""
    from torch.backends.cpu import get_cpu_capability

    versions = [_version(name) for name in ("torch", "transformers", "openvino", "onnxruntime")]
    model = name_of(read_card(path), path / WEIGHTS)
    name = fingerprint([model, *encoder, versions, get_cpu_capability(), FAR, SECONDS])
    return default_root().parent / "engines" / f"{name}.json"


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _remember(mark: Path, result: Mapping[str, float]) -> None:
    try:
        write_json(mark, result)
    except OSError as error:  # a server may have no place to write
        log.info("%s: not remembered (%s)", mark, error)


def compare(own: TrainedModel, other: TrainedModel) -> dict[str, float]:
    """The largest difference of any probability on the built-in clips, and the share of equal labels."""
    clips = [Clip(f"{len(wave)}", wave) for wave in signals()]
    if "text" in own.sides:
        clips += [Clip(f"{clip.id} with words", clip.wave, Transcript(WORDS)) for clip in clips[::3]]
    far, same = [0.0], 0
    for ours, theirs in zip(own.predict(clips), other.predict(clips), strict=True):
        for side, shares in ours.perspectives.items():
            far += [abs(p - theirs.perspectives[side][label]) for label, p in shares.items()]
        same += max(ours.probabilities, key=ours.probabilities.__getitem__) == max(
            theirs.probabilities, key=theirs.probabilities.__getitem__
        )
    return {"largest_difference": float(np.max(far)), "same_labels": same / len(clips)}


def signals(rate: int = 16_000) -> list[Wave]:
    """Clips like speech, the same everywhere: harmonics of a moving pitch under moving formants, in syllables
    with pauses, over noise; voices, tempos and levels differ."""
    drawn, waves = np.random.default_rng(0), []
    for index, seconds in enumerate(SECONDS):
        time = np.arange(round(seconds * rate)) / rate
        tempo, height = 2.5 + 0.4 * (index % 5), 95.0 + 23 * (index * 7 % 10)
        pitch = height * (1 + (0.05 + 0.03 * (index % 4)) * np.sin(2 * np.pi * 0.6 * time + index))
        phase = 2 * np.pi * np.cumsum(pitch) / rate
        vowel = np.sin(2 * np.pi * 0.31 * tempo * time + index)
        formants = (500 + 250 * vowel, 1_500 - 550 * vowel, 2_600 + 150 * vowel)
        voiced = np.zeros(len(time))
        for harmonic in range(1, 24):
            tone = harmonic * pitch
            gain = sum(1 / (1 + ((tone - middle) / 120) ** 2) for middle in formants)
            voiced += gain * np.sin(harmonic * phase) / harmonic**0.5
        syllable = np.clip(np.sin(2 * np.pi * tempo * time) + 0.3, 0, None) * (
            np.sin(1.7 * time + index) > -0.7
        )
        breath = drawn.standard_normal(len(time)) * (0.02 + 0.1 * np.roll(syllable, rate // 10))
        wave = 10 ** (-index % 4 / 4 - 1.8) * (syllable * voiced + breath)
        waves.append(wave.astype(np.float32))
    return waves
