"""The cluster against this machine: equal predictions, the engine's cost, failures and memory.

    python benchmarks/scale.py [--quick] [--only equal|overhead|processor|faults|resume|memory]
                               [--corpus M.jsonl --model DIR]

The cluster is ``ray.cluster_utils.Cluster``: two nodes of one core each, on this machine. Opponent: two
spawned processes, like those of the local engine. Without --corpus and --model, the synthesised demo corpus
and a model of one epoch are made first (that is not timed).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from _local import ENCODER, ROWS, Meter, compare, extract_locally, predict_locally, rows_of
from _timing import line, report
from undertone import manifest as manifests
from undertone.features.extract import read_speech
from undertone.features.speech import speech_encoder
from undertone.files import one_thread
from undertone.scale.cluster import require
from undertone.scale.extract import extract
from undertone.scale.parts import WorkPart, open_source
from undertone.scale.predict import predict, predictions
from undertone.scale.results import check_folder, finished, read_results, result_files, write_result
from undertone.scale.stage import Staged
from undertone.scale.stream import Account, Make, PartSummary, run
from undertone.scale.workers import Workers
from undertone.store import Store


@contextlib.contextmanager
def cluster(nodes: int = 2) -> Iterator[Any]:
    """Nodes of one core each; the first is the head."""
    ray = require("the benchmark")
    from ray.cluster_utils import Cluster

    made = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 1, "object_store_memory": 128 << 20, "include_dashboard": False},
    )
    made.others = [  # type: ignore[attr-defined]
        made.add_node(num_cpus=1, object_store_memory=128 << 20) for _ in range(nodes - 1)
    ]
    ray.init(address=made.address, namespace="undertone", log_to_driver=False, configure_logging=False)
    try:
        yield made
    finally:
        ray.shutdown()
        made.shutdown()


# ---- the questions -----------------------------------------------------------------------------------


def equal(corpus: Path, model: Path, folder: Path) -> None:
    """Predictions and features of this machine against the cluster's."""
    utterances = manifests.read(corpus).resolved()
    _, _, expected = predict_locally(corpus, model)
    with cluster():
        predict(str(corpus), str(folder / "answers"), model, workers=Workers(rows=ROWS), align="none")
        extract(str(corpus), str(folder / "far"), ENCODER, None, workers=Workers(rows=ROWS))
    labels, far = compare(expected, [text.strip() for text in predictions(str(folder / "answers"))])
    extract_locally(corpus, folder / "near")
    encoder = speech_encoder(**ENCODER)
    local, remote = Store(folder / "near"), Store(folder / "far")
    difference = max(
        float(np.abs(read_speech(local, u, encoder) - read_speech(remote, u, encoder)).max())
        for u in utterances
    )
    line("scale/equal-local", utterances=len(utterances), labels_differ=labels, largest_difference=far)
    same = local.keys() == remote.keys()
    line("scale/equal-features-local", entries=len(remote), same_keys=same, largest_difference=difference)


def overhead(corpus: Path, model: Path, folder: Path, repeats: int) -> None:
    """Working seconds of both, in turns, without start-up. Each turn is a line, medians come last."""
    ours: dict[str, list[tuple[float, float]]] = {"predict": [], "extract": []}
    theirs: dict[str, list[tuple[float, float]]] = {"predict": [], "extract": []}
    with cluster():
        for turn in range(repeats):
            total, working, _ = predict_locally(corpus, model)
            theirs["predict"].append((working, total - working))
            out = folder / f"answers{turn}"
            done = predict(str(corpus), str(out), model, workers=Workers(rows=ROWS), align="none")
            ours["predict"].append((done.working, done.seconds - done.working))
            report_medians("turn/predict", ours["predict"][-1:], theirs["predict"][-1:])
            total, working = extract_locally(corpus, folder / f"near{turn}")
            theirs["extract"].append((working, total - working))
            store = folder / f"far{turn}"
            done = extract(str(corpus), str(store), ENCODER, None, workers=Workers(rows=ROWS))
            ours["extract"].append((done.working, done.seconds - done.working))
            report_medians("turn/extract", ours["extract"][-1:], theirs["extract"][-1:])
    for name in ours:
        report_medians(name, ours[name], theirs[name])


def report_medians(
    name: str, ours: Sequence[tuple[float, float]], theirs: Sequence[tuple[float, float]]
) -> None:
    """Medians of (working, starting) seconds of both."""
    mine, start, other, their_start = (
        statistics.median(t[k] for t in rows) for rows in (ours, theirs) for k in (0, 1)
    )
    more = {"overhead": mine / other - 1, "our_start_s": start, "their_start_s": their_start}
    report(f"scale/{name}-two-processes", mine, other, turns=len(ours), **more)


