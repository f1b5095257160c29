"""The only door to accelerate: device, precision, processes, trackers; and the memory of a processor."""

from __future__ import annotations

import ctypes
import importlib.util
import logging
import os
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from undertone.errors import MissingExtra
from undertone.training.config import TrainingConfig

if TYPE_CHECKING:
    from accelerate import Accelerator

__all__ = ["accelerator", "gather", "keep_freed_memory"]

log = logging.getLogger(__name__)

_MIXED = {"fp32": "no", "bf16": "bf16", "fp16": "fp16"}


def accelerator(config: TrainingConfig, folder: Path | None = None) -> Accelerator:
    """Where training runs: the process group of ``accelerate launch`` if there is one, else the best device.

    ``folder`` is where the tracker's files go.
    """
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState
    from accelerate.utils import DistributedDataParallelKwargs

    AcceleratorState._reset_state()  # an earlier job may have used another precision
    unused = DistributedDataParallelKwargs(find_unused_parameters=True)  # terms can be switched off
    return Accelerator(
        mixed_precision=_MIXED[_precision(config)],
        log_with=_tracker(config),
        project_dir=str(folder) if folder else None,
        kwargs_handlers=[unused],
        step_scheduler_with_optimizer=False,
    )


def _precision(config: TrainingConfig) -> str:
    if config.precision == "bf16" and not (torch.cuda.is_available() or _cpu_has_bf16()):
        log.warning("this CPU has no bf16 arithmetic: it is emulated, several times slower than fp32")
    if config.precision != "auto":
        return config.precision
    return "bf16" if torch.cuda.is_available() and torch.cuda.is_bf16_supported() else "fp32"


def _cpu_has_bf16() -> bool:
    probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, probe, bool)() for probe in probes)


def _tracker(config: TrainingConfig) -> str | None:
    if config.tracker == "none":
        return None
    if importlib.util.find_spec(config.tracker) is None:
        raise MissingExtra(f"the tracker '{config.tracker}'", "track")
    # metrics stay on this machine unless the user's own environment allows more
    os.environ.setdefault("WANDB_MODE", "offline")
    return config.tracker


class _Gather(torch.autograd.Function):
    """All processes' rows one after the other; the gradient of own rows is summed over processes.

    Every process computes the same loss from the gathered rows, so the sum is the gradient times the number
    of processes; averaging parameters' gradients over processes divides by it again.
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        group = torch.distributed
        counts = [
            torch.zeros((), dtype=torch.long, device=rows.device) for _ in range(group.get_world_size())
        ]
        group.all_gather(counts, torch.tensor(len(rows), device=rows.device))
        ctx.counts = [int(c) for c in counts]
        padded = rows.new_zeros(max(ctx.counts), *rows.shape[1:])
        padded[: len(rows)] = rows
        parts = [torch.empty_like(padded) for _ in counts]
        group.all_gather(parts, padded.contiguous())
        return torch.cat([part[:n] for part, n in zip(parts, ctx.counts, strict=True)])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].contiguous()
        torch.distributed.all_reduce(total)
        rank = torch.distributed.get_rank()
        start = sum(ctx.counts[:rank])
        return total[start : start + ctx.counts[rank]]


def gather(vectors: Tensor) -> Tensor:
    """(B, …) → (B of all processes, …), the processes in order; with gradient for floating vectors."""
    gathered: Tensor = _Gather.apply(vectors)  # type: ignore[no-untyped-call]
    return gathered


_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
"""glibc's numbers for ``mallopt``."""
_LARGEST, _AHEAD = 1 << 30, 1 << 26
"""Arrays below 1 GB come from the kept memory, which grows by 64 MB at a time."""


@cache
def keep_freed_memory() -> bool:
    """Let this process reuse freed memory rather than return it; False where the C library does not allow it.

    Training allocates and frees arrays of tens of MB many times a step. glibc maps every large array anew,
    and the system then clears it page by page as it is first written: a fifth of a training step on a CPU.
    Other C libraries are left as they are.
    """
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    choices = ((_MMAP_THRESHOLD, _LARGEST), (_TRIM_THRESHOLD, 2 * _LARGEST - 1), (_TOP_PAD, _AHEAD))
    return {mallopt(name, value) for name, value in choices} == {1}
