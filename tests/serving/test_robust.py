"""What once held the server up, or let strangers keep others out; loads are small, and on loopback."""

from __future__ import annotations

import json
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
import psutil
import pytest

Start = Callable[..., Any]
CLIENT = httpx.Client(timeout=60)


@pytest.fixture
def started(start_server: Start) -> Iterator[Start]:
    """Servers that are stopped afterwards."""
    running = []

    def start(limits: dict[str, int] | None = None, **settings: Any) -> Any:
        running.append(start_server(limits, **settings))
        return running[-1]

    yield start
    for one in running:
        one.stop()
        one.process.stderr.close()


class Beside:
    """Asks for something short again and again; ``longest`` is the longest wait."""

    def __init__(self, ask: Callable[[], httpx.Response]) -> None:
        self._ask, self._ended = ask, threading.Event()
        self.waits: list[float] = []
        self.statuses: set[int] = set()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._ended.is_set():
            began = time.monotonic()
            self.statuses.add(self._ask().status_code)
            self.waits.append(time.monotonic() - began)
            time.sleep(0.02)

    def __enter__(self) -> Beside:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()


class Memory:
    """The most memory of a server beyond what it had."""

    def __init__(self, running: Any) -> None:
        self._process, self._ended = psutil.Process(running.process.pid), threading.Event()
        self._before = self.most = self._process.memory_info().rss
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._ended.wait(0.01):
            self.most = max(self.most, self._process.memory_info().rss)

    def __enter__(self) -> Memory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    @property
    def more(self) -> float:
        """In MB."""
        return (self.most - self._before) / 1e6


def post(server: Any, sound: bytes, **more: Any) -> httpx.Response:
    return CLIENT.post(f"{server.url}/v1/predict", files={"file": ("a.wav", sound)}, **more)


def address(server: Any) -> tuple[str, int]:
    where = urlsplit(server.url)
    assert where.hostname and where.port
    return where.hostname, where.port


def until(true: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def read_all(wire: Any, answers: list[Any] | None = None) -> None:
    """A stream's messages until it is closed, which is an exception."""
    while True:
        message = json.loads(wire.recv(10))
        if answers is not None:
            answers.append(message)


# ---- bodies ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b'{"clips": [' + b"1, " * 3_000_000 + b"1]}",
        b'{"clips": [' + b"[], " * 2_000_000 + b"[]]}",
        b'{"clips": ' + b"[" * 5_000_000,
        b'{"clips": ["' + b'\\"' * 4_000_000,
        b'{"clips": [{"abstain": ' + b"1" * 8_000_000 + b"}]}",
        b'{"clips": [' + b'"",' * 2_000_000 + b'""]}',
    ],
    ids=["numbers", "lists", "depth", "quotes", "digits", "strings"],
)
def test_a_json_text_of_millions_of_values_holds_nobody_up(server: Any, clip: bytes, body: bytes) -> None:
    post(server, clip)
    json_kind = {"content-type": "application/json"}
    with Memory(server) as memory, Beside(lambda: post(server, clip)) as beside:
        time.sleep(0.1)
        began = time.monotonic()
        answer = httpx.post(f"{server.url}/v1/predict/batch", content=body, headers=json_kind, timeout=60)
        took = time.monotonic() - began
    waited = max(beside.waits)
    print(f"{answer.status_code} after {took:.2f} s, others {waited:.2f} s, {memory.more:.0f} MB more")
    assert answer.status_code in (413, 422)
    assert took < 3
    assert beside.statuses == {200}
    assert max(beside.waits) < 1.0
    assert memory.more < 50 + 2 * len(body) / 1e6