def processor(corpus: Path, model: Path, folder: Path) -> None:
    """Processor seconds of all processes of either engine, less start-up: steady on a busy machine.

    The cost of start-up is that of a run over two utterances. All of Ray's own processes count.
    """
    few = folder / "few.jsonl"
    whole = manifests.read(corpus)
    manifests.write(few, whole.resolved()[:2], whole.meta)
    meter, spent = Meter(), dict[str, float]()

    def measured(name: str, work: Callable[[Path, Path], object]) -> None:
        for size, manifest in (("few", few), ("all", corpus)):
            before = meter.seconds
            work(manifest, folder / f"{name}-{size}")
            spent[f"{name}-{size}"] = meter.seconds - before

    def predict_on_ray(manifest: Path, out: Path) -> None:
        predict(str(manifest), str(out), model, workers=Workers(rows=rows_of(manifest)), align="none")

    def extract_on_ray(manifest: Path, out: Path) -> None:
        extract(str(manifest), str(out), ENCODER, None, workers=Workers(rows=rows_of(manifest)))

    measured("predict-local", lambda manifest, _: predict_locally(manifest, model))
    measured("extract-local", extract_locally)
    with cluster():
        measured("predict-ray", predict_on_ray)
        measured("extract-ray", extract_on_ray)
    for name in ("predict", "extract"):
        starts = [spent[f"{name}-{engine}-few"] for engine in ("ray", "local")]
        mine, other = (
            spent[f"{name}-{engine}-all"] - start
            for engine, start in zip(("ray", "local"), starts, strict=True)
        )
        more = {"overhead": mine / other - 1, "our_start_s": starts[0], "their_start_s": starts[1]}
        report(f"scale/processor-{name}-two-processes", mine, other, **more)


def workers_of_this_run() -> list[int]:
    """Process ids of the actors that work on parts."""
    ids = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and b"MapWorker" in (entry / "cmdline").read_bytes():
                ids.append(int(entry.name))
    return ids


def faults(corpus: Path, model: Path, folder: Path) -> None:
    """A worker killed at random, then a node taken away, in the middle of a run."""
    ids = [u.id for u in manifests.read(corpus).utterances]
    did: list[str] = []
    with cluster() as made:

        def disturb(done: int, total: int) -> None:
            if done >= total * 0.2 and not did:
                victim = random.Random(0).choice(workers_of_this_run())
                os.kill(victim, signal.SIGKILL)
                did.append(f"worker {victim} killed after {done}")
            elif done >= total * 0.5 and len(did) == 1:
                threading.Thread(target=made.remove_node, args=(made.others[0], False)).start()
                did.append(f"node removed after {done}")

        done = predict(
            str(corpus), str(folder / "answers"), model, workers=Workers(rows=8), align="none", watch=disturb
        )
    rows = list(read_results(str(folder / "answers"), ["id", "error"]))
    once = sorted(row["id"] for row in rows) == sorted(ids)
    line(
        "scale/faults",
        did=did,
        utterances=len(ids),
        each_once=once,
        in_order=[row["id"] for row in rows] == ids,
        errors=sum(row["error"] is not None for row in rows),
        workers=len(done.workers),
        seconds=done.seconds,
    )


def resume(corpus: Path, model: Path, folder: Path) -> None:
    """The driver killed without warning; the same command again."""
    out = folder / "answers"
    command = [sys.executable, "-m", "undertone", "predict", str(corpus), "--model", str(model)]
    command += ["--engine", "ray", "--out", str(out), "--align", "none", "--ray", "rows=16"]
    with cluster() as made:
        command += ["--address", made.address]
        first = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while len(result_files(str(out))) < 10 and first.poll() is None:
            time.sleep(0.1)
        first.kill()
        first.wait()
        time.sleep(5)  # parts that the workers had begun are still written
        before = {name: (out / name).stat().st_mtime_ns for name in result_files(str(out))}
        again = subprocess.run(command, capture_output=True, encoding="utf-8", check=True)
    after = {name: (out / name).stat().st_mtime_ns for name in result_files(str(out))}
    ids = [u.id for u in manifests.read(corpus).utterances]
    line(
        "scale/resume",
        shards_when_killed=len(before),
        shards=len(after),
        redone=sum(after[name] != at for name, at in before.items()),
        in_order=[row["id"] for row in read_results(str(out), ["id"])] == ids,
        message=again.stderr.strip().splitlines()[-1],
    )


# ---- memory ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Loudness:
    """A fake encoder: a clip's mean level. The measurement is of everything around it."""

    out: str
    identity: str = "loudness"

    def finished(self) -> Callable[[WorkPart], bool]:
        return finished(self.out, self.identity)

    def start(self) -> Make:
        from undertone.audio import load
        from undertone.manifest.parquet import pyarrow

        pa = pyarrow()

        def make(part: WorkPart, rows: Sequence[Staged]) -> PartSummary:
            levels = [float(np.abs(load(one.local.audio)).mean()) for one in rows]
            ids = [one.utterance.id for one in rows]
            write_result(self.out, part, self.identity, pa.table({"id": ids, "level": levels}))
            return PartSummary(len(rows))

        return make


