"""Acoustic frames against a slow twin, and against sounds whose pitch and level are known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from undertone.features import acoustic
from undertone.features.acoustic import (
    PITCH_REFERENCE,
    SPREAD,
    acoustic_frames,
    clock,
    columns,
)
from undertone.features.config import AcousticConfig
from undertone.features.speech import speech_encoder

RATE = 16_000
RAW = AcousticConfig(normalise="none")


def voice(hertz: NDArray[np.float64] | float, seconds: float, seed: int = 0) -> NDArray[np.float32]:
    """A buzz of falling harmonics in a little noise."""
    pitch = np.broadcast_to(hertz, round(seconds * RATE))
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    buzz = sum(np.sin(h * phase) / h for h in range(1, 12)) * 0.1
    return (buzz + np.random.default_rng(seed).normal(0, 0.003, len(phase))).astype(np.float32)


def window(wave: NDArray[np.float32], centre: int, size: int) -> NDArray[np.float64]:
    first = centre - size // 2
    return np.array([wave[i] if 0 <= i < len(wave) else 0.0 for i in range(first, first + size)], np.float64)


def slowly_mel(wave: NDArray[np.float32], config: AcousticConfig) -> NDArray[np.float64]:
    """Band by band, by the definition of the discrete Fourier transform."""
    hop, size = round(config.hop * RATE), round(config.window * RATE)
    points = 1 << (size - 1).bit_length()
    edges = np.linspace(*(2595 * np.log10(1 + f / 700) for f in (50.0, 7600.0)), config.mels + 2)
    edges = 700 * (10 ** (edges / 2595) - 1)
    rows = []
    for centre in range(hop // 2, len(wave) + hop // 2, hop):
        part = window(wave, centre, size) * np.hanning(size)
        power = np.abs(np.fft.fft(part, points)) ** 2
        row = []
        for low, middle, high in zip(edges, edges[1:], edges[2:], strict=False):
            mel = lambda f: 2595 * np.log10(1 + f / 700)  # noqa: E731
            total = 0.0
            for k in range(points // 2 + 1):
                f = k * RATE / points
                rise = (mel(f) - mel(low)) / (mel(middle) - mel(low))
                fall = (mel(high) - mel(f)) / (mel(high) - mel(middle))
                total += max(0.0, min(rise, fall)) * power[k] / points
            row.append(total)
        rows.append(row)
    return np.array(rows)


def slowly_pitch(part: NDArray[np.float64], config: AcousticConfig, level: float) -> tuple[float, float]:
    """Octaves and voicing of one window, each lag's correlation summed by hand."""
    size = len(part)
    shape = np.hanning(size)
    x = (part - part.mean()) * shape

    def correlation(y: NDArray[np.float64], lag: int) -> float:
        return float(sum(y[i] * y[i + lag] for i in range(size - lag)))

    low, high = int(RATE / config.pitch_high), int(np.ceil(RATE / config.pitch_low))
    ballast = 1e-4 * level * float((shape**2).sum()) + 1e-20
    scale = correlation(shape, 0) / (correlation(x, 0) + ballast)
    peak = {lag: correlation(x, lag) * scale / correlation(shape, lag) for lag in range(low - 1, high + 2)}
    summits = [n for n in range(low, high + 1) if peak[n - 1] <= peak[n] >= peak[n + 1]]
    best = max(summits, key=lambda n: peak[n] - 0.02 * np.log2(n / low))
    a, b, c = (peak[best + s] for s in (-1, 0, 1))
    shift = float(np.clip(0.5 * (a - c) / (a - 2 * b + c), -0.5, 0.5))
    return float(np.log2(RATE / (best + shift) / PITCH_REFERENCE)), float(np.clip(b, 0, 1))


def test_mel_energies_are_the_slow_ones() -> None:
    wave = voice(170.0, 0.06)
    config = AcousticConfig(stack=1, mels=12, normalise="none")
    frames = acoustic_frames(wave, config)
    mel = slowly_mel(wave, config)
    expected = np.log(np.maximum(mel, 1e-6 * mel.max())) / SPREAD
    np.testing.assert_allclose(frames[:, :12], expected, rtol=1e-3, atol=1e-3)


