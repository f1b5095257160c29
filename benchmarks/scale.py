"""The cluster against this machine: the same answers, what the engine costs, what it survives.

    python benchmarks/scale.py [--quick] [--only equal|overhead|processor|faults|resume|memory]
                               [--corpus M.jsonl --model DIR]

The cluster is ``ray.cluster_utils.Cluster``: two nodes of one core each, on this machine. Opponent: two
spawned processes, as the local engine has them. Without --corpus and --model, the synthesised demo corpus
and a model after one epoch are made first (that is not timed).
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
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from _timing import report
from undertone import manifest as manifests
from undertone.features.extract import extract as extract_here
from undertone.features.extract import read_speech
from undertone.features.speech import speech_encoder
from undertone.features.work import EncodeTask, start_worker, work_chunk
from undertone.scale.cluster import require
from undertone.scale.extract import extract
from undertone.scale.parts import WorkPart, open_source
from undertone.scale.predict import predict, predictions
from undertone.scale.results import check_folder, finished, read_results, result_files, write_result
from undertone.scale.stage import Staged
from undertone.scale.stream import Account, Make, PartSummary, run
from undertone.scale.workers import Workers
from undertone.store import Store

ENCODER = {"name": "acoustic"}
ROWS = 64


def line(name: str, **values: Any) -> None:
    load = round(os.getloadavg()[0], 2)
    shown = {k: float(f"{v:.4g}") if isinstance(v, float) else v for k, v in values.items()}
    print(json.dumps({"name": name, **shown, "load": load}), flush=True)


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


# ---- the same work in two spawned processes ----------------------------------------------------------

_judge: Any = None


def _start_judge(model: Path) -> None:
    global _judge
    import torch

    from undertone.judging.predictor import Predictor, load_model

    torch.set_num_threads(1)
    _judge = Predictor(load_model(model))


def _judge_some(utterances: Sequence[Any]) -> tuple[float, list[str]]:
    from undertone.judging.inputs import item_of

    began = time.time()
    return began, [json.dumps(_judge.judge(item_of(u)).plain(), ensure_ascii=False) for u in utterances]


def _extract_some(items: Sequence[EncodeTask]) -> tuple[float, int]:
    began = time.time()
    return began, len(work_chunk(items))


def in_processes(
    groups: Sequence[Any], work: Callable[[Any], Any], start: Callable[..., None], args: tuple[Any, ...]
) -> tuple[float, float, list[Any]]:
    """Seconds in all, seconds from the first group begun, and what came back."""
    asked = time.time()
    began, answers = [], []
    with ProcessPoolExecutor(2, get_context("spawn"), initializer=start, initargs=args) as pool:
        for future in as_completed([pool.submit(work, group) for group in groups]):
            first, answer = future.result()
            began.append(first)
            answers.append(answer)
        ended = time.time()
    return ended - asked, ended - min(began), answers


def predict_locally(corpus: Path, model: Path) -> tuple[float, float, list[str]]:
    utterances = manifests.read(corpus).resolved()
    groups = [utterances[i : i + rows_of(corpus)] for i in range(0, len(utterances), rows_of(corpus))]
    total, working, answers = in_processes(groups, _judge_some, _start_judge, (model,))
    return total, working, [text for some in answers for text in some]


def extract_locally(corpus: Path, store: Path) -> tuple[float, float]:
    from undertone.features.extract import speech_key

    encoder = speech_encoder(**ENCODER)
    utterances = manifests.read(corpus).resolved()
    asked = time.time()
    items = [EncodeTask("speech", speech_key(u, encoder), u) for u in utterances]
    planned = time.time() - asked
    groups = [items[i : i + rows_of(corpus)] for i in range(0, len(items), rows_of(corpus))]
    total, working, _ = in_processes(groups, _extract_some, start_worker, (store, encoder, None))
    return planned + total, planned + working


# ---- the questions -----------------------------------------------------------------------------------


def compare(expected: Sequence[str], found: Sequence[str]) -> tuple[int, float]:
    """How many labels differ, and the largest difference of a number."""
    ours = {(one := json.loads(text))["id"]: one for text in found}
    theirs = {(one := json.loads(text))["id"]: one for text in expected}
    assert ours.keys() == theirs.keys() and len(found) == len(ours), "each utterance once"
    labels = sum(ours[i]["label"] != theirs[i]["label"] for i in ours)
    far = max(
        abs(ours[i]["perspectives"][side][label] - p)
        for i in ours
        for side, shares in theirs[i]["perspectives"].items()
        for label, p in shares.items()
    )
    return labels, far


def equal(corpus: Path, model: Path, folder: Path) -> None:
    """Local answers and features against the cluster's."""
    utterances = manifests.read(corpus).resolved()
    _, _, expected = predict_locally(corpus, model)
    with cluster():
        predict(str(corpus), str(folder / "answers"), model, workers=Workers(rows=ROWS), align="none")
        extract(str(corpus), str(folder / "far"), ENCODER, None, workers=Workers(rows=ROWS))
    labels, far = compare(expected, [text.strip() for text in predictions(str(folder / "answers"))])
    encoder, here = speech_encoder(**ENCODER), Store(folder / "near")
    extract_here(utterances, here, encoder)
    there = Store(folder / "far")
    difference = max(
        float(np.abs(read_speech(here, u, encoder) - read_speech(there, u, encoder)).max())
        for u in utterances
    )
    line("scale/equal-local", utterances=len(utterances), labels_differ=labels, largest_difference=far)
    same = here.keys() == there.keys()
    line("scale/equal-features-local", entries=len(there), same_keys=same, largest_difference=difference)


