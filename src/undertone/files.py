"""Files that are written whole or not at all, and processes that stay out of each other's way.

>>> from tempfile import TemporaryDirectory
>>> with TemporaryDirectory() as folder:
...     write_json(Path(folder) / "a.json", {"n": 1})
...     (Path(folder) / "a.json").read_text()
'{"n": 1}\\n'
"""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import platform
import secrets
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from undertone.errors import OutputError

if TYPE_CHECKING:
    from concurrent.futures import ProcessPoolExecutor

__all__ = [
    "log_plainly",
    "locked",
    "one_thread",
    "package_folder",
    "refusal",
    "refuse_place",
    "spawned_pool",
    "whole",
    "whole_folder",
    "write_json",
    "write_lines",
    "write_whole",
    "writing",
]

LOCK = ".lock"
"""In a locked folder: the process that has it, and its host."""

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A temporary file to write in place of ``path``; it takes that name when the block has ended well.

    It lies in the same folder, which is made, and has the same suffix. If the block fails nothing is left
    behind, and what stood under the name before stays. A link stays a link; a device or a pipe (/dev/stdout,
    /dev/null) is written to, never replaced. A system's refusal (read-only, full) is an ``OutputError`` that
    names ``path``.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):
        with writing(path):
            yield path
        return
    path = path.resolve() if path.is_symlink() else path
    part = path.with_name(f".{path.stem}.{os.getpid()}.{secrets.token_hex(4)}{path.suffix}")
    _PARTS.add(part)
    try:
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield part
            part.replace(path)
    finally:
        _remove(part)
        _PARTS.discard(part)


