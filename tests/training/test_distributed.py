"""Two processes over gloo take the same steps as one on the same batches."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).parent / "two_processes.py"


def run(name: str, folder: Path, processes: int) -> list[torch.Tensor]:
    out = folder / f"{processes}.pt"
    # accelerate's own launcher hands several processor processes to torch's: start them the same way
    launcher = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", str(_free_port())]
    command = [sys.executable, *(launcher if processes > 1 else [])]
    environment = os.environ | {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    command += [str(SCRIPT), name, str(out), str(processes)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    parameters: list[torch.Tensor] = torch.load(out, weights_only=True)
    return parameters


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


@pytest.mark.parametrize("name", ["tiny"])
def test_two_processes_end_where_one_does(name: str, tmp_path: Path) -> None:
    for one, two in zip(run(name, tmp_path, 1), run(name, tmp_path, 2), strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=1e-5)
