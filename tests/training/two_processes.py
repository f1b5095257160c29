"""A script for the launcher: three steps of each named system, its parameters written at the end."""

import sys
from pathlib import Path

import torch
from accelerate import PartialState
from systems import build

from undertone.training.config import TrainingConfig
from undertone.training.loop import fit


def main(out: Path, processes: int, names: list[str]) -> None:
    torch.set_num_threads(1)
    found = {}
    for name in names:
        system, data = build(name)
        # three batches of 8, everything the same in every process
        config = TrainingConfig(epochs=1, batch=8, rate=0.01, precision="fp32")
        fitted = fit(system, data, None, config)
        found |= {f"{name}/{key}": value.detach() for key, value in fitted.system.state_dict().items()}
    assert PartialState().num_processes == processes
    if PartialState().is_main_process:
        torch.save(found, out)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