def test_many_long_recordings_are_decoded_in_turn_and_a_short_one_comes_between(
    started: Start, make_wav: Callable[..., bytes], clip: bytes
) -> None:
    server = started(max_total_seconds=600.0)
    silent = make_wav(np.zeros(180 * 16000, np.float32), form="FLAC")
    assert len(silent) < 50_000
    post(server, clip)
    before = server.memory
    files = [("file", (f"{n}.flac", silent)) for n in range(12)]
    with ThreadPoolExecutor(1) as pool, Memory(server) as memory:
        batch = pool.submit(CLIENT.post, f"{server.url}/v1/predict/batch", files=files)
        with Beside(lambda: post(server, clip)) as beside:
            answer = batch.result()
    predictions = answer.json()["predictions"]
    print(f"{max(beside.waits):.2f} s, {memory.more:.0f} MB more, {before / 1e6:.0f} before")
    assert beside.statuses == {200}
    assert max(beside.waits) < 1.0
    assert memory.more < 150
    assert [one.get("error") is None for one in predictions] == [True] * 3 + [False] * 9
    assert "allowed" in predictions[-1]["error"]


# ---- connections -------------------------------------------------------------------------------------


def test_headers_longer_than_64_kb_are_refused_before_they_are_kept(started: Start) -> None:
    server = started(token="secret")
    with Memory(server) as memory, socket.create_connection(address(server), timeout=10) as wire:
        wire.sendall(b"GET /v1/model HTTP/1.1\r\nhost: localhost\r\n")
        sent = 0
        line = b"x-filler: " + b"y" * 8_000 + b"\r\n"
        with suppress(OSError):
            while sent < 60_000_000:
                wire.sendall(line)
                sent += len(line)
    print(f"{sent} bytes were taken, {memory.more:.1f} MB more")
    assert sent < 20_000_000
    assert memory.more < 10


def test_what_is_no_http_is_refused_as_json_with_the_headers_of_all_answers(server: Any) -> None:
    lines = [
        (b"nonsense\r\n\r\n", b" 400 "),
        (b"GET / HTTP/1.1\r\nbad header\r\n\r\n", b" 400 "),
        (b"GET / HTTP/1.1\r\nhost: localhost\r\nx: " + b"y" * 90_000 + b"\r\n\r\n", b" 431 "),
    ]
    for text, status in lines:
        with socket.create_connection(address(server), timeout=10) as wire:
            wire.sendall(text)
            answer = b""
            with suppress(ConnectionResetError):
                while part := wire.recv(65536):
                    answer += part
        head, _, body = answer.partition(b"\r\n\r\n")
        assert status in head.splitlines()[0]
        assert json.loads(body)["detail"]
        for name in (b"content-security-policy", b"x-content-type-options", b"x-frame-options"):
            assert name in head.lower()


def test_idle_connections_keep_nobody_out_and_end(started: Start) -> None:
    server = started(max_connections=40, head_seconds=1.0)
    with ExitStack() as held:
        wires = [held.enter_context(socket.create_connection(address(server), timeout=5)) for _ in range(150)]
        began = time.monotonic()
        with httpx.Client(timeout=5) as client:
            assert client.get(f"{server.url}/v1/model").status_code == 200
        assert time.monotonic() - began < 1.0
        for wire in wires[-30:]:
            with suppress(ConnectionResetError):
                assert wire.recv(1) == b""
        assert time.monotonic() - began < 3.0


def test_headers_that_come_drop_by_drop_are_cut_off(started: Start) -> None:
    server = started(head_seconds=0.5)
    for first in (
        b"",
        b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n",
    ):  # as the first request, and later
        with socket.create_connection(address(server), timeout=5) as wire:
            if first:
                wire.sendall(first)
                assert b" 200 " in wire.recv(65536)
            began = time.monotonic()
            with suppress(OSError):
                for letter in b"GET /healthz HTTP/1.1\r\nx: " + b"y" * 100:
                    wire.sendall(bytes([letter]))
                    time.sleep(0.05)
            assert time.monotonic() - began < 2.0


