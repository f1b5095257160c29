"""Acoustic frames with no weights at all: log-mel, energy, pitch and voicing, from this clip alone.

    samples      |....hop....|....hop....|....hop....|
    analysis          ^c0         ^c1         ^c2        windows centred on the middle of each hop
    frames       |<------- stack * hop ------>|          the mean of ``stack`` analysis frames

Each analysis frame sees only its own windows, so long clips are worked through in blocks with
bounded memory and the same numbers. Three things are taken from the clip as a whole, and from no
other clip: its loudest mel energy (60 dB below it is silence), its mean level, and what
``normalise`` subtracts.

Columns: ``mels`` log-mel energies, log energy, pitch (octaves from 150 Hz, 0 where unvoiced),
voicing (0..1); with ``deltas`` the slope of each after them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from undertone.config import fingerprint
from undertone.errors import ConfigError
from undertone.features.assemble import checked_frames, checked_wave
from undertone.features.config import CODE, AcousticConfig, Precision, SpeechConfig
from undertone.types import FrameClock

if TYPE_CHECKING:
    from undertone.types import Wave

__all__ = ["Acoustic", "acoustic_frames", "clock", "columns"]

RATE = 16_000
PITCH_REFERENCE = 150.0
SPREAD = 3.0
"""Nepers that level columns are divided by: about the range of speech, so that columns are near 1."""
BLOCK = 2_000
"""Analysis frames worked on at once: 20 s at the default hop, some 20 MB."""


class Acoustic:
    """The encoder ``acoustic``: log-mel, pitch, voicing and energy; no weights, nothing to download."""

    rate = RATE
    layers = 0

    def __init__(self, config: SpeechConfig) -> None:
        if config.layer != "last":
            raise ConfigError(f"layer {config.layer}: acoustic frames have no layers; leave it at 'last'")
        self.config = config
        self.name = "acoustic"
        self.keep = config.keep
        self.dim = len(columns(config.acoustic))
        self.clock = clock(config.acoustic)
        self.precision = Precision("fp32", "acoustic frames are always fp32")
        settings = config.acoustic.plain()
        self.identity = fingerprint(
            {"code": CODE, "name": self.name, "keep": config.keep, "settings": settings}
        )

    def encode(self, waves: Sequence[Wave]) -> list[NDArray[np.float32]]:
        """Frames (T, D) of each wave."""
        settings = self.config.acoustic
        return [checked_frames(acoustic_frames(checked_wave(w), settings), self.name) for w in waves]

    def __reduce__(self) -> tuple[Any, ...]:
        return Acoustic, (self.config,)


def columns(config: AcousticConfig) -> list[str]:
    """The name of each column."""
    names = [*(f"mel{i}" for i in range(config.mels)), "energy", "pitch", "voicing"]
    return names + [f"{name}_slope" for name in names] if config.deltas else names


def clock(config: AcousticConfig) -> FrameClock:
    """Times of the frames."""
    hop = config.hop * config.stack
    return FrameClock(hop=hop, offset=hop / 2)


def acoustic_frames(wave: Wave, config: AcousticConfig) -> NDArray[np.float32]:
    """``(T, D)`` frames of a mono 16 kHz wave ``(N,)``, N > 0; T is N over the frame's hop, rounded up."""
    hop = round(config.hop * RATE)
    count = -(-len(wave) // hop)
    level = float(np.mean(np.square(wave, dtype=np.float64)))
    mel = np.empty((count, config.mels), np.float32)
    prosody = np.empty((count, 3), np.float32)
    for begin in range(0, count, BLOCK):
        rows = slice(begin, min(begin + BLOCK, count))
        mel[rows] = _mel_energies(_windows(wave, rows, hop, round(config.window * RATE)), config)
        prosody[rows] = _prosody(_windows(wave, rows, hop, round(config.pitch_window * RATE)), config, level)
    floor = max(1e-6 * float(mel.max()), 1e-20)
    analysis = np.concatenate([np.log(np.maximum(mel, floor)), prosody], 1)
    analysis[:, config.mels] = np.log(
        np.maximum(prosody[:, 0], max(1e-6 * float(prosody[:, 0].max()), 1e-20))
    )
    analysis[:, config.mels + 1] = _smooth_pitch(prosody[:, 1], prosody[:, 2])
    frames = _normalise(_stack(analysis, config.stack), config)
    return np.concatenate([frames, _slopes(frames)], 1) if config.deltas else frames


def _windows(wave: Wave, rows: slice, hop: int, size: int) -> NDArray[np.float32]:
    """``(rows, size)`` windows centred on the middle of each hop, silence beyond the ends."""
    begin = rows.start * hop + hop // 2 - size // 2
    end = (rows.stop - 1) * hop + hop // 2 - size // 2 + size
    part = wave[max(begin, 0) : max(end, 0)]
    padded = np.pad(part, (max(-begin, 0), end - max(begin, 0) - len(part)))
    return sliding_window_view(padded, size)[::hop]


def _mel_energies(windows: NDArray[np.float32], config: AcousticConfig) -> NDArray[np.float32]:
    from scipy.fft import rfft

    size = windows.shape[1]
    points = 1 << (size - 1).bit_length()
    spectrum = rfft(windows * np.hanning(size).astype(np.float32), points, axis=1)
    power = np.square(spectrum.real) + np.square(spectrum.imag)
    energies: NDArray[np.float32] = power @ _mel_filters(config.mels, points)
    return energies


@cache
def _mel_filters(mels: int, points: int) -> NDArray[np.float32]:
    """``(points // 2 + 1, mels)`` triangles, evenly spaced in mel = 2595 log10(1 + f / 700)."""

    def to_mel(hertz: float | NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(2595.0 * np.log10(1.0 + np.asarray(hertz) / 700.0))

    centres = np.linspace(to_mel(50.0), to_mel(7_600.0), mels + 2)
    bins = to_mel(np.arange(points // 2 + 1) * RATE / points)[:, None]
    rise = (bins - centres[:-2]) / (centres[1:-1] - centres[:-2])
    fall = (centres[2:] - bins) / (centres[2:] - centres[1:-1])
    return (np.maximum(0.0, np.minimum(rise, fall)) / points).astype(np.float32)


def _prosody(windows: NDArray[np.float32], config: AcousticConfig, level: float) -> NDArray[np.float32]:
    """``(rows, 3)``: mean square, octaves from 150 Hz, voicing 0..1 (the height of the period's peak).

    Autocorrelation of the windowed frame over that of the window itself (Boersma 1993), so that a
    perfectly periodic frame has a peak of 1 whatever the lag.
    """
    from scipy.fft import irfft, rfft

    size = windows.shape[1]
    low, high = int(RATE / config.pitch_high), int(np.ceil(RATE / config.pitch_low))
    points = 1 << (size + high).bit_length()
    shape = np.hanning(size).astype(np.float32)
    centred = windows - windows.mean(1, keepdims=True)
    spectrum = rfft(centred * shape, points, axis=1)
    acf = irfft(np.square(spectrum.real) + np.square(spectrum.imag), points, axis=1)[:, : high + 2]
    window_acf = np.correlate(shape, shape, "full")[size - 1 :][: high + 2]
    energy = np.square(centred).mean(1)
    power = acf[:, :1] + 1e-4 * level * float(np.square(shape).sum()) + 1e-20
    peak = acf / power / (window_acf / window_acf[0])
    lags = np.arange(low, high + 1)
    cost = 0.02 * np.log2(lags / low)  # of two equal peaks the shorter period is the period
    inner = peak[:, low : high + 1]
    summit = (inner >= peak[:, low - 1 : high]) & (inner >= peak[:, low + 1 : high + 2])
    best = np.argmax(np.where(summit, inner, -1.0) - cost, axis=1)
    rows = np.arange(len(windows))
    left, top, right = (peak[rows, lags[best] + step] for step in (-1, 0, 1))
    bend = left - 2 * top + right
    shift = np.where(bend < 0, np.clip(0.5 * (left - right) / np.minimum(bend, -1e-9), -0.5, 0.5), 0.0)
    octaves = np.log2(RATE / (lags[best] + shift) / PITCH_REFERENCE)
    voicing = np.where(summit[rows, best], np.clip(top, 0.0, 1.0), 0.0)
    return np.stack([energy, octaves, voicing], 1).astype(np.float32)


def _smooth_pitch(octaves: NDArray[np.float32], voicing: NDArray[np.float32]) -> NDArray[np.float32]:
    """Pitch where voiced, else 0; a median over five frames removes single octave jumps."""
    padded = np.pad(octaves, 2, mode="edge")
    median = np.median(sliding_window_view(padded, 5), axis=1)
    return np.where(voicing > 0.5, median, 0.0).astype(np.float32)


def _stack(analysis: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """The mean of each ``size`` rows; the last group may be short."""
    starts = np.arange(0, len(analysis), size)
    sums = np.add.reduceat(analysis, starts, axis=0, dtype=np.float64)
    return (sums / np.diff(np.append(starts, len(analysis)))[:, None]).astype(np.float32)


def _normalise(frames: NDArray[np.float32], config: AcousticConfig) -> NDArray[np.float32]:
    level = frames[:, : config.mels + 1].astype(np.float64)
    mel = level[:, : config.mels]
    if config.normalise == "gain":
        level -= mel.mean()
    elif config.normalise in ("bands", "utterance"):
        level -= level.mean(0)
    level /= np.maximum(level.std(0), 0.1) if config.normalise == "utterance" else SPREAD
    return np.concatenate([level.astype(np.float32), frames[:, config.mels + 1 :]], 1)


def _slopes(frames: NDArray[np.float32]) -> NDArray[np.float32]:
    """Least-squares slope over five frames, the end frames repeated."""
    padded = np.pad(frames, ((2, 2), (0, 0)), mode="edge")
    count = len(frames)
    near = padded[3 : 3 + count] - padded[1 : 1 + count]
    far = padded[4 : 4 + count] - padded[:count]
    return ((near + 2 * far) / 10).astype(np.float32)