def overhead(corpus: Path, model: Path, folder: Path, repeats: int) -> None:
    """Working seconds of both, in turns; start-up apart. Each turn is a line, medians come last."""
    ours: dict[str, list[tuple[float, float]]] = {"predict": [], "extract": []}
    theirs: dict[str, list[tuple[float, float]]] = {"predict": [], "extract": []}
    with cluster():
        for turn in range(repeats):
            total, working, _ = predict_locally(corpus, model)
            theirs["predict"].append((working, total - working))
            out = folder / f"answers{turn}"
            done = predict(str(corpus), str(out), model, workers=Workers(rows=ROWS), align="none")
            ours["predict"].append((done.working, done.seconds - done.working))
            tell("turn/predict", ours["predict"][-1:], theirs["predict"][-1:])
            total, working = extract_locally(corpus, folder / f"near{turn}")
            theirs["extract"].append((working, total - working))
            store = folder / f"far{turn}"
            done = extract(str(corpus), str(store), ENCODER, None, workers=Workers(rows=ROWS))
            ours["extract"].append((done.working, done.seconds - done.working))
            tell("turn/extract", ours["extract"][-1:], theirs["extract"][-1:])
    for name in ours:
        tell(name, ours[name], theirs[name])


def tell(name: str, ours: Sequence[tuple[float, float]], theirs: Sequence[tuple[float, float]]) -> None:
    """Medians of (working, starting) seconds of both."""
    mine, start, other, their_start = (
        statistics.median(t[k] for t in rows) for rows in (ours, theirs) for k in (0, 1)
    )
    more = {"overhead": mine / other - 1, "our_start_s": start, "their_start_s": their_start}
    report(f"scale/{name}-two-processes", mine, other, turns=len(ours), **more)


def processor(corpus: Path, model: Path, folder: Path) -> None:
    """Processor seconds of everything either engine runs, start-up taken away: steady on a busy machine.

    What start-up costs is a run over two utterances. Ray's own processes count, from store to agents.
    """
    few = folder / "few.jsonl"
    held = manifests.read(corpus)
    manifests.write(few, held.resolved()[:2], held.meta)
    meter, spent = Meter(), dict[str, float]()

    def measured(name: str, work: Callable[[Path, Path], object]) -> None:
        for size, manifest in (("few", few), ("all", corpus)):
            before = meter.seconds
            work(manifest, folder / f"{name}-{size}")
            spent[f"{name}-{size}"] = meter.seconds - before

    def judge(manifest: Path, out: Path) -> None:
        predict(str(manifest), str(out), model, workers=Workers(rows=rows_of(manifest)), align="none")

    def encode(manifest: Path, out: Path) -> None:
        extract(str(manifest), str(out), ENCODER, None, workers=Workers(rows=rows_of(manifest)))

    measured("predict-here", lambda manifest, _: predict_locally(manifest, model))
    measured("extract-here", extract_locally)
    with cluster():
        measured("predict-ray", judge)
        measured("extract-ray", encode)
    for name in ("predict", "extract"):
        starts = [spent[f"{name}-{engine}-few"] for engine in ("ray", "here")]
        mine, other = (
            spent[f"{name}-{engine}-all"] - start
            for engine, start in zip(("ray", "here"), starts, strict=True)
        )
        more = {"overhead": mine / other - 1, "our_start_s": starts[0], "their_start_s": starts[1]}
        report(f"scale/processor-{name}-two-processes", mine, other, **more)


def rows_of(manifest: Path) -> int:
    """So that both workers get something even of two utterances."""
    return 1 if manifest.name == "few.jsonl" else ROWS


class Meter:
    """Processor seconds of every process of this session, looked at often: those that end keep theirs."""

    def __init__(self) -> None:
        self.ticks: dict[int, int] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._over.wait(0.1):
            self.look()

    def look(self) -> None:
        session = os.getsid(0)
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(fields[3]) == session:
                    self.ticks[int(entry.name)] = int(fields[11]) + int(fields[12])

    @property
    def seconds(self) -> float:
        self.look()
        return sum(self.ticks.values()) / os.sysconf("SC_CLK_TCK")


def workers_of_this_run() -> list[int]:
    """Process ids of the actors that work on parts."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and b"MapWorker" in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
    return found


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
        time.sleep(5)  # what the workers had in hand still lands
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
        said=again.stderr.strip().splitlines()[-1],
    )


# ---- memory ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Loudness:
    """A fake encoder: a clip's mean level. What is measured is everything around it."""

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
    """In a process of its own: run, and say how large it became."""
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


# ---- the frame ---------------------------------------------------------------------------------------


def material(folder: Path, size: int) -> tuple[Path, Path]:
    """The demo corpus, and a model after one epoch."""
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
    asked = parser.parse_args()
    if asked.memory_driver:
        return memory_driver(*asked.memory_driver)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        wanted = [asked.only] if asked.only else (["equal"] if asked.quick else list(QUESTIONS))
        if set(wanted) - {"memory"} and (asked.corpus is None or asked.model is None):
            asked.corpus, asked.model = material(folder, 120 if asked.quick else 1100)
        for name in wanted:
            (folder / name).mkdir()
            QUESTIONS[name](asked, folder / name)
    return None


QUESTIONS: dict[str, Callable[[Any, Path], None]] = {
    "equal": lambda asked, at: equal(asked.corpus, asked.model, at),
    "overhead": lambda asked, at: overhead(
        asked.corpus, asked.model, at, 1 if asked.quick else asked.repeats
    ),
    "processor": lambda asked, at: processor(asked.corpus, asked.model, at),
    "faults": lambda asked, at: faults(asked.corpus, asked.model, at),
    "resume": lambda asked, at: resume(asked.corpus, asked.model, at),
    "memory": lambda asked, at: memory(at, (100, 1_000) if asked.quick else (1_000, 100_000)),
}


if __name__ == "__main__":
    main()