def test_sockets_without_a_first_message_take_no_stream_from_others(started: Start) -> None:
    from websockets.exceptions import ConnectionClosed
    from websockets.sync.client import connect

    server = started(max_streams=2, token="secret", head_seconds=1.0)
    url = server.url.replace("http", "ws") + "/v1/stream"
    with ExitStack() as held:
        silent = [held.enter_context(connect(url)) for _ in range(10)]
        for _ in range(2):
            socket = held.enter_context(connect(url))
            socket.send(json.dumps({"rate": 16000, "token": "secret"}))
            assert json.loads(socket.recv(10))["type"] == "ready"
        for one in silent:
            with pytest.raises(ConnectionClosed):
                read_all(one)


def test_a_crowd_of_silent_sockets_ends_the_oldest_not_the_newest(started: Start) -> None:
    from websockets.exceptions import ConnectionClosed
    from websockets.sync.client import connect

    from undertone.serving.server.stream import MOST_SILENT

    server = started(token="secret", head_seconds=30.0)
    url = server.url.replace("http", "ws") + "/v1/stream"
    with ExitStack() as held:
        silent = [held.enter_context(connect(url)) for _ in range(MOST_SILENT + 3)]
        talks = held.enter_context(connect(url))
        talks.send(json.dumps({"rate": 16000, "token": "secret"}))
        assert json.loads(talks.recv(10))["type"] == "ready"
        with pytest.raises(ConnectionClosed) as end:
            read_all(silent[0])
        assert end.value.rcvd is not None and end.value.rcvd.code == 1013


# ---- clients that leave, decoders that die -----------------------------------------------------------


def test_work_ends_soon_after_its_client_has_left(started: Start, make_wav: Callable[..., bytes]) -> None:
    server = started(model={"seconds": 0.3}, max_batch=1)
    silent = make_wav(np.zeros(600 * 16000, np.float32), form="FLAC")  # five seconds of looking for speech
    sounds = httpx.Request("POST", server.url, files=[("file", ("a.flac", silent))] * 3)
    texts = httpx.Request("POST", server.url, json={"clips": [{"text": "so sad"}] * 60})  # 18 s of the model
    for request in (sounds, texts):
        head = b"".join(name + b": " + value + b"\r\n" for name, value in request.headers.raw)
        with socket.create_connection(address(server)) as wire:
            wire.sendall(b"POST /v1/predict/batch HTTP/1.1\r\n" + head + b"\r\n" + request.read())
            until(lambda: under_way(server) == 1)
            time.sleep(0.8)
            assert under_way(server) == 1
        began = time.monotonic()
        until(lambda: under_way(server) == 0)
        until(lambda: busy(server) < 0.3)
        took = time.monotonic() - began
        print(f"ended {took:.2f} s later")
        assert took < 2.0
        began = time.monotonic()
        assert CLIENT.post(f"{server.url}/v1/predict", json={"text": "x"}).status_code == 200
        assert time.monotonic() - began < 1.0
    server.until(lambda: sum(line["method"] == "POST" for line in server.requests) == 4)
    assert [line["status"] for line in server.requests if line["method"] == "POST"] == [499, 200, 499, 200]


def under_way(server: Any) -> int:
    text = CLIENT.get(f"{server.url}/metrics").text
    return int(float(text.partition("\nundertone_requests_under_way ")[2].split()[0]))


def busy(server: Any) -> float:
    """What share of a processor the server and its decoders use now."""
    me = psutil.Process(server.process.pid)
    family = [me, *me.children(recursive=True)]

    def used() -> float:
        return sum(sum(one.cpu_times()[:2]) for one in family if one.is_running())

    before = used()
    time.sleep(0.2)
    return (used() - before) / 0.2


def stopped_decoder(server: Any) -> psutil.Process:
    """The decoding process, which does not go on: what it gets stays in its pipe."""
    until(lambda: bool(psutil.Process(server.process.pid).children()))
    (child,) = psutil.Process(server.process.pid).children()
    child.suspend()
    return child


