"""The second run over a corpus: every clip a hit, read into padded batches.

    python benchmarks/store.py [--quick]

Frames as wide as wav2vec2-base's (768, 50 a second) for clips of IEMOCAP's mean length (4.5 s).
Opponents: one ``.npy`` a clip, and reading the same store by copying (safetensors' own loader).
Hits include hashing the recordings and checking the features' sums.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from _timing import measure, report
from undertone.features.acoustic import Acoustic
from undertone.features.config import SpeechConfig
from undertone.features.extract import extract, read_speech
from undertone.models.batch import collate
from undertone.models.example import Dimensions, Example
from undertone.store import Store
from undertone.types import Utterance

RATE = 16_000


class Wide(Acoustic):
    """In place of a network: frames of the same size without computing."""

    def __init__(self) -> None:
        super().__init__(SpeechConfig())
        self.dim, self.identity = 768, "wide"

    def encode(self, waves: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        return [np.resize(wave, (len(wave) // 320, 768)) for wave in waves]


def corpus(folder: Path, count: int) -> list[Utterance]:
    rng = np.random.default_rng(0)
    utterances = []
    for number in range(count):
        path = folder / f"{number}.wav"
        samples = rng.normal(0, 0.1, round(RATE * float(rng.uniform(2.5, 6.5))))
        soundfile.write(path, samples, RATE)
        utterances.append(Utterance(id=str(number), audio=str(path)))
    return utterances


def batches(frames: Any, count: int) -> int:
    """The number of frames, all of them read into padded batches of 32."""
    total = 0
    for start in range(0, count, 32):
        examples = [Example(str(i), frames(i)) for i in range(start, min(start + 32, count))]
        total += int(collate(examples, Dimensions(4, speech=768)).speech_lengths.sum())
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    count, repeats = (100, 2) if quick else (1000, 5)
    with tempfile.TemporaryDirectory() as name:
        folder, encoder = Path(name), Wide()
        utterances = corpus(folder, count)
        began = time.process_time()
        extract(utterances, Store(folder / "store"), encoder)
        first = time.process_time() - began
        for utterance in utterances:
            np.save(folder / f"{utterance.id}.npy", read_speech(Store(folder / "store"), utterance, encoder))

        def second_run() -> int:
            store = Store(folder / "store")  # as a new process would
            summary = extract(utterances, store, encoder)
            assert summary.hits == count
            return batches(lambda i: read_speech(store, utterances[i], encoder), count)

        def read_only() -> int:
            store = Store(folder / "store")
            return batches(lambda i: read_speech(store, utterances[i], encoder), count)

        def files() -> int:
            return batches(lambda i: np.load(folder / f"{i}.npy"), count)

        assert second_run() == files()
        times = measure({"second": second_run, "read": read_only, "npy": files}, repeats)
        rate = {"utterances_a_second": count / times["second"].cpu, "wall_rate": count / times["second"].wall}
        report("store/second-run/npy-files-unchecked", times["second"].cpu, times["npy"].cpu, **rate)
        report("store/checked-reading/npy-files-unchecked", times["read"].cpu, times["npy"].cpu)
        report("store/second-run/first-run-without-network", times["second"].cpu, first)
        print(json.dumps({"name": "store/size", "bytes": Store(folder / "store").stat().bytes}))


if __name__ == "__main__":
    main()
