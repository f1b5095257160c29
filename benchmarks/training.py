"""Times of training: steps against transformers' Trainer, whole cross-validations projected.

    python benchmarks/training.py [--quick]

Features are random, of IEMOCAP's number (5,531) and lengths (log-normal around 4.5 s at 50 frames a
second, 768 wide). Lines: ``train/<system>-step-vs-transformers-trainer`` compares seconds of processor
time an utterance, the opponent being the same network with the same optimizer in a plain ``Trainer``
on randomly ordered batches padded to their longest; ``train/pooled-head-crossval`` and
``train/perspective-crossval`` give seconds an epoch and the time of a whole cross-validation.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from statistics import median
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import torch

from undertone.models.example import Dimensions, Example
from undertone.models.system import System
from undertone.models.table import SYSTEMS, build
from undertone.training.config import TrainingConfig
from undertone.training.dataset import Dataset
from undertone.training.loop import fit, seed_everything
from undertone.training.objective import losses

UTTERANCES, WIDTH, RATE = 5531, 768, 50
DIMENSIONS = Dimensions(classes=4, speech=WIDTH, text=WIDTH)
COMPARED = (
    "concat",
    "perspective",
    "mgcma",
    "unison",
    "mmer",
    "pooled",
    "bayesian",
    "timnet",
    "clap",
    "paired",
)
FEWER = {"mgcma": 128, "mmer": 128, "bayesian": 128, "timnet": 128, "paired": 128}
"""Utterances of a system whose steps take tens of seconds at the longest."""
TARGETS = {"pooled": 300.0, "perspective": 1800.0}
"""Seconds on two cores: 5 folds × 5 seeds; 5 folds × 20 epochs."""


def lengths(count: int, random: np.random.Generator) -> np.ndarray:
    """Frames of each utterance: IEMOCAP's quartiles are about 2.4, 3.6 and 5.8 s."""
    seconds = np.clip(random.lognormal(np.log(3.6), 0.65, count), 0.6, 30.0)
    return (seconds * RATE).astype(int)


