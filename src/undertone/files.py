"""Files that are written whole or not at all, and processes that stay out of each other's way.

>>> from tempfile import TemporaryDirectory
>>> with TemporaryDirectory() as folder:
...     write_json(Path(folder) / "a.json", {"n": 1})
...     (Path(folder) / "a.json").read_text()
'{"n": 1}\\n'
"""

from __future__ import annotations

import json
import os
import secrets
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from undertone.errors import OutputError

__all__ = ["one_thread", "spawned_pool", "whole", "write_json", "write_lines", "write_whole"]

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A temporary file to write in place of ``path``; it takes that name when the block has ended well.

    It lies in the same folder, which is made, and has the same suffix. If the block fails nothing is left
    behind, and what stood under the name before stays. A system's refusal (read-only, full) is an
    ``OutputError`` that names ``path``.
    """
    part = path.with_name(f".{path.stem}.{os.getpid()}.{secrets.token_hex(4)}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        part.replace(path)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        _remove(part)


def _remove(part: Path) -> None:
    try:
        part.unlink(missing_ok=True)
    except OSError:  # the folder itself may be missing or closed to us: then no file was begun
        return


def write_whole(path: Path, data: str | bytes) -> None:
    """Write a file; text is UTF-8 with ``\\n`` at the end of lines on every system."""
    with whole(path) as part:
        part.write_bytes(data.encode() if isinstance(data, str) else data)


def write_json(path: Path, values: object, indent: int | None = None, sort_keys: bool = False) -> None:
    """Write a JSON document."""
    text = json.dumps(values, ensure_ascii=False, indent=indent, sort_keys=sort_keys)
    write_whole(path, text + "\n")


def write_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write JSON lines, as they come."""
    with whole(path) as part, part.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def one_thread(threads: int = 1) -> None:
    """This process computes with so many threads: busy processes on the same cores slow each other down."""
    for name in THREADS:
        os.environ[name] = str(threads)  # what is imported later reads these
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)


@contextmanager
def spawned_pool(
    processes: int,
    start: Callable[..., object] | None = None,
    args: tuple[Any, ...] = (),
    *,
    tasks_each: int | None = None,
) -> Iterator[ProcessPoolExecutor]:
    """A pool of spawned processes of one thread each; ``start(*args)`` runs first in each of them.

    ``tasks_each``: a process is replaced after so many tasks. Left by an error or Ctrl-C, the pool drops the
    tasks that have not begun.
    """
    pool = ProcessPoolExecutor(
        max(1, processes), get_context("spawn"), _start, (start, args), max_tasks_per_child=tasks_each
    )
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, "1"))  # inherited: NumPy reads them before ``_start`` runs
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})
    pool.shutdown()


def _start(start: Callable[..., object] | None, args: tuple[Any, ...]) -> None:
    one_thread()
    if start is not None:
        start(*args)
    one_thread()  # ``start`` may be what imported torch
