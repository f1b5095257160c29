"""The state from which a killed fit resumes: one safetensors file with a JSON header, replaced as a whole.

Random states are not kept: every epoch starts from a seed made of the run's seed and the epoch's number.
"""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from undertone.files import whole
from undertone.training.averaging import Average

__all__ = ["Progress", "load_state", "save_state"]

log = logging.getLogger(__name__)

Weights = dict[str, Tensor]


@dataclass
class Progress:
    """How far a fit has progressed."""

    epoch: int = 0
    """Epochs done."""
    stale: int = 0
    """Epochs since any member reached its best score."""
    history: list[dict[str, Any]] = field(default_factory=list)
    """One record an epoch: losses, rate, validation metrics, seconds."""
    best: dict[str, tuple[float, float]] = field(default_factory=dict)
    """By member: its best validation score, and minus the loss there, which breaks ties."""
    best_epoch: dict[str, int] = field(default_factory=dict)
    """By member, counted from 1."""


def save_state(
    path: Path,
    fingerprint: str,
    progress: Progress,
    system: nn.Module,
    optimizer: torch.optim.Optimizer,
    best: dict[str, Weights],
    scaler: dict[str, Any] | None = None,
    average: Average | None = None,
) -> None:
    """Write the whole state. ``fingerprint`` identifies the fit that it belongs to."""
    from safetensors.torch import save_file

    moments = optimizer.state_dict()["state"]
    tensors = {f"now/{name}": value for name, value in system.state_dict().items()}
    if average is not None:
        tensors |= {f"average/{name}": value for name, value in average.mean.items()}
    tensors |= {f"best/{m}/{name}": value for m, weights in best.items() for name, value in weights.items()}
    tensors |= {f"optimizer/{i}/{key}": value for i, slot in moments.items() for key, value in slot.items()}
    steps = average.steps if average is not None else 0
    header = {"fingerprint": fingerprint, "progress": asdict(progress), "scaler": scaler, "steps": steps}
    plain = {name: value.detach().cpu().clone().contiguous() for name, value in tensors.items()}
    with whole(path) as part:
        save_file(plain, part, metadata={"undertone": json.dumps(header)})


def load_state(
    path: Path,
    fingerprint: str,
    system: nn.Module,
    optimizer: torch.optim.Optimizer,
    average: Average | None = None,
) -> tuple[Progress, dict[str, Weights], dict[str, Any] | None] | None:
    """Progress, best weights, scaler; the rest is restored in place. None: there is no state of this fit."""
    from safetensors import safe_open

    if not path.is_file():
        return None
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["undertone"])
        if header["fingerprint"] != fingerprint:
            log.warning("%s is of another run or other settings: starting afresh", path)
            return None
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    system.load_state_dict(_under(tensors, "now"))
    _load_moments(optimizer, _under(tensors, "optimizer"))
    if average is not None:
        average.resume(header["steps"], _under(tensors, "average"))
    best: dict[str, Weights] = {}
    for name, value in _under(tensors, "best").items():
        member, _, inner = name.partition("/")
        best.setdefault(member, {})[inner] = value
    progress = Progress(**header["progress"])
    progress.best = {member: (float(a), float(b)) for member, (a, b) in progress.best.items()}
    return progress, best, header["scaler"]


def _under(tensors: Weights, prefix: str) -> Weights:
    return {k.removeprefix(prefix + "/"): v for k, v in tensors.items() if k.startswith(prefix + "/")}


def _load_moments(optimizer: torch.optim.Optimizer, moments: Weights) -> None:
    plain = optimizer.state_dict()
    for name, value in moments.items():
        index, _, key = name.partition("/")
        plain["state"].setdefault(int(index), {})[key] = value
    optimizer.load_state_dict(plain)