def test_pitch_is_the_slow_ones() -> None:
    wave = voice(np.linspace(110, 260, round(0.25 * RATE)), 0.25)
    config = AcousticConfig(stack=1, normalise="none")
    level = float(np.mean(np.square(wave, dtype=np.float64)))
    rows = slice(3, 20)
    made = acoustic._prosody(acoustic._windows(wave, rows, 160, 640), config, level)
    for number, row in zip(range(3, 20), made, strict=True):
        part = window(wave, number * 160 + 80, 640)
        np.testing.assert_allclose(row[1:], slowly_pitch(part, config, level), atol=2e-3)


def test_a_glide_is_followed() -> None:
    seconds = 4.0
    hertz = 120 * 2 ** (0.8 * np.sin(2 * np.pi * 0.4 * np.arange(round(seconds * RATE)) / RATE))
    frames = acoustic_frames(voice(hertz, seconds), RAW)
    at = clock(RAW).offset + clock(RAW).hop * np.arange(len(frames))
    expected = np.log2(np.interp(at, np.arange(len(hertz)) / RATE, hertz) / PITCH_REFERENCE)
    assert np.abs(frames[:, 41] - expected).max() < 0.02
    assert frames[:, 42].min() > 0.8


def test_noise_and_silence_have_no_pitch() -> None:
    noise = np.random.default_rng(1).normal(0, 0.1, 2 * RATE).astype(np.float32)
    for wave in (noise, np.zeros(RATE, np.float32)):
        frames = acoustic_frames(wave, RAW)
        assert np.isfinite(frames).all() and (frames[:, 41] == 0).mean() > 0.9


def test_a_click_is_in_the_frame_whose_time_it_has() -> None:
    wave = np.random.default_rng(0).normal(0, 1e-4, 2 * RATE).astype(np.float32)
    for seconds in (0.30, 1.10, 1.74):
        loud = wave.copy()
        loud[round(seconds * RATE) - 80 : round(seconds * RATE) + 80] += 0.5
        frames = acoustic_frames(loud, RAW)
        assert abs(clock(RAW).centre(int(frames[:, 40].argmax())) - seconds) <= clock(RAW).hop / 2 + 1e-6


@given(gain=st.floats(-60, 20))
@settings(max_examples=15, deadline=None)
def test_recording_gain_does_not_matter_unless_asked_for(gain: float) -> None:
    wave = voice(200.0, 0.7)
    louder = (wave * 10 ** (gain / 20)).astype(np.float32)
    for how in ("gain", "bands", "utterance"):
        config = AcousticConfig(normalise=how)
        np.testing.assert_allclose(acoustic_frames(louder, config), acoustic_frames(wave, config), atol=1e-3)


def test_without_normalisation_gain_is_one_number() -> None:
    wave = voice(200.0, 0.7)
    more = acoustic_frames(2 * wave, RAW) - acoustic_frames(wave, RAW)
    np.testing.assert_allclose(more[:, :41], 2 * np.log(2) / SPREAD, atol=1e-3)


def test_long_clips_in_blocks_are_the_same_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    wave = voice(np.linspace(100, 300, round(3.03 * RATE)), 3.03)
    whole = acoustic_frames(wave, AcousticConfig(deltas=True))
    for block in (1, 7, 100, 301):
        monkeypatch.setattr(acoustic, "BLOCK", block)
        np.testing.assert_allclose(acoustic_frames(wave, AcousticConfig(deltas=True)), whole, atol=1e-5)


@given(samples=st.integers(1, 9_000), stack=st.integers(1, 6), deltas=st.booleans())
@settings(max_examples=30, deadline=None)
def test_every_length_has_its_frames(samples: int, stack: int, deltas: bool) -> None:
    config = AcousticConfig(stack=stack, deltas=deltas)
    frames = acoustic_frames(voice(150.0, samples / RATE), config)
    analysis = -(-samples // 160)
    assert frames.shape == (-(-analysis // stack), len(columns(config)))
    assert frames.dtype == np.float32 and np.isfinite(frames).all()


def test_the_encoder_has_the_clock_and_width_of_its_config() -> None:
    encoder = speech_encoder("acoustic", acoustic={"stack": 2})
    assert (encoder.clock.hop, encoder.clock.offset) == (0.02, 0.01)
    (frames,) = encoder.encode([voice(150.0, 1.0)])
    assert frames.shape == (50, encoder.dim)
    assert encoder.identity != speech_encoder("acoustic").identity


def test_the_identity_is_the_one_that_stores_and_model_cards_know() -> None:
    assert speech_encoder("acoustic").identity == "b40439afa9d283ff"
    deltas = speech_encoder("acoustic", acoustic={"deltas": True, "normalise": "bands"})
    assert deltas.identity == "55f443d72d0e4544"
