"""A script for ``accelerate launch``: three steps of one system, its parameters written at the end."""

import sys

import torch
from accelerate import PartialState
from systems import build

from undertone.training.config import TrainingConfig
from undertone.training.loop import fit


def main(name: str, out: str, processes: str) -> None:
    torch.set_num_threads(1)
    system, data = build(name)
    # three batches of 8, everything the same in every process
    fitted = fit(system, data, None, TrainingConfig(epochs=1, batch=8, rate=0.01, precision="fp32"))
    assert PartialState().num_processes == int(processes)
    if PartialState().is_main_process:
        torch.save([p.detach() for p in fitted.system.parameters()], out)


if __name__ == "__main__":
    main(*sys.argv[1:])