def tiny_shards(folder: Path, count: int) -> Path:
    """Shards of clips of 20 ms, as ``pack`` would write them."""
    import io

    import soundfile

    from undertone.manifest.parquet import pyarrow
    from undertone.scale.shards import columns, table
    from undertone.types import Utterance

    pa = pyarrow()
    import pyarrow.parquet as pq

    rng = np.random.default_rng(0)
    sounds = []
    for _ in range(50):
        file = io.BytesIO()
        soundfile.write(file, rng.normal(0, 0.1, 320), 16_000, format="WAV")
        sounds.append(file.getvalue())
    folder.mkdir(parents=True)
    for shard in range(0, count, 10_000):
        with pq.ParquetWriter(
            folder / f"shard-{shard // 10_000:05}-{shard:016x}.parquet", columns(pa)
        ) as file:
            for first in range(shard, min(shard + 10_000, count), 500):
                some = [Utterance(f"u{i}", f"{i}.wav") for i in range(first, min(first + 500, count))]
                file.write_table(table(pa, some, {u.audio: sounds[int(u.id[1:]) % 50] for u in some}))
    return folder


def memory_driver(shards: str, out: str) -> None:
    """In a process of its own: run, and print the highest memory."""
    with cluster():
        source = open_source(shards, 500)
        check_folder(out, source, "loudness")
        done: Account = run(require("x"), source, Loudness(out), Workers(rows=500))
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    sizes = {
        key: int(text.split()[0])
        for key, _, text in (row.partition(":") for row in status.splitlines())
        if key in ("VmHWM", "RssAnon")
    }
    print(json.dumps({"utterances": done.utterances, "seconds": done.seconds, **sizes}))


def memory(folder: Path, counts: Sequence[int]) -> None:
    """The driver's highest memory against the number of rows."""
    peaks = []
    for count in counts:
        shards = tiny_shards(folder / f"tiny{count}", count)
        call = [sys.executable, __file__, "--memory-driver", str(shards), str(folder / f"levels{count}")]
        done = subprocess.run(call, capture_output=True, encoding="utf-8", check=True)
        values = json.loads(done.stdout.strip().splitlines()[-1])
        assert values["utterances"] == count
        assert sum(1 for _ in read_results(str(folder / f"levels{count}"), ["id"])) == count
        peaks.append(values["VmHWM"] / 1024)
        line(f"scale/memory-{count}", peak_mib=peaks[-1], seconds=values["seconds"])
    line("scale/memory", growth=peaks[-1] / peaks[0] - 1, rows=list(counts))


# ---- the command ---------------------------------------------------------------------------------------


def material(folder: Path, size: int) -> tuple[Path, Path]:
    """The demo corpus, and a model of one epoch."""
    from undertone.experiment.prepare import prepare
    from undertone.experiment.recipe import load_recipe, recipes_folder
    from undertone.experiment.single import train_one

    corpus = folder / "corpus.jsonl"
    prepare("demo", folder / "corpus", corpus, options={"size": size})
    changed = [f"manifest={json.dumps(corpus.as_posix())}", "training.epochs=1"]
    recipe = load_recipe(recipes_folder() / "demo" / "concat.toml", changed)
    model, _ = train_one(recipe, folder / "runs", Store(folder / "store"))
    return corpus, model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", choices=("equal", "overhead", "processor", "faults", "resume", "memory"))
    parser.add_argument("--corpus", type=Path)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--memory-driver", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory_driver:
        return memory_driver(*options.memory_driver)
    one_thread()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        wanted = [options.only] if options.only else (["equal"] if options.quick else list(QUESTIONS))
        if set(wanted) - {"memory"} and (options.corpus is None or options.model is None):
            options.corpus, options.model = material(folder, 120 if options.quick else 1100)
        for name in wanted:
            (folder / name).mkdir()
            QUESTIONS[name](options, folder / name)
    return None


QUESTIONS: dict[str, Callable[[Any, Path], None]] = {
    "equal": lambda options, at: equal(options.corpus, options.model, at),
    "overhead": lambda options, at: overhead(
        options.corpus, options.model, at, 1 if options.quick else options.repeats
    ),
    "processor": lambda options, at: processor(options.corpus, options.model, at),
    "faults": lambda options, at: faults(options.corpus, options.model, at),
    "resume": lambda options, at: resume(options.corpus, options.model, at),
    "memory": lambda options, at: memory(at, (100, 1_000) if options.quick else (1_000, 100_000)),
}


if __name__ == "__main__":
    main()
