"""Small recordings with a manifest, and a cluster for those tests that need one."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.trees.models import make_model
from undertone import audio
from undertone import manifest as manifests
from undertone.types import Utterance

sys.path.insert(0, str(Path(__file__).parent))
torch.set_num_threads(1)  # two threads on a busy machine wait for each other

Made = Callable[..., Path]


def write_corpus(folder: Path, count: int = 10, name: str = "corpus.jsonl") -> Path:
    """``count`` tones of different lengths and levels, each with a transcript, beside their manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    utterances = []
    for number in range(count):
        wave = 0.01 * (number % 60 + 1) * np.sin(np.arange(1600 + 160 * (number % 7)) * 0.1)
        audio.save(folder / f"{number}.wav", wave.astype(np.float32), 16_000)
        words = f"number {number} is {'LOUD' if number % 3 else 'quiet'}"
        utterances.append(
            Utterance(
                f"u{number:03}",
                str(folder / f"{number}.wav"),
                text=words,
                speaker=str(number % 3),
                label="happy" if number % 2 else "sad",
            )
        )
    manifests.write(folder / name, utterances, manifests.Meta("tones", "own", ("happy", "sad")))
    return folder / name


@pytest.fixture
def make_corpus(tmp_path: Path) -> Made:
    def make(count: int = 10, name: str = "corpus.jsonl") -> Path:
        return write_corpus(tmp_path / "tones", count, name)

    return make


@pytest.fixture(scope="module")
def two_nodes() -> Iterator[Any]:
    """Ray, connected to two nodes of one core each on this machine."""
    from undertone.scale.cluster import require

    before = dict(os.environ)
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), before.get("PYTHONPATH", "")])
    ray = require("the tests")
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "object_store_memory": 100 << 20}
    made = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    made.add_node(**node)
    ray.init(address=made.address, namespace="undertone", log_to_driver=False, configure_logging=False)
    yield made
    ray.shutdown()
    made.shutdown()
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model folder with random weights."""
    return make_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def planted() -> Callable[..., Any]:
    """A run over the planted corpus, laid out in a folder: its plan."""
    sys.path.append(str(Path(__file__).parents[1] / "experiment"))
    import planted

    def make(folder: Path, system: str = "concat") -> Any:
        folder.mkdir(parents=True, exist_ok=True)
        return planted.planned(folder, planted.recipe(planted.corpus(folder), system))

    return make