def test_a_decoder_that_is_killed_amid_a_request_is_tried_once_more_then_503(
    started: Start, clip: bytes
) -> None:
    server = started(decoders=1)
    with ThreadPoolExecutor(1) as pool:
        child = stopped_decoder(server)
        asked = pool.submit(post, server, clip)
        time.sleep(0.3)
        child.kill()
        assert asked.result().status_code == 200

        child = stopped_decoder(server)
        asked = pool.submit(post, server, clip)
        time.sleep(0.3)
        child.kill()
        until(lambda: kill_again(server, child.pid))
        answer = asked.result()
        assert answer.status_code == 503
        assert answer.headers["retry-after"]
    assert post(server, clip).status_code == 200


def kill_again(server: Any, first: int) -> bool:
    """Whether the process that came after was killed too."""
    for child in psutil.Process(server.process.pid).children():
        if child.pid != first:
            child.kill()
            return True
    return False


# ---- streams -----------------------------------------------------------------------------------------


def test_finals_of_streams_are_what_uploads_give(server: Any, make_wav: Callable[..., bytes]) -> None:
    from websockets.sync.client import connect

    drawn = np.random.default_rng(3)
    for n in range(40):
        rate = (16000, 8000, 44100, 48000)[n % 4]
        wave = drawn.normal(0, 0.05, round(rate * drawn.uniform(0.3, 3.0))).astype(np.float32)
        wave *= np.linspace(0, 1, len(wave), dtype=np.float32)
        whole = np.round(wave * 32768).astype("<i2")
        sent, kind = (wave, "f32") if n % 2 else (whole, "s16")
        file = make_wav(wave, rate, "FLOAT") if n % 2 else make_wav(whole, rate)
        offline = post(server, file).json()
        with connect(server.url.replace("http", "ws") + "/v1/stream") as socket:
            socket.send(json.dumps({"rate": rate, "format": kind}))
            data, size = sent.tobytes(), int(drawn.integers(1_001, 9_001))
            for at in range(0, len(data), size):
                socket.send(data[at : at + size])
            socket.send(json.dumps({"type": "end"}))
            answers = [json.loads(message) for message in socket]
        final = answers[-1]["prediction"]
        assert final["label"] == offline["label"]
        for label, share in offline["probabilities"].items():
            assert final["probabilities"][label] == pytest.approx(share, abs=1e-3)


def test_on_sigterm_a_stream_gets_its_final(started: Start) -> None:
    from websockets.exceptions import ConnectionClosed
    from websockets.sync.client import connect

    server = started(drain_seconds=0.5)
    answers: list[dict[str, Any]] = []
    with connect(server.url.replace("http", "ws") + "/v1/stream") as socket:
        socket.send(json.dumps({"rate": 16000, "id": "talk"}))
        answers.append(json.loads(socket.recv(10)))
        socket.send((np.full(32_000, 0.1) * 32767).astype("<i2").tobytes())
        server.process.send_signal(signal.SIGTERM)
        until(lambda: CLIENT.get(f"{server.url}/readyz").status_code == 503)  # the port is still open
        with pytest.raises(ConnectionClosed) as end:
            read_all(socket, answers)
        assert end.value.rcvd is not None
        assert end.value.rcvd.code == 1001
    assert answers[-1]["type"] == "final"
    assert answers[-1]["prediction"]["id"] == "talk"
    assert server.process.wait(20) in (0, -signal.SIGTERM)
    assert [line["event"] for line in server.events if line["event"] in ("start", "stop")] == [
        "start",
        "stop",
    ]


