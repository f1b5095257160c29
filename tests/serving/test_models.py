"""Several models, named by requests, and replaced while requests go on."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

CLIENT = httpx.Client(timeout=30)


def write(file: Path, name: str, **values: Any) -> str:
    file.write_text(json.dumps({"name": name, **values}))
    return str(file)


@pytest.fixture
def two(start_server: Callable[..., Any], tmp_path: Path) -> Iterator[tuple[Any, Path, Path]]:
    """A server of two models, and the files that they are loaded from."""
    first, second = tmp_path / "first", tmp_path / "second"
    tokens = tmp_path / "tokens"
    tokens.write_text("admin:root-word\nanna:word\n")
    running = start_server(
        loads={"default": write(first, "one@1"), "other": write(second, "two@1")}, token_file=str(tokens)
    )
    yield running, first, second
    running.stop()
    running.process.stderr.close()


def ask(server: Any, method: str, path: str, token: str = "word", **sent: Any) -> httpx.Response:
    headers = {"authorization": f"Bearer {token}"}
    return CLIENT.request(method, server.url + path, headers=headers, **sent)


def judged_by(server: Any, **sent: Any) -> str:
    answer = ask(server, "POST", "/v1/predict", json={"text": "so sad", **sent})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["model"])


def test_a_request_names_its_model(two: Any, clip: bytes) -> None:
    from websockets.sync.client import connect

    server, _, _ = two
    listed = ask(server, "GET", "/v1/models").json()["data"]
    assert [(one["id"], one["model"]) for one in listed] == [("default", "one@1"), ("other", "two@1")]
    assert judged_by(server) == judged_by(server, model="default") == "one@1"
    assert judged_by(server, model="other") == "two@1"
    unknown = ask(server, "POST", "/v1/predict", json={"text": "x", "model": "othre"})
    assert unknown.status_code == 422
    assert "other" in unknown.json()["detail"]
    batch = {"clips": [{"text": "x"}, {"text": "y"}], "model": "other"}
    predictions = ask(server, "POST", "/v1/predict/batch", json=batch).json()["predictions"]
    assert [one["model"] for one in predictions] == ["two@1"] * 2
    assert ask(server, "POST", "/v1/predict/batch", json={**batch, "model": "x"}).status_code == 422
    form = ask(server, "POST", "/v1/predict", files={"file": ("a", clip)}, data={"model": "other"})
    assert form.json()["model"] == "two@1"
    with connect(server.url.replace("http", "ws") + "/v1/stream") as socket:
        socket.send(json.dumps({"rate": 16000, "token": "word", "model": "other"}))
        assert json.loads(socket.recv(10))["model"] == "two@1"
        socket.send(json.dumps({"type": "end"}))
        assert json.loads(list(socket)[-1])["prediction"]["model"] == "two@1"


def test_models_are_replaced_while_requests_go_on(two: Any) -> None:
    server, first, _ = two
    write(first, "one@2", loading=0.5)
    names: list[str] = []
    ended = threading.Event()

    def keep_asking() -> None:
        while not ended.is_set():
            names.append(judged_by(server))

    threads = [threading.Thread(target=keep_asking) for _ in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(0.2)
    assert ask(server, "POST", "/v1/models/reload").status_code == 403
    reloaded = ask(server, "POST", "/v1/models/reload", token="root-word")
    assert [one["model"] for one in reloaded.json()["data"]] == ["one@2", "two@1"]
    time.sleep(0.2)
    ended.set()
    for thread in threads:
        thread.join()
    assert set(names) == {"one@1", "one@2"}  # and every one was answered
    assert names == sorted(names) or names.index("one@2") > 4
    assert judged_by(server) == "one@2"


def test_a_signal_reloads_too_and_what_cannot_be_loaded_changes_nothing(two: Any) -> None:
    server, first, _ = two
    write(first, "one@3")
    server.process.send_signal(signal.SIGHUP)
    server.until(lambda: judged_by(server) == "one@3")
    first.write_text("{")
    server.process.send_signal(signal.SIGHUP)
    server.until(lambda: any("stay as they were" in line for line in server.lines))
    assert ask(server, "POST", "/v1/models/reload", token="root-word").status_code == 409
    assert judged_by(server) == "one@3"
    assert judged_by(server, model="other") == "two@1"


def test_the_model_before_answers_what_it_has_begun(two: Any) -> None:
    server, first, _ = two
    write(first, "one@slow", seconds=1.0)
    assert ask(server, "POST", "/v1/models/reload", token="root-word").status_code == 200
    slow: list[str] = []
    thread = threading.Thread(target=lambda: slow.append(judged_by(server)))
    thread.start()
    time.sleep(0.3)
    write(first, "one@fast")
    assert ask(server, "POST", "/v1/models/reload", token="root-word").status_code == 200
    began = time.monotonic()
    assert judged_by(server) == "one@fast"
    assert time.monotonic() - began < 0.6
    thread.join()
    assert slow == ["one@slow"]
