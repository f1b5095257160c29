"""A server that a command starts, on a port that is free here, for as long as a test needs it."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def answering(call: list[str], folder: Path, **environment: str) -> Iterator[Callable[[str], Any]]:
    """Starts the command in the folder; gives a function from a path to the open answer once it is ready."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"

    def ask(path: str) -> Any:
        return urllib.request.urlopen(f"{address}{path}", timeout=30)

    log = folder / "serve.log"
    with log.open("w") as file:
        process = subprocess.Popen(
            [*call, "--port", address.rpartition(":")[2]],
            cwd=folder,
            env={**os.environ, **environment},
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    try:
        for _ in range(240):
            assert process.poll() is None, log.read_text()
            time.sleep(0.5)
            with contextlib.suppress(OSError), ask("/readyz"):
                break
        else:
            raise AssertionError(f"the server did not come up: {log.read_text()}")
        yield ask
    finally:
        process.terminate()
        process.wait(60)
