"""On a real cluster of two nodes of one core: the local answers, each once, whatever is lost on the way.

Each start of Ray takes 10 s and more on two cores, so these are slow.
"""

from __future__ import annotations

import gc
import json
import os
import random
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import works
from works import Levels

from conftest import write_corpus
from undertone import manifest as manifests
from undertone.scale.cluster import connected
from undertone.scale.pack import pack
from undertone.scale.parts import open_source
from undertone.scale.results import read_results, result_files
from undertone.scale.stream import run
from undertone.scale.workers import Workers

ray = pytest.importorskip("ray", reason="needs the extra 'scale'")
pytestmark = pytest.mark.filterwarnings("ignore")  # Ray's own
slow = pytest.mark.slow  # starts a cluster, 10 s on two cores, and runs the work two or three times


@pytest.fixture
def own_cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Ray on this machine's cores, for one test."""
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    )
    with connected("local") as found:
        yield found
    _collect()


def _collect() -> None:
    """Ray leaves its processes' handles to the collector, which complains: here, and in no other test."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gc.collect()


def each_once(out: Path, count: int) -> bool:
    return [row["id"] for row in read_results(str(out), ["id"])] == [f"u{n:03}" for n in range(count)]


@slow
def test_two_workers_share_the_parts_and_a_second_run_has_nothing_to_do(
    own_cluster: Any, tmp_path: Path
) -> None:
    shards = pack(write_corpus(tmp_path / "tones", 24), str(tmp_path / "shards"), rows=2).manifest
    source, out = open_source(shards, 64), tmp_path / "out"
    account = run(own_cluster, source, Levels(str(out), seconds=0.3), Workers(workers=2, cpus=0.5))
    assert len({worker.partition(":")[2] for worker in account.workers}) == 2
    assert sum(account.workers.values()) == 12
    assert each_once(out, 24)
    assert not account.failed
    assert account.totals["sum"] == pytest.approx(sum(r["level"] for r in read_results(str(out))))
    again = run(own_cluster, source, Levels(str(out)), Workers(workers=2, cpus=0.5))
    assert (again.resumed, again.workers) == (24, {})
    assert not ray._private.worker.get_dashboard_url()  # not started, so not exposed


@slow
def test_a_worker_that_dies_in_its_part_is_replaced(two_nodes: Any, tmp_path: Path) -> None:
    source = open_source(str(write_corpus(tmp_path / "tones", 12)), 2)
    work = Levels(str(tmp_path / "out"), seconds=0.1, dies=str(tmp_path / "note"))
    account = run(ray, source, work, Workers())
    assert (tmp_path / "note").exists()
    assert each_once(tmp_path / "out", 12)
    assert account.utterances == 12


def workers() -> list[int]:
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if b"MapWorker" in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return found


@slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="finds workers to kill in /proc")
def test_a_node_and_a_worker_lost_in_the_middle_lose_no_utterance(two_nodes: Any, tmp_path: Path) -> None:
    count = 200
    source = open_source(str(write_corpus(tmp_path / "tones", count)), 4)
    node = two_nodes.add_node(num_cpus=1, object_store_memory=100 << 20)
    did: list[str] = []

    def disturb(done: int, _total: int) -> None:
        if done > count * 0.2 and not did:
            os.kill(random.Random(1).choice(workers()), signal.SIGKILL)
            did.append("worker")
        elif done > count * 0.5 and did == ["worker"]:
            two_nodes.remove_node(node, allow_graceful=False)
            did.append("node")

    run(ray, source, Levels(str(tmp_path / "out"), seconds=0.2), Workers(workers=3), disturb)
    assert did == ["worker", "node"]
    assert each_once(tmp_path / "out", count)


@slow
def test_prediction_is_the_local_ones(two_nodes: Any, tmp_path: Path, trained: Path) -> None:
    from undertone.judging.inputs import recording_of
    from undertone.judging.predictor import Predictor, load_model
    from undertone.scale.predict import predict

    manifest = write_corpus(tmp_path / "tones", 30)
    (tmp_path / "tones" / "7.wav").write_bytes(b"no sound")
    out = tmp_path / "out.jsonl"
    account = predict(str(manifest), str(out), trained, workers=Workers(rows=4), align="none")
    judge = Predictor(load_model(trained))
    good = [u for u in manifests.read(manifest).resolved() if u.id != "u007"]
    expected = [judge.judge(recording_of(u)).plain() for u in good]
    found = [json.loads(text) for text in out.read_text("utf-8").splitlines()]
    assert [one["id"] for one in found] == [one["id"] for one in expected]
    for mine, other in zip(found, expected, strict=True):
        assert mine["label"] == other["label"]
        assert mine["probabilities"] == pytest.approx(other["probabilities"], abs=1e-5)
    assert [one.id for one in account.failed] == ["u007"]


@slow
def test_a_driver_that_was_killed_goes_on_where_it_was(two_nodes: Any, tmp_path: Path, trained: Path) -> None:
    manifest, out = write_corpus(tmp_path / "tones", 300), tmp_path / "out"
    command = [sys.executable, "-m", "undertone", "predict", str(manifest), "--model", str(trained)]
    command += ["--engine", "ray", "--out", str(out), "--align", "none", "--ray", "rows=4"]
    command += ["--address", two_nodes.address]
    first = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while len(result_files(str(out))) < 5 and first.poll() is None:
        time.sleep(0.02)
    first.kill()
    first.wait()
    time.sleep(3)
    before = {name: (out / name).stat().st_mtime_ns for name in result_files(str(out))}
    assert 5 <= len(before) < 75
    again = subprocess.run(command, capture_output=True, encoding="utf-8", check=True)
    assert f"{4 * len(before)} by an earlier run" in again.stderr
    assert {name: (out / name).stat().st_mtime_ns for name in before} == before
    assert each_once(out, 300)


@slow
@pytest.mark.parametrize("system", ["concat", "mmer", "pooled", "bayesian", "timnet", "clap", "paired"])
def test_folds_are_the_local_ones(two_nodes: Any, tmp_path: Path, planted: Any, system: str) -> None:
    from undertone.experiment.run import run_job
    from undertone.scale.trials import run_jobs
    from undertone.training.jobs import finished
    from undertone.training.jobs import run_jobs as run_here

    here, there = planted(tmp_path / "here", system), planted(tmp_path / "there", system)
    assert run_here(here.jobs, run_job) == []
    ended: list[str] = []
    told: Callable[..., None] = lambda job, failure: ended.append(job.name)  # noqa: E731
    assert run_jobs(there.jobs, run_job, watch=told) == []
    assert sorted(ended) == sorted(job.name for job in there.jobs)
    assert all(finished(job) for job in there.jobs)
    for mine, other in zip(there.jobs, here.jobs, strict=True):
        text = (mine.folder / "predictions.jsonl").read_text("utf-8")
        assert text == (other.folder / "predictions.jsonl").read_text("utf-8")
    assert run_jobs(there.jobs, works.forbidden) == []  # nothing is left to do


@slow
def test_a_fold_that_fails_is_named_and_the_others_are_done(
    two_nodes: Any, tmp_path: Path, planted: Any
) -> None:
    from undertone.scale.trials import run_jobs

    jobs = planted(tmp_path).jobs
    failures = run_jobs(jobs, works.all_but_the_first)
    assert [failure.job.name for failure in failures] == [jobs[0].name]
    assert failures[0].why == "this one cannot"


@slow
def test_two_processes_fit_together(two_nodes: Any, tmp_path: Path, planted: Any) -> None:
    from undertone.scale.group import fit_together
    from undertone.training.jobs import finished

    job = planted(tmp_path).jobs[0]
    fit_together(job, workers=Workers(workers=2))
    assert finished(job)
    figures = json.loads((job.folder / "metrics.json").read_text("utf-8"))
    assert figures["ua"] > 0.6  # the planted rule is found
    assert not (job.folder.parent / ".train").exists()


@slow
def test_the_application_answers_behind_ray_serve(two_nodes: Any, tmp_path: Path, trained: Path) -> None:
    import httpx
    from ray import serve

    from undertone.judging.predictor import Predictor, load_model
    from undertone.scale.deploy import Described, deploy
    from undertone.serving.server.settings import ServerSettings

    ready = load_model(trained)
    settings = ServerSettings(port=8766, token="secret")
    deploy(trained, Described.of(ready), settings, Workers(workers=1))
    try:
        manifest = write_corpus(tmp_path / "tones", 6)
        auth = {"authorization": "Bearer secret"}
        with httpx.Client(base_url="http://127.0.0.1:8766", timeout=60) as client:
            assert client.get("/v1/model").status_code == 401
            assert client.get("/v1/model", headers=auth).json()["labels"] == list(ready.labels)
            judge = Predictor(ready)
            for number in range(6):
                path = manifest.parent / f"{number}.wav"
                files = {"file": (path.name, path.read_bytes())}
                answer = client.post("/v1/predict", files=files, data={"text": "LOUD"}, headers=auth).json()
                expected = judge.predict(path, "LOUD", name=path.name).plain()
                assert answer["label"] == expected["label"]
                assert answer["probabilities"] == pytest.approx(expected["probabilities"], abs=1e-5)
            bad = client.post("/v1/predict", files={"file": ("x.wav", b"no")}, headers=auth)
            assert bad.status_code == 422
    finally:
        serve.shutdown()
