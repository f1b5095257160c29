"""The cluster's work done by two spawned processes; a comparison of predictions; processor time."""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import as_completed
from pathlib import Path
from typing import Any

from undertone import manifest as manifests
from undertone.features.speech import speech_encoder
from undertone.features.work import EncodeTask, start_worker, work_chunk
from undertone.files import spawned_pool

ENCODER = {"name": "acoustic"}
ROWS = 64
_predictor: Any = None


def _start_predictor(model: Path) -> None:
    global _predictor
    from undertone.judging.predictor import Predictor, load_model

    _predictor = Predictor(load_model(model))


def _predict_some(utterances: Sequence[Any]) -> tuple[float, list[str]]:
    from undertone.judging.inputs import recording_of

    began = time.time()
    return began, [
        json.dumps(_predictor.judge(recording_of(u)).plain(), ensure_ascii=False) for u in utterances
    ]


def _extract_some(tasks: Sequence[EncodeTask]) -> tuple[float, int]:
    began = time.time()
    return began, len(work_chunk(tasks))


def in_processes(
    groups: Sequence[Any], work: Callable[[Any], Any], start: Callable[..., None], args: tuple[Any, ...]
) -> tuple[float, float, list[Any]]:
    """Seconds in all, seconds from the beginning of the first group, and the results."""
    called = time.time()
    began, results = [], []
    with spawned_pool(2, start, args) as pool:
        for future in as_completed([pool.submit(work, group) for group in groups]):
            first, result = future.result()
            began.append(first)
            results.append(result)
        ended = time.time()
    return ended - called, ended - min(began), results


def predict_locally(corpus: Path, model: Path) -> tuple[float, float, list[str]]:
    """Seconds in all, seconds of work, and the predictions as JSON lines."""
    utterances = manifests.read(corpus).resolved()
    groups = [utterances[i : i + rows_of(corpus)] for i in range(0, len(utterances), rows_of(corpus))]
    total, working, lines = in_processes(groups, _predict_some, _start_predictor, (model,))
    return total, working, [text for some in lines for text in some]


def extract_locally(corpus: Path, store: Path) -> tuple[float, float]:
    """Seconds in all, and seconds of work."""
    from undertone.features.extract import speech_key

    encoder = speech_encoder(**ENCODER)
    utterances = manifests.read(corpus).resolved()
    called = time.time()
    tasks = [EncodeTask("speech", speech_key(u, encoder), u) for u in utterances]
    planned = time.time() - called
    groups = [tasks[i : i + rows_of(corpus)] for i in range(0, len(tasks), rows_of(corpus))]
    total, working, _ = in_processes(groups, _extract_some, start_worker, (store, encoder, None))
    return planned + total, planned + working


def compare(expected: Sequence[str], predicted: Sequence[str]) -> tuple[int, float]:
    """The number of labels that differ, and the largest difference of a probability."""
    ours = {(one := json.loads(text))["id"]: one for text in predicted}
    theirs = {(one := json.loads(text))["id"]: one for text in expected}
    assert ours.keys() == theirs.keys() and len(predicted) == len(ours), "each utterance once"
    labels = sum(ours[i]["label"] != theirs[i]["label"] for i in ours)
    far = max(
        abs(ours[i]["perspectives"][side][label] - p)
        for i in ours
        for side, posterior in theirs[i]["perspectives"].items()
        for label, p in posterior.items()
    )
    return labels, far


def rows_of(manifest: Path) -> int:
    """Utterances of a group; one, where the manifest has only two: both workers get something."""
    return 1 if manifest.name == "few.jsonl" else ROWS


class Meter:
    """Processor seconds of all processes of this session, read often, so that ended ones still count."""

    def __init__(self) -> None:
        self.ticks: dict[int, int] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._over.wait(0.1):
            self.read()

    def read(self) -> None:
        session = os.getsid(0)
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(fields[3]) == session:
                    self.ticks[int(entry.name)] = int(fields[11]) + int(fields[12])

    @property
    def seconds(self) -> float:
        self.read()
        return sum(self.ticks.values()) / os.sysconf("SC_CLK_TCK")
