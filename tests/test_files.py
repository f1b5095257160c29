"""Files are written whole or not at all; workers have one thread."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from multiprocessing.connection import wait
from pathlib import Path

import pytest

from undertone.errors import OutputError
from undertone.files import (
    LOCK,
    locked,
    one_thread,
    spawned_pool,
    whole,
    write_json,
    write_lines,
    write_whole,
)


def test_text_and_bytes_arrive_as_they_are(tmp_path: Path) -> None:
    write_whole(tmp_path / "new" / "a.txt", "ä\nb\n")
    write_whole(tmp_path / "b.bin", b"\0\r\n")
    assert (tmp_path / "new" / "a.txt").read_bytes() == "ä\nb\n".encode()
    assert (tmp_path / "b.bin").read_bytes() == b"\0\r\n"


def test_json_and_lines_can_be_read_again(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"ö": [1, 2]}, indent=1)
    write_lines(tmp_path / "a.jsonl", ({"n": n} for n in range(3)))
    assert json.loads((tmp_path / "a.json").read_text("utf-8")) == {"ö": [1, 2]}
    assert [json.loads(line)["n"] for line in (tmp_path / "a.jsonl").read_text().splitlines()] == [0, 1, 2]


def test_what_fails_half_way_leaves_the_file_before_it_and_nothing_else(tmp_path: Path) -> None:
    write_whole(tmp_path / "a.txt", "before")
    with pytest.raises(ZeroDivisionError), whole(tmp_path / "a.txt") as part:
        part.write_text(f"half {1 // 0}" if part.write_text("half") else "")
    assert (tmp_path / "a.txt").read_text() == "before"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no named pipes")
def test_a_pipe_is_written_to_and_a_link_stays_a_link(tmp_path: Path) -> None:
    """As ``--out /dev/stdout``: what takes its name instead would destroy it."""
    pipe, file, link = tmp_path / "pipe", tmp_path / "a.txt", tmp_path / "link"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_whole(pipe, "whole\n")
        assert os.read(reader, 100) == b"whole\n"
    finally:
        os.close(reader)
    assert pipe.is_fifo()
    file.write_text("before")
    link.symlink_to(file)
    write_whole(link, "after")
    assert link.is_symlink() and file.read_text() == "after"
    assert {p.name for p in tmp_path.iterdir()} == {"pipe", "a.txt", "link"}


def test_the_temporary_name_has_the_same_suffix(tmp_path: Path) -> None:
    with whole(tmp_path / "a.npz") as part:
        assert part.suffix == ".npz" and part.parent == tmp_path
        part.write_bytes(b"x")


@pytest.mark.parametrize("taken", ["by a folder", "by a file where a folder is wanted"])
def test_a_place_that_cannot_be_written_is_named(tmp_path: Path, taken: str) -> None:
    place = tmp_path / "folder" / "a.txt"
    if taken == "by a folder":
        place.mkdir(parents=True)
    else:
        place.parent.write_text("a file")
    with pytest.raises(OutputError, match=r"a\.txt: cannot be written"):
        write_whole(place, "x")


def _threads(_: int) -> tuple[int, str]:
    import torch

    return torch.get_num_threads(), os.environ["OMP_NUM_THREADS"]


def test_workers_compute_with_one_thread() -> None:
    with spawned_pool(2) as pool:
        assert set(pool.map(_threads, range(2))) == {(1, "1")}


def test_one_thread_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    before = torch.get_num_threads()
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setenv(name, "7")
    try:
        one_thread()
        assert (torch.get_num_threads(), os.environ["MKL_NUM_THREADS"]) == (1, "1")
    finally:
        torch.set_num_threads(before)


HOLDER = """
import sys, time
from pathlib import Path
from undertone.files import locked
with locked(Path(sys.argv[1])):
    print("locked", flush=True)
    time.sleep(60)
"""


def test_a_second_process_is_refused_while_the_first_one_lives_and_not_after(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as first:
        try:
            assert first.stdout and first.stdout.readline() == "locked\n"
            with pytest.raises(OutputError, match=f"process {first.pid} on this machine"), locked(tmp_path):
                pass
        finally:
            first.kill()  # its lock stays behind
    assert (tmp_path / LOCK).exists()
    with locked(tmp_path):
        assert json.loads((tmp_path / LOCK).read_text())["pid"] == os.getpid()
    assert list(tmp_path.iterdir()) == []


def test_one_process_does_not_lock_a_folder_twice(tmp_path: Path) -> None:
    with locked(tmp_path / "new"), pytest.raises(OutputError, match="in use"), locked(tmp_path / "new"):
        pass


def test_an_error_unlocks(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), locked(tmp_path):
        _ = 1 // 0
    with locked(tmp_path):
        pass


@pytest.mark.parametrize("left", ["", "{half", json.dumps({"pid": os.getpid(), "host": platform.node()})])
def test_a_lock_that_nobody_holds_is_taken_over(tmp_path: Path, left: str) -> None:
    """Of a process that was killed while it wrote, or of one that had our number before us."""
    (tmp_path / LOCK).write_text(left)
    with locked(tmp_path):
        assert "token" in (tmp_path / LOCK).read_text()


def test_a_lock_of_another_host_is_kept_and_named(tmp_path: Path) -> None:
    (tmp_path / LOCK).write_text(json.dumps({"pid": 1, "host": "elsewhere"}))
    with pytest.raises(OutputError, match=r"process 1 on elsewhere \(delete .*\.lock if"), locked(tmp_path):
        pass
    assert (tmp_path / LOCK).exists()


def _writes_for_ever(path: Path) -> None:
    with whole(path) as part:
        part.write_text("half")
        time.sleep(600)


def test_workers_end_with_the_parent_and_take_what_they_were_writing_with_them(tmp_path: Path) -> None:
    """Ctrl-C during a cross-validation: no worker goes on, and no temporary file stays."""
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt), spawned_pool(2) as pool:  # noqa: PT012
        for name in "abc":  # more than there are workers
            pool.submit(_writes_for_ever, tmp_path / name)
        while len(list(tmp_path.iterdir())) < 2:
            time.sleep(0.1)
        workers = list(pool._processes.values())
        raise KeyboardInterrupt
    for worker in workers:  # not ``is_alive``: the pool's own thread may be reading the exit status just now
        assert wait([worker.sentinel], 60)
    assert list(tmp_path.iterdir()) == []
    assert time.monotonic() - began < 200
