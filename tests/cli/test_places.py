"""Places that cannot be written: one line that names them, status 1, nothing half-written there."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from trees.commands import Run, failed
from trees.models import make_model
from trees.sound import noise
from undertone import files
from undertone.errors import OutputError
from undertone.store import Store
from undertone.training.jobs import Job, attempt

CORPUS = 4
"""Clips of the table that the tests prepare."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model") / "m")


@pytest.fixture
def work(tmp_path: Path, model: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with clips, a table of them, its manifest, a folder and a file that are in the way."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("UNDERTONE_CACHE", str(tmp_path / "cache"))
    rows = []
    for i in range(CORPUS):
        noise(tmp_path / "clips" / f"{i}.wav")
        rows.append(f"clips/{i}.wav,{'happy' if i % 2 else 'sad'},s{i},{i}")
    (tmp_path / "c.csv").write_text("path,label,speaker,session\n" + "\n".join(rows) + "\n")
    (tmp_path / "folder.jsonl").mkdir()
    (tmp_path / "folder.html").mkdir()
    (tmp_path / "taken").write_text("a file where a folder is wanted")
    (tmp_path / "model").symlink_to(model)
    assert run("prepare", "table", "c.csv", "--out", "m.jsonl").status == 0
    return tmp_path


def listing(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if "cache" not in path.parts}


CROSSVAL = ("crossval", "demo/concat", "--set", "manifest=m.jsonl", "--jobs", "1")


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("prepare", "table", "c.csv", "--out", "folder.jsonl"), "folder.jsonl: is a folder"),
        (("prepare", "table", "c.csv", "--out", "taken/m.jsonl"), "taken/m.jsonl: cannot be written"),
        (("predict", "clips", "--model", "model", "--out", "folder.jsonl"), "folder.jsonl: is a folder"),
        (("predict", "clips", "--model", "model", "--out", "taken/a.csv"), "taken/a.csv: cannot be written"),
        (("predict", "clips", "-m", "model", "-f", "srt", "--out", "taken"), "taken: is a file"),
        (("report", "runs", "--out", "folder.html"), "folder.html: is a folder"),
        (("report", "runs", "--out", "taken/r.html"), "taken/r.html: cannot be written"),
        (("export", "model", "--to", "onnx", "--out", "taken"), "taken: is a file"),
        (("export", "model", "--to", "onnx", "--out", "taken/graph"), "taken/graph: cannot be written"),
        (("extract", "m.jsonl", "--speech", "acoustic", "--store", "taken"), "taken"),
        (("extract", "m.jsonl", "--speech", "acoustic", "--store", "taken/s"), "taken/s"),
        ((*CROSSVAL, "--out", "taken"), "taken/concat: cannot be written"),
        ((*CROSSVAL, "--out", "runs", "--store", "taken"), "taken"),
        (("align", "m.jsonl", "--with", "given", "--out", "folder.jsonl"), "folder.jsonl: is a folder"),
        (("audit", "m.jsonl", "--protocol", "loso", "--no-audio", "--write-split", "taken/s.json"), "taken"),
        (("predict", "clips", "--model", "model", "--out", "/proc/nothing/a.csv"), "/proc/nothing/a.csv"),
    ],
)
def test_what_is_in_the_way_is_named(run: Run, work: Path, words: tuple[str, ...], named: str) -> None:
    before = listing(work)
    ran = run(*words)
    failed(ran, named)
    assert {path for path in listing(work) - before if path.is_file()} == set()


@contextlib.contextmanager
def full(folder: Path) -> Iterator[None]:
    """A file system of 64 KB at the folder; the test is skipped where none can be mounted."""
    folder.mkdir()
    call = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    with contextlib.suppress(OSError):
        if subprocess.run(call, capture_output=True, check=False).returncode == 0:
            try:
                yield
            finally:
                subprocess.run(["umount", str(folder)], check=True)
            return
    pytest.skip("mounting a small file system is not allowed here")


@pytest.mark.parametrize(
    "words",
    [
        ("prepare", "table", "c.csv", "--out", "small/m.jsonl"),
        ("predict", "clips", "--model", "model", "--out", "small/a.csv"),
        ("export", "model", "--to", "onnx", "--out", "small/graph"),
        ("extract", "m.jsonl", "--speech", "acoustic", "--store", "small/store"),
        ("extract", "m.jsonl", "--speech", "acoustic", "--store", "small/store", "--jobs", "2"),
        (*CROSSVAL, "--set", "protocol.split=loso", "--out", "small"),
    ],
    ids=lambda words: " ".join(words[:1] + words[-2:]),
)
def test_a_full_disk_is_one_line_and_leaves_nothing_half_written(
    run: Run, work: Path, words: tuple[str, ...]
) -> None:
    with full(work / "small"):
        (work / "small" / "ballast").write_bytes(bytes(60 * 1024))
        with contextlib.suppress(OSError), (work / "small" / "more").open("wb", buffering=0) as file:
            while file.write(bytes(1024)):  # every last page
                pass
        before = listing(work / "small")
        ran = run(*words)
        assert ran.status == 1 and "Traceback" not in ran.err
        last = ran.err.splitlines()[-1]
        assert last.startswith("undertone: ") and "small/" in last and "No space left on device" in last, last
        made = [path for path in listing(work / "small") - before if path.is_file()]
        assert [path for path in made if path.stat().st_size] == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full: only on Linux")
def test_a_stdout_that_is_full_or_closed_is_no_traceback(work: Path) -> None:
    call = [sys.executable, "-m", "undertone", "show", "m.jsonl"]
    with Path("/dev/full").open("w") as sink:
        done = subprocess.run(call, stdout=sink, stderr=subprocess.PIPE, encoding="utf-8", check=False)
    assert (done.returncode, done.stderr) == (1, "undertone: No space left on device\n")
    piped = subprocess.run(
        f"{' '.join(call)} | true", shell=True, stderr=subprocess.PIPE, encoding="utf-8", check=False
    )
    assert piped.stderr == ""


def test_a_job_that_meets_a_full_disk_fails_in_one_line() -> None:
    def work(job: Job) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "runs/a/final/card.json")

    job = Job("a", "final", 0, Path("runs/a/final"), "")
    assert attempt(work, job) == "runs/a/final/card.json: No space left on device"


def test_rust_libraries_full_disks_are_ours(tmp_path: Path) -> None:
    def write() -> None:
        with files.whole(tmp_path / "w") as part:
            part.write_bytes(b"half")
            raise RuntimeError("I/O error: No space left on device (os error 28)")

    with pytest.raises(OutputError, match=r"w: cannot be written: I/O error: No space left"):
        write()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": null}', '{"schema": 1e999}', '{"schema": 99}'])
def test_a_store_whose_description_is_damaged_can_be_cleared(run: Run, work: Path, text: str) -> None:
    words = ("extract", "m.jsonl", "--speech", "acoustic")
    assert run(*words).status == 0
    place = work / "cache" / "store"
    (place / "store.json").write_text(text)
    for line in (words, ("store", "stat"), ("store", "verify"), ("store", "gc")):
        failed(run(*line), "store.json", "undertone store clear")
    assert run("store", "clear", "--yes").status == 0
    assert len(Store(place)) == 0
    ran = run(*words)
    assert ran.status == 0 and "1 encoded" in ran.out  # the clips are equal
