"""Predicts, serves or converts, as ``test_privacy`` watches it: ``python offline.py JOB FOLDER``.

FOLDER holds ``model`` and ``long.wav``. Python code that resolves or connects beyond loopback is
refused here; C code is not, and is for strace to see.
"""

from __future__ import annotations

import contextlib
import fcntl
import ipaddress
import os
import socket
import struct
import sys
from pathlib import Path

ATTEMPTS = Path(sys.argv[2]) / "attempts.txt"


def refuse(event: str, arguments: tuple[object, ...]) -> None:
    """An audit hook: what goes beyond loopback is written down and raises."""
    if event == "socket.getaddrinfo":
        host = arguments[0]
    elif event in ("socket.connect", "socket.sendto", "socket.sendmsg") and isinstance(arguments[1], tuple):
        host = arguments[1][0]
    else:
        return
    name = host.decode() if isinstance(host, bytes) else str(host or "localhost")
    try:
        near = name == "localhost" or ipaddress.ip_address(name).is_loopback or name in ("0.0.0.0", "::")
    except ValueError:
        near = False
    if not near:
        with ATTEMPTS.open("a", encoding="utf-8") as file:
            file.write(f"{event} {name}\n")
        raise OSError(f"{event} {name}: refused by the test")


def loopback_up() -> None:
    """Loopback is down in a new network namespace; elsewhere nothing changes."""
    up_and_running = 0x1 | 0x8 | 0x40
    plain = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with plain, contextlib.suppress(OSError):  # not in a namespace of our own: it is up
        fcntl.ioctl(plain, 0x8914, struct.pack("16sh14x", b"lo", up_and_running))


def predict(folder: Path) -> None:
    from undertone.cli.app import main

    words = ["--text", "what a lovely day", "--format", "json"]
    sys.argv = ["undertone", "predict", str(folder / "long.wav"), "--model", str(folder / "model"), *words]
    main()


def serve(folder: Path) -> None:
    """A server in a thread, and a recording of 12 s for it: it goes through the speech detector."""
    import threading
    import time

    import httpx

    from undertone.judging.predictor import load_model
    from undertone.serving.server.run import serve as run
    from undertone.serving.server.settings import ServerSettings

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def judge() -> None:
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False) as client:
                for _ in range(600):
                    try:
                        client.get("/readyz").raise_for_status()
                        break
                    except httpx.HTTPError:
                        time.sleep(0.1)
                files = {"file": ("long.wav", (folder / "long.wav").read_bytes())}
                print(client.post("/v1/predict", files=files).raise_for_status().text)
        finally:
            import signal

            os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=judge, daemon=True).start()
    run(load_model(folder / "model"), ServerSettings(port=port))


def convert(_folder: Path) -> None:
    import torch

    from undertone.features.engines import convert as converted

    converted(torch.nn.Linear(4, 4), (1, 8, 4), 1, "openvino", "fp32")
    print("label")


if __name__ == "__main__":
    sys.addaudithook(refuse)
    loopback_up()
    {"predict": predict, "serve": serve, "convert": convert}[sys.argv[1]](Path(sys.argv[2]))
