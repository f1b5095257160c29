"""Which encoder, and how it is run: speech, text, acoustic frames, long clips, precision. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from undertone.config import Config
from undertone.errors import ConfigError
from undertone.types import Seconds

if TYPE_CHECKING:
    import torch

__all__ = [
    "CODE",
    "AcousticConfig",
    "Layer",
    "LongClips",
    "Precision",
    "Runtime",
    "SpeechConfig",
    "TextConfig",
    "PrecisionOption",
    "check_device",
    "Window",
    "choose_precision",
]

CODE = 1
"""Raised whenever the same settings would give other numbers: part of every encoder's identity."""

Keep = Literal["fp32", "fp16"]
Layer = int | Literal["last", "weighted"] | Annotated[str, Field(pattern=r"^\d+-\d+$")]
"""One hidden state, the last, all of them, or those from one to another: ``2-4``."""
Runtime = Literal["torch", "openvino", "onnx"]
PrecisionOption = Literal["auto", "fp32", "bf16"]
Window = Literal["clip", "full"]


class LongClips(Config):
    """When a clip is too long for attention over all of it. Part of every key."""

    above: Seconds = Field(60.0, gt=1.0)
    """Clips longer than this are windowed: another computation, whose frames differ a little."""
    window: Seconds = Field(30.0, gt=1.0)
    """Length of a window."""
    overlap: Seconds = Field(5.0, ge=0.0)
    """Overlap of neighbouring windows."""

    @model_validator(mode="after")
    def _fits(self) -> LongClips:
        if not 2 * self.overlap < self.window <= self.above:
            raise ValueError("long clips need 2 · overlap < window ≤ above")
        return self


class AcousticConfig(Config):
    """How acoustic frames are computed."""

    hop: float = Field(0.010, gt=0.001, le=0.1)
    """Seconds from one analysis frame to the next."""
    stack: int = Field(4, ge=1, le=20)
    """Analysis frames averaged into one frame: 4 gives 25 frames a second."""
    window: float = Field(0.025, gt=0.004, le=0.2)
    """Seconds of speech under one mel spectrum."""
    mels: int = Field(40, ge=8, le=128)
    """Mel bands between 50 and 7,600 Hz."""
    pitch_window: float = Field(0.040, gt=0.02, le=0.1)
    """Seconds of speech in which a period is looked for: at least two of the lowest pitch."""
    pitch_low: float = Field(60.0, ge=40.0)
    """Lowest pitch in Hz."""
    pitch_high: float = Field(500.0, le=1000.0)
    """Highest pitch in Hz."""
    deltas: bool = False
    """Add each column's slope over five frames."""
    normalise: Literal["none", "gain", "bands", "utterance"] = "gain"
    """What is subtracted from the level columns (mel and energy): nothing; the clip's mean level, so that the
    recording's gain no longer matters; each band's mean (nor the microphone); and divided by its spread (nor
    the room). Each step loses some of the voice: its loudness, its timbre, its range."""


class SpeechConfig(Config):
    """Which speech encoder, and how it is run."""

    name: str = "acoustic"
    """``acoustic``, ``egemaps``, or a pretrained network's folder or hub name."""
    revision: str | None = None
    """The hub's branch, tag or commit; None: its main branch. The resolved commit is recorded."""
    layer: Layer = "last"
    """Which hidden state: an index (0 is before the first block), the last, several (``2-4``), or all."""
    precision: PrecisionOption = "auto"
    """Numbers the network computes in; ``auto`` takes bf16 where the hardware has it."""
    keep: Keep = "fp32"
    """Numbers the store keeps."""
    runtime: Runtime = "torch"
    """Engine that runs the network on the CPU."""
    window: Window = "clip"
    """What Whisper gets: ``clip``, the clip and silence up to the next of a few fixed lengths; ``full``, the
    clip and silence up to 30 s, as published. Every other network takes a clip at its own length."""
    level: float | None = Field(None, ge=-60.0, le=0.0)
    """Decibels, by mean power, that every clip is brought to before a network; None: as it was recorded.
    Whisper's frames change with the level of the recording."""
    average: int = Field(1, ge=1, le=50)
    """So many frames become one, their mean: 4 gives 12.5 a second over Whisper, for systems that attend to
    frames, in a quarter of the time or less."""
    device: str = "cpu"
    """``cpu``, ``cuda``, ``cuda:1`` …"""
    batch_frames: int = Field(6_000, ge=1)
    """On a GPU: frames, padding included, that share a batch (6,000 is two minutes)."""
    long: LongClips = LongClips()
    """When clips are windowed."""
    acoustic: AcousticConfig = AcousticConfig()
    """How acoustic frames are computed; only for ``acoustic``."""


class TextConfig(Config):
    """Which text encoder, and how it is run."""

    name: str
    """A pretrained network's folder or hub name."""
    revision: str | None = None
    """The hub's branch, tag or commit; None: its main branch."""
    layer: int | Literal["last"] = "last"
    """Which hidden state: an index (0 is the embeddings), or the last."""
    precision: PrecisionOption = "auto"
    """Numbers the network computes in."""
    keep: Keep = "fp32"
    """Numbers the store keeps."""
    device: str = "cpu"
    """``cpu``, ``cuda`` …"""


@dataclass(frozen=True)
class Precision:
    """Which numbers a network computes in, and why."""

    name: Literal["fp32", "bf16"]
    why: str

    @property
    def dtype(self) -> torch.dtype:
        import torch

        return torch.bfloat16 if self.name == "bf16" else torch.float32

    def __str__(self) -> str:
        return f"{self.name}: {self.why}"


def check_device(device: str) -> None:
    """ConfigError where this machine has no such device."""
    if device == "cpu":
        return
    import torch

    kind, _, number = device.partition(":")
    if kind != "cuda" or not (number or "0").isdigit():
        raise ConfigError(f"device '{device}': there are cpu, cuda, cuda:1 …")
    there = torch.cuda.device_count()
    if not there:
        built = "finds no GPU" if torch.version.cuda else "is built without CUDA"
        raise ConfigError(f"device '{device}': PyTorch on this machine {built}; use --device cpu")
    if int(number or 0) >= there:
        raise ConfigError(f"device '{device}': this machine's GPUs are cuda:0 to cuda:{there - 1}")


def choose_precision(wanted: PrecisionOption, device: str = "cpu", runtime: Runtime = "torch") -> Precision:
    """The precision; ``auto`` takes bf16 where the hardware has it. No fp16: CPUs emulate it, slowly."""
    if wanted not in ("auto", "fp32", "bf16"):
        raise ConfigError(f"precision '{wanted}': there are auto, fp32 and bf16 (fp16 is never used)")
    if runtime == "onnx" and wanted == "auto":
        return Precision("fp32", "ONNX Runtime computes in fp32 on a CPU")
    has_bf16, reason = _has_bf16(device)
    if wanted == "fp32":
        return Precision("fp32", "requested")
    if wanted == "bf16":
        return Precision("bf16", f"requested; {reason}")
    if has_bf16:
        return Precision("bf16", f"{reason}; --precision fp32 for full precision")
    return Precision("fp32", reason)


def _has_bf16(device: str) -> tuple[bool, str]:
    import torch

    if device != "cpu":
        has = torch.cuda.is_bf16_supported(including_emulation=False)
        return has, f"{torch.cuda.get_device_name()} {'has' if has else 'lacks'} bf16 arithmetic"
    probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    has = any(getattr(torch.cpu, probe, bool)() for probe in probes)
    return has, f"this CPU {'has' if has else 'lacks'} bf16 arithmetic (avx512_bf16 or amx)"
