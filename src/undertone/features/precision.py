"""Which numbers a network computes in, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from undertone.errors import ConfigError

if TYPE_CHECKING:
    import torch

__all__ = ["Precision", "Wanted", "choose"]

Wanted = Literal["auto", "fp32", "bf16"]


@dataclass(frozen=True)
class Precision:
    """The choice, and the reason to show."""

    name: Literal["fp32", "bf16"]
    why: str

    @property
    def dtype(self) -> torch.dtype:
        import torch

        return torch.bfloat16 if self.name == "bf16" else torch.float32

    def __str__(self) -> str:
        return f"{self.name}: {self.why}"


def choose(wanted: Wanted, device: str = "cpu", runtime: str = "torch") -> Precision:
    """``auto`` takes bf16 where the hardware has it. There is no fp16: on a CPU it is emulated, slowly."""
    if wanted not in ("auto", "fp32", "bf16"):
        raise ConfigError(f"precision '{wanted}': there are auto, fp32 and bf16 (fp16 is never used)")
    if runtime == "onnx" and wanted == "auto":
        return Precision("fp32", "ONNX Runtime computes in fp32 on a CPU")
    has, what = _has_bf16(device)
    if wanted == "fp32":
        return Precision("fp32", "asked for")
    if wanted == "bf16":
        return Precision("bf16", f"asked for; {what}")
    if has:
        return Precision("bf16", f"{what}; --precision fp32 for full precision")
    return Precision("fp32", what)


def _has_bf16(device: str) -> tuple[bool, str]:
    import torch

    if device != "cpu":
        has = torch.cuda.is_bf16_supported(including_emulation=False)
        return has, f"{torch.cuda.get_device_name()} {'has' if has else 'lacks'} bf16 arithmetic"
    probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    has = any(getattr(torch.cpu, probe, bool)() for probe in probes)
    return has, f"this CPU {'has' if has else 'lacks'} bf16 arithmetic (avx512_bf16 or amx)"
