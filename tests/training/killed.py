"""A script for the resume test: a slow fit that the test kills, then runs again to the end."""

import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
from tiny import Tiny, dataset, recall

from undertone.training.config import TrainingConfig
from undertone.training.loop import fit, seed_everything


class Slow:
    """Says each epoch's number and waits, so that there is time to be killed in."""

    def __init__(self, pause: float) -> None:
        self.pause = pause

    def step(self, done: int, total: int, loss: float) -> None:
        time.sleep(self.pause / total)

    def epoch(self, record: dict[str, Any]) -> None:
        print(record["epoch"], flush=True)


def main(folder: Path, pause: float) -> None:
    torch.set_num_threads(1)
    seed_everything(0)
    config = TrainingConfig(epochs=6, patience=6, batch=8, rate=0.02, averaging=8.0)
    fitted = fit(
        Tiny(dropout=0.3),
        dataset(40),
        dataset(21, 1),
        config,
        score=recall,
        state=folder / "state.safetensors",
        watch=Slow(pause),
    )
    history = [{k: v for k, v in record.items() if k != "seconds"} for record in fitted.history]
    total = sum(float(p.detach().double().abs().sum()) for p in fitted.system.parameters())
    (folder / "end.json").write_text(json.dumps([history, fitted.best_epoch, total]))


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]))