def test_streams_are_in_the_log_and_in_the_metrics(started: Start) -> None:
    from websockets.exceptions import InvalidStatus
    from websockets.sync.client import connect

    server = started(token="secret")
    url = server.url.replace("http", "ws") + "/v1/stream"
    headers = {"authorization": "Bearer secret", "x-request-id": "call-7"}
    with connect(url, additional_headers=headers) as socket:
        assert socket.response is not None
        assert socket.response.headers["x-request-id"] == "call-7"
        socket.send(json.dumps({"rate": 16000}))  # the header has the token
        socket.send(bytes(32_000))
        socket.send(json.dumps({"type": "end"}))
        assert json.loads(list(socket)[-1])["type"] == "final"
    with pytest.raises(InvalidStatus), connect(url, additional_headers={"authorization": "Bearer wrong"}):
        pass
    server.until(lambda: len(server.requests) >= 2)
    opened = [line for line in server.events if line["event"] == "open"]
    assert [line["request"] for line in opened] == ["call-7"]
    line = next(line for line in server.requests if line["request"] == "call-7")
    assert (line["method"], line["path"], line["status"], line["audio_s"]) == ("WS", "/v1/stream", 1000, 1.0)
    assert line["bytes"] >= 32_000
    text = CLIENT.get(f"{server.url}/metrics", headers={"authorization": "Bearer secret"}).text
    assert 'undertone_requests_total{method="WS",route="/v1/stream",status="1000"} 1.0' in text


# ---- who calls ---------------------------------------------------------------------------------------


def test_lines_of_the_log_name_time_client_and_the_callers_own_id(server: Any, client: httpx.Client) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    for headers, known in (
        ({"x-request-id": "abc-1"}, "abc-1"),
        ({"traceparent": trace}, "0af7651916cd43dd8448eb211c80319c"),
        ({"x-request-id": "abc-2", "traceparent": trace}, "abc-2"),
    ):
        answer = client.get("/v1/model", headers=headers)
        assert answer.headers["x-request-id"] == known
        assert answer.headers.get("traceparent") == headers.get("traceparent")
        server.until(lambda known=known: server.requests[-1]["request"] == known)
        assert server.requests[-1]["client"] == "127.0.0.1"
        assert str(server.requests[-1]["time"]).endswith("Z")
    for bad in ("a b", "x" * 200, '"}', ""):
        assert client.get("/v1/model", headers={"x-request-id": bad}).headers["x-request-id"] != bad
    bad = trace.replace("0af7651916cd43dd8448eb211c80319c", "0" * 32)
    assert "traceparent" not in client.get("/v1/model", headers={"traceparent": bad}).headers


def test_tokens_with_names_have_rates_and_are_replaced_while_it_runs(started: Start, tmp_path: Any) -> None:
    file = tmp_path / "tokens"
    file.write_text("# callers\nanna:first-token\nbert:second-token 2\n")
    server = started(token_file=str(file), token="own-token")

    def ask(token: str) -> httpx.Response:
        return CLIENT.get(f"{server.url}/v1/model", headers={"authorization": f"Bearer {token}"})

    assert [ask("second-token").status_code for _ in range(3)] == [200, 200, 429]
    assert int(ask("second-token").headers["retry-after"]) >= 1
    assert [ask("first-token").status_code for _ in range(5)] == [200] * 5
    server.until(lambda: server.requests[-1]["caller"] == "anna")
    file.write_text("anna:third-token\n")
    until(lambda: ask("third-token").status_code == 200)
    assert ask("first-token").status_code == 401
    assert ask("own-token").status_code == 200
    file.write_text("anna")  # half written: the tokens stay
    time.sleep(1.2)
    assert [ask(token).status_code for token in ("anna", "third-token")] == [401, 200]
    file.write_text("no colon\nhere\n")
    time.sleep(1.2)
    assert [ask(token).status_code for token in ("here", "third-token")] == [401, 200]
    everything = "".join(server.lines)
    assert "first-token" not in everything and "third-token" not in everything


def test_a_token_with_a_line_end_is_the_token(started: Start) -> None:
    server = started(token="secret\n")
    headers = {"authorization": "Bearer secret"}
    assert CLIENT.get(f"{server.url}/v1/model", headers=headers).status_code == 200


def test_a_busy_port_is_named_as_such(server: Any) -> None:
    from undertone.errors import ConfigError
    from undertone.serving.server.run import listen

    host, port = address(server)
    with pytest.raises(ConfigError, match=f"{host}:{port}: .*in use"):
        listen(host, port)
    for one in listen("localhost", 0):
        assert one.getsockname()[1] > 0
        one.close()
