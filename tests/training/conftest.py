"""The tiny systems, importable by the tests and by the scripts that they start."""

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent))
torch.set_num_threads(1)  # two threads on a busy machine wait for each other