_PARTS: set[Path] = set()
"""The temporary files of this process that are being written."""


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns what the system refuses in the block into an ``OutputError`` that names ``path``."""
    try:
        yield
    except Exception as error:
        if not isinstance(error, OSError) and "(os error " not in str(error):  # as Rust's libraries write it
            raise
        raise OutputError(f"{path}: cannot be written: {_reason(error)}") from error


def package_folder(name: str) -> Path | None:
    """The folder of an installed package by the name that it is imported as; it is looked up, never run."""
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations)))


def refuse_place(path: Path, folder: bool = False) -> None:
    """Refuse a place where no file (or ``folder``) can be written, before the work for it is done."""
    if path.is_dir() and not folder:
        raise OutputError(f"{path}: is a folder; name a file in it")
    if path.is_file() and folder:
        raise OutputError(f"{path}: is a file; name a folder")
    stands = next(place for place in (path.absolute(), *path.absolute().parents) if place.exists())
    if stands.is_file() and stands != path.absolute():
        raise OutputError(f"{path}: cannot be written: {stands} is a file")
    if not os.access(stands, os.W_OK):
        raise OutputError(f"{path}: cannot be written: {stands} is read-only")


def refusal(error: OSError) -> str:
    """What the system refused, in one line that begins with the path where it names one."""
    return f"{error.filename}: {_reason(error)}" if error.filename is not None else _reason(error)


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)


def _remove(part: Path) -> None:
    try:
        part.unlink(missing_ok=True)
    except OSError:  # the folder itself may be missing or closed to us: then no file was begun
        return


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """As ``whole``, of a folder: an empty one to fill, in place of ``path``, which is not there yet."""
    part = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        with writing(path):
            part.mkdir(parents=True)
            yield part
            if not path.is_dir():  # another process may have made it meanwhile
                part.replace(path)
    finally:
        shutil.rmtree(part, ignore_errors=True)


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


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """The folder for this process alone: a second one is refused as long as the first one lives.

    The lock of a process that has ended is stale, and taken over; of one on another host that is not known.
    """
    path = folder.absolute() / LOCK
    own = json.dumps({"pid": os.getpid(), "host": platform.node(), "token": secrets.token_hex(8)})
    try:
        folder.mkdir(parents=True, exist_ok=True)
        while not _created(path, own):
            if holder := _living(path):
                raise OutputError(f"{folder}: {holder}; wait for it, or use another name")
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from error
    _OWN.add(own)
    try:
        yield
    finally:
        _OWN.discard(own)
        if _text(path) == own:
            _remove(path)


_OWN: set[str] = set()
"""The locks of this process; others under its number are of one that had the number before."""


def _created(path: Path, text: str) -> bool:
    """Whether the file was made; not where one is there."""
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        return False
    return True


def _living(path: Path) -> str:
    """Who holds a lock, in words; a stale one is taken out of the way, and nobody does."""
    text = _text(path)
    if not text:  # being written, unless its process was killed just then
        time.sleep(0.5)
        text = _text(path)
    try:
        values = json.loads(text or "{}")
        pid, host = int(values["pid"]), str(values["host"])
    except (KeyError, TypeError, ValueError):
        pid, host = 0, ""
    if host and host != platform.node():
        return f"in use by process {pid} on {host} (delete {path} if nothing runs there any more)"
    if text in _OWN or (pid and pid != os.getpid() and _runs(pid)):
        return f"in use by process {pid} on this machine"
    aside = path.with_name(f"{LOCK}.{secrets.token_hex(4)}")
    try:
        path.rename(aside)
    except FileNotFoundError:
        return ""
    if (_text(aside)) != text and _created(path, _text(aside)):  # another process was quicker: it is its lock
        _remove(aside)
        return "in use by another process"
    _remove(aside)
    return ""


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""


def _runs(pid: int) -> bool:
    """Whether a process of this machine lives; without a signal, which would end it on Windows."""
    if sys.platform == "win32":
        import ctypes

        kernel = ctypes.WinDLL("kernel32", use_last_error=True)
        handle = kernel.OpenProcess(0x1000, False, pid)  # PROCESS_QUERY_LIMITED_INFORMATION
        if not handle:
            return ctypes.get_last_error() == 5  # it is there, and not ours
        code = ctypes.c_ulong()
        kernel.GetExitCodeProcess(handle, ctypes.byref(code))
        kernel.CloseHandle(handle)
        return code.value == 259  # STILL_ACTIVE
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


class _Once(logging.Filter):
    """Lets a message pass once."""

    def __init__(self) -> None:
        super().__init__()
        self.passed: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        text = record.getMessage()
        new = text not in self.passed
        self.passed.add(text)
        return new


def log_plainly(level: int) -> None:
    """Messages from ``level`` on go to stderr as ``undertone: message``, each once; with ``level`` below
    warnings all of them, with their levels and places."""
    handler = logging.StreamHandler(sys.stderr)
    if level >= logging.WARNING:
        handler.addFilter(_Once())
    form = "%(message)s" if level >= logging.WARNING else "%(levelname)s %(name)s: %(message)s"
    handler.setFormatter(logging.Formatter(f"undertone: {form}"))
    logging.basicConfig(level=level, handlers=[handler])
    logging.getLogger("undertone.progress").setLevel(logging.INFO if level < logging.ERROR else level)


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

    ``tasks_each``: a process is replaced after so many tasks. Left by an error or Ctrl-C, the pool ends its
    processes: what they wrote is whole or absent.
    """
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    level = logging.getLogger().getEffectiveLevel()
    pool = ProcessPoolExecutor(
        max(1, processes), get_context("spawn"), _start, (level, start, args), max_tasks_per_child=tasks_each
    )
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, "1"))  # inherited: NumPy reads them before ``_start`` runs
    try:
        yield pool
    except BaseException:
        workers = list((pool._processes or {}).values())
        pool.shutdown(wait=False, cancel_futures=True)
        for worker in workers:
            worker.terminate()
        raise
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})
    pool.shutdown()


def _start(level: int, start: Callable[..., object] | None, args: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends its workers
    signal.signal(signal.SIGTERM, _end)
    log_plainly(level)
    one_thread()
    if start is not None:
        start(*args)
    one_thread()  # ``start`` may be what imported torch


def _end(*_: object) -> None:
    """End this worker at once, without the files that it was writing."""
    for part in list(_PARTS):  # another thread may be adding one
        _remove(part)
    os._exit(1)