def corpus(count: int, seed: int = 0) -> list[Example]:
    """Utterances whose features are views of one array, so that they fit into any memory."""
    random = np.random.default_rng(seed)
    shared = random.standard_normal((60_000, WIDTH), dtype=np.float32)
    made = []
    for index, frames in enumerate(lengths(count, random)):
        start, tokens = int(random.integers(len(shared) - frames)), max(2, frames // 16)
        bounds = np.linspace(0, frames, max(2, tokens // 2) + 1).astype(np.int64)
        spans = np.stack([bounds[:-1], np.maximum(bounds[1:], bounds[:-1] + 1)], 1)
        made.append(
            Example(
                id=f"u{index}",
                speech=shared[start : start + frames],
                text=shared[start : start + tokens],
                segments={"word": spans},
                token_word=np.minimum(np.arange(tokens) // 2, len(spans) - 1),
                targets={"characters": 1 + np.arange(max(1, frames // 4)) % 27},
                label=int(random.integers(4)),
            )
        )
    return made


def pooled(examples: list[Example]) -> list[Example]:
    """Mean and deviation of each utterance's frames, for a head that pools first."""
    return [
        replace(e, speech=np.concatenate([e.speech.mean(0), e.speech.std(0)])[None], text=None, segments={})
        for e in examples
        if e.speech is not None
    ]


class Clock:
    """Seconds of processor time, and of wall time, of a block."""

    def __enter__(self) -> Clock:
        self.cpu, self.wall = time.process_time(), time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.cpu, self.wall = time.process_time() - self.cpu, time.perf_counter() - self.wall


def fresh(name: str, dimensions: Dimensions = DIMENSIONS) -> System:
    seed_everything(0)
    return build(name, {}, dimensions)


def ours(name: str, data: Dataset) -> float:
    """Processor seconds of one epoch of the loop."""
    system = fresh(name)
    with Clock() as spent:
        fit(system, data, None, TrainingConfig(epochs=1, precision="fp32", standardise=False))
    return spent.cpu


class Wrapped(torch.nn.Module):
    """A system with a Trainer's interface: a dictionary in, the loss out."""

    def __init__(self, system: System) -> None:
        super().__init__()
        self.system = system

    def forward(self, batch: Any) -> dict[str, torch.Tensor]:
        terms = losses(self.system, batch)
        return {"loss": torch.stack([self.system.weights.get(k, 1.0) * v for k, v in terms.items()]).sum()}


def theirs(name: str, data: Dataset) -> float:
    """Processor seconds of one epoch of transformers' Trainer."""
    from transformers import Trainer, TrainingArguments

    def collate(indices: list[int]) -> dict[str, Any]:
        return {"batch": data.batch(np.array(indices))}

    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            per_device_train_batch_size=32,
            num_train_epochs=1,
            learning_rate=1e-3,
            lr_scheduler_type="cosine",
            warmup_steps=2,
            report_to=[],
            remove_unused_columns=False,
            save_strategy="no",
            logging_strategy="no",
            use_cpu=True,
            disable_tqdm=True,
        )
        trainer = Trainer(Wrapped(fresh(name)), arguments, collate, list(range(len(data))))  # type: ignore[arg-type]
        with Clock() as spent:
            trainer.train()
    return spent.cpu


def step(name: str, count: int, repeats: int) -> dict[str, Any]:
    """Median times of an epoch of each, run in turns."""
    data = Dataset(corpus(count), DIMENSIONS)
    pairs = [(ours(name, data), theirs(name, data)) for _ in range(repeats)]
    mine, other = (median(column) for column in zip(*pairs, strict=True))
    steps = -(-count // 32)
    return {
        "name": f"train/{name}-step-vs-transformers-trainer",
        "ratio": round(other / mine, 2),
        "ours_s": round(mine / steps, 4),
        "theirs_s": round(other / steps, 4),
        "target": 1.5,
    }


def projected(
    name: str, make: Callable[[], tuple[System, Dataset]], epochs: int, fits: int
) -> dict[str, Any]:
    """Seconds an epoch, measured, and the time of ``fits`` of ``epochs`` on two cores, computed."""
    system, data = make()
    with Clock() as spent:
        fit(system, data, None, TrainingConfig(epochs=2, precision="fp32"))
    scale = 0.6 * UTTERANCES / len(data)  # three of five sessions train
    epoch = spent.cpu / 2 * scale
    return {
        "name": f"train/{name}-crossval",
        "epoch_s": round(epoch, 3),
        "fits": fits,
        "epochs": epochs,
        "two_cores_s": round(epoch * epochs * fits / 2, 1),
    }


def pooled_head(count: int) -> dict[str, Any]:
    """The head on functionals: 5 folds × 5 seeds of 30 epochs."""
    sizes = Dimensions(classes=4, speech=2 * WIDTH)
    examples = pooled(corpus(count))
    row = projected("pooled-head", lambda: (fresh("speech", sizes), Dataset(examples, sizes)), 30, 25)
    return row | {"target_s": TARGETS["pooled"], "ratio": round(TARGETS["pooled"] / row["two_cores_s"], 2)}


def perspective(count: int) -> dict[str, Any]:
    """At utterance level: 5 folds × 20 epochs, and its 150 published ones."""
    row = projected("perspective", lambda: (fresh("perspective"), Dataset(corpus(count), DIMENSIONS)), 20, 5)
    published = round(row["epoch_s"] * 150 * 5 / 2, 1)
    ratio = round(TARGETS["perspective"] / row["two_cores_s"], 2)
    return row | {"published_150_epochs_s": published, "target_s": TARGETS["perspective"], "ratio": ratio}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", choices=[*COMPARED, *SYSTEMS, "head", "projected"])
    chosen = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    count, repeats = (128, 1) if chosen.quick else (512, 3)
    fit(fresh("speech"), Dataset(corpus(32), DIMENSIONS), None, TrainingConfig(epochs=1))  # imports
    names = [chosen.only] if chosen.only in SYSTEMS else COMPARED[: 2 if chosen.quick else None]
    jobs: list[Callable[[], dict[str, Any]]] = []
    if chosen.only in (None, "head"):
        jobs.append(lambda: pooled_head(UTTERANCES))
    if chosen.only in (None, "projected"):
        jobs.append(lambda: perspective(2 * count))
    if chosen.only not in ("head", "projected"):
        jobs += [lambda name=name: step(name, min(count, FEWER.get(name, count)), repeats) for name in names]  # type: ignore[misc]
    for job in jobs:
        print(json.dumps(job() | {"load": round(os.getloadavg()[0], 2)}), flush=True)


if __name__ == "__main__":
    main()
