"""A copy is found however it was dressed up; another take is not a copy."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from undertone.auditing.sounds import NEAR, fingerprint, twins
from undertone.types import Utterance


def speech_like(seed: int, seconds: float = 1.6) -> np.ndarray:
    """Syllables of gliding harmonics between silences; every seed another sentence."""
    rng = np.random.default_rng(seed)
    wave = np.zeros(int(16000 * (seconds + 0.5)))
    at = 4000
    while at < 16000 * seconds:
        length = int(rng.integers(1200, 4000))
        t = np.arange(length) / 16000
        pitch = rng.uniform(90, 250) * (1 + rng.uniform(-1, 1) * t)
        phase = 2 * np.pi * np.cumsum(pitch) / 16000
        tilt, formant = rng.uniform(0.5, 2), rng.uniform(300, 2500)
        tone = sum(
            np.sin(k * phase) * k**-tilt * (1 + 4 * np.exp(-(((k * pitch - formant) / 250) ** 2)))
            for k in range(1, 16)
        )
        wave[at : at + length] += (tone * np.hanning(length))[: len(wave) - at]
        at += length + int(rng.integers(0, 1500))
    return (0.3 * wave / np.abs(wave).max() + rng.normal(0, 1e-4, len(wave))).astype(np.float32)


def _encoded(wave: np.ndarray, kind: str, subtype: str | None = None) -> np.ndarray:
    held = io.BytesIO()
    soundfile.write(held, wave, 16000, format=kind, subtype=subtype)
    held.seek(0)
    return np.asarray(soundfile.read(held)[0], np.float32)


DRESSES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "quieter": lambda w: w * 0.05,
    "trimmed": lambda w: w[3000:-4000],
    "later": lambda w: np.concatenate([np.zeros(777, np.float32), w]),
    "with hiss": lambda w: w + np.random.default_rng(1).normal(0, 0.002, len(w)).astype(np.float32),
    "mp3": lambda w: _encoded(w, "MP3"),
    "vorbis": lambda w: _encoded(w, "OGG"),
    "telephone": lambda w: _encoded(w, "WAV", "ULAW"),
    "without bass": lambda w: np.convolve(w, [1, -0.7], "same").astype(np.float32),
}


@pytest.mark.parametrize("dress", DRESSES)
def test_a_copy_keeps_its_fingerprint(dress: str) -> None:
    for seed in range(4):
        wave = speech_like(seed)
        (length, one), (other, two) = fingerprint(wave), fingerprint(DRESSES[dress](wave))
        assert one @ two >= NEAR
        assert abs(length - other) <= 0.03 * length + 2


def test_other_sentences_have_other_fingerprints() -> None:
    prints = np.stack([fingerprint(speech_like(seed))[1] for seed in range(40)])
    assert np.triu(prints @ prints.T, 1).max() < 0.9


@pytest.mark.parametrize("wave", [np.zeros(16000), np.zeros(0), np.ones(100)])
def test_silence_has_no_fingerprint(wave: np.ndarray) -> None:
    assert fingerprint(wave.astype(np.float32))[0] == 0


def test_twins_are_found_among_strangers_and_the_unreadable_are_named(tmp_path: Path) -> None:
    for seed in range(12):
        soundfile.write(tmp_path / f"{seed:02}.wav", speech_like(seed), 16000)
    soundfile.write(tmp_path / "same.flac", soundfile.read(tmp_path / "03.wav")[0], 16000)
    soundfile.write(tmp_path / "louder.wav", 2 * speech_like(5), 16000)
    (tmp_path / "broken.wav").write_bytes(b"")
    for quiet in ("mute1.wav", "mute2.wav"):
        soundfile.write(tmp_path / quiet, np.zeros(16000 + len(quiet[4:5]) * int(quiet[4])), 16000)
    people = [Utterance(p.stem, str(p)) for p in sorted(tmp_path.iterdir())]
    heard = []
    found = twins(
        [*people, Utterance("text only", "")], jobs=2, watch=lambda done, total: heard.append((done, total))
    )
    assert found.identical == [["03", "same"]]
    assert [(a, b) for a, b, _ in found.near] == [("05", "louder")]
    assert list(found.unread) == ["broken"]
    assert heard == [(n, len(people)) for n in range(1, len(people) + 1)]


def test_parts_of_one_recording_are_told_apart_by_their_times(tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    soundfile.write(path, np.concatenate([speech_like(1), speech_like(2), speech_like(1)]), 16000)
    length = len(speech_like(1)) / 16000
    parts = [Utterance(str(i), str(path), start=i * length, end=(i + 1) * length) for i in range(3)]
    assert twins(parts).identical == [["0", "2"]]
