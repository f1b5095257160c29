"""Under load: batches, a full queue, streams, a decoder that dies, a shutdown that leaves nobody waiting."""

from __future__ import annotations

import asyncio
import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import pytest

from undertone.judging.clip import Clip, Transcript
from undertone.judging.fakes import FakeModel
from undertone.serving.server.batching import Batcher
from undertone.serving.server.metrics import Metrics

Start = Callable[..., Any]


@pytest.fixture
def started(start_server: Start) -> Iterator[Start]:
    """Servers that are stopped afterwards."""
    running = []

    def start(**settings: Any) -> Any:
        running.append(start_server(**settings))
        return running[-1]

    yield start
    for one in running:
        one.stop()
        one.process.stderr.close()


def test_clips_that_come_together_are_judged_together_and_each_gets_its_own_answer() -> None:
    async def run() -> None:
        model = FakeModel(seconds=0.02)
        batcher = Batcher(model, Metrics(), max_batch=8)
        batcher.start()
        clips = [Clip(str(n), np.full(1600, n / 100, np.float32)) for n in range(40)]
        answers = await asyncio.gather(*(batcher.predict([clip]) for clip in clips))
        await batcher.stop()
        assert [one.id for (one,) in answers] == [clip.id for clip in clips]
        assert max(model.batches) == 8
        assert len(model.batches) < 10
        alone = FakeModel()
        for clip, (answer,) in zip(clips, answers, strict=True):
            assert answer == alone.predict([clip])[0]

    asyncio.run(run())


def test_in_a_batch_one_clip_that_breaks_the_model_fails_alone() -> None:
    class Fragile(FakeModel):
        def predict(self, clips: Any, explain: bool = False) -> Any:
            if any(clip.text == "bad" for clip in clips):
                raise ValueError("bad")
            return super().predict(clips, explain)

    async def run() -> None:
        batcher = Batcher(Fragile(), Metrics(), max_batch=16)
        jobs = [
            asyncio.create_task(batcher.predict([Clip(t, words=Transcript(t))])) for t in ("a", "bad", "c")
        ]
        await asyncio.sleep(0)
        batcher.start()
        done = await asyncio.gather(*jobs, return_exceptions=True)
        await batcher.stop()
        assert [type(one) for one in done] == [list, ValueError, list]

    asyncio.run(run())


def test_a_long_request_lets_short_ones_between_its_windows() -> None:
    async def run() -> None:
        batcher = Batcher(FakeModel(seconds_each=0.002), Metrics(), max_batch=4)
        batcher.start()
        ended: list[str] = []

        async def ask(name: str, count: int) -> None:
            await batcher.predict([Clip(name, np.ones(10, np.float32))] * count)
            ended.append(name)

        await asyncio.gather(ask("long", 100), ask("short", 1))
        await batcher.stop()
        assert ended == ["short", "long"]

    asyncio.run(run())


def test_the_queue_overflows_with_503_and_loses_no_accepted_request(started: Start, clip: bytes) -> None:
    server = started(max_waiting=4, max_batch=1, model={"seconds": 0.1})

    def ask(_: int) -> httpx.Response:
        return httpx.post(f"{server.url}/v1/predict", files={"file": ("a.wav", clip)}, timeout=60)

    with ThreadPoolExecutor(24) as pool:
        answers = list(pool.map(ask, range(24)))
    statuses = [answer.status_code for answer in answers]
    assert set(statuses) == {200, 503}
    assert all(int(a.headers["retry-after"]) >= 1 for a in answers if a.status_code == 503)
    assert all(a.json()["label"] for a in answers if a.status_code == 200)
    assert ask(0).status_code == 200


def test_too_much_uploaded_at_once_is_refused_before_memory_ends(started: Start) -> None:
    server = started(max_bytes=2_000_000, max_buffered=3_000_000)
    slow = threading.Event()

    def body() -> Iterator[bytes]:
        yield b"x" * 1_900_000
        slow.wait(10)

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(httpx.post, f"{server.url}/v1/predict", content=body(), timeout=30)
        server.until(lambda: "under_way 1.0" in httpx.get(f"{server.url}/metrics").text)
        time.sleep(0.2)
        second = httpx.post(f"{server.url}/v1/predict", content=b"x" * 1_900_000, timeout=30)
        slow.set()
        assert second.status_code == 503
        assert second.headers["retry-after"]
        assert first.result().status_code == 415


def test_on_sigterm_every_accepted_request_is_answered(started: Start, clip: bytes) -> None:
    server = started(model={"seconds": 2.0})
    answers: list[int | str] = []

    def ask() -> None:
        try:
            with httpx.Client(timeout=60, verify=False) as client:
                answers.append(
                    client.post(f"{server.url}/v1/predict", files={"file": ("a.wav", clip)}).status_code
                )
        except httpx.TransportError as error:
            answers.append(type(error).__name__)  # never accepted: the port was closed already

    threads = [threading.Thread(target=ask) for _ in range(16)]
    for thread in threads:
        thread.start()
    with httpx.Client(verify=False) as watcher:
        server.until(lambda: "under_way 16.0" in watcher.get(f"{server.url}/metrics").text)
    server.process.send_signal(signal.SIGTERM)
    for thread in threads:
        thread.join(60)
    assert server.process.wait(30) in (0, -signal.SIGTERM)
    assert answers == [200] * 16
    posts = [line for line in server.requests if line["method"] == "POST"]
    assert [line["status"] for line in posts] == [200] * 16


def test_sigterm_amid_arrivals_answers_what_was_taken_and_refuses_the_rest(
    started: Start, clip: bytes
) -> None:
    server = started(model={"seconds": 0.01})
    answered: list[int] = []
    going = threading.Event()

    def keep_asking() -> None:
        while not going.is_set():
            try:
                answer = httpx.post(f"{server.url}/v1/predict", files={"file": ("a.wav", clip)}, timeout=30)
            except httpx.TransportError:
                return
            answered.append(answer.status_code)

    threads = [threading.Thread(target=keep_asking) for _ in range(6)]
    for thread in threads:
        thread.start()
    server.until(lambda: len(answered) > 20)
    server.process.send_signal(signal.SIGTERM)
    for thread in threads:
        thread.join(60)
    going.set()
    server.process.wait(30)
    logged = [line["status"] for line in server.requests if line["method"] == "POST"]
    assert set(logged) == {200}
    assert len(answered) == len(logged)


def test_a_request_that_takes_too_long_is_answered_all_the_same(started: Start) -> None:
    server = started(request_seconds=0.3, model={"seconds": 1.0})
    answer = httpx.post(f"{server.url}/v1/predict", json={"text": "x"})
    assert answer.status_code == 503
    assert answer.headers["retry-after"]


def test_a_decoder_that_is_killed_is_replaced(started: Start, clip: bytes) -> None:
    import psutil

    server = started()
    for _ in range(3):
        for child in psutil.Process(server.process.pid).children():
            child.kill()
            child.wait(10)
        time.sleep(0.1)
        answer = httpx.post(f"{server.url}/v1/predict", files={"file": ("a.wav", clip)}, timeout=60)
        assert answer.status_code == 200


def test_a_decoder_without_memory_or_time_refuses_and_the_server_goes_on(
    started: Start, clip: bytes, make_wav: Callable[..., bytes]
) -> None:
    server = started(decode_memory=30_000_000, max_bytes=10_000_000)
    big = make_wav(np.zeros(4_000_000, np.float32))
    refused = httpx.post(f"{server.url}/v1/predict", files={"file": ("big.wav", big)}, timeout=60)
    assert refused.status_code == 422
    assert httpx.post(f"{server.url}/v1/predict", files={"file": ("a.wav", clip)}).status_code == 200


def test_recordings_longer_than_allowed_are_refused_by_their_header(
    started: Start, make_wav: Callable[..., bytes]
) -> None:
    server = started(max_seconds=2.0)
    answer = httpx.post(f"{server.url}/v1/predict", files={"file": ("a.wav", make_wav(np.zeros(48_000)))})
    assert answer.status_code == 422
    assert "longer" in answer.json()["detail"]


def test_nothing_is_written_to_disk(start_server: Start, make_wav: Callable[..., bytes]) -> None:
    """The system forbids the server to write files at all; pipes are none."""
    server = start_server({"RLIMIT_FSIZE": 0})
    try:
        sound = make_wav(np.zeros((300_000, 4), np.float32), 48_000)  # what a form parser would spool to disk
        answer = httpx.post(f"{server.url}/v1/predict", files={"file": ("a.wav", sound)}, timeout=60)
        assert len(sound) > 2_000_000
        assert answer.status_code == 200
        more = httpx.post(
            f"{server.url}/v1/predict/batch", files=[("file", ("a.wav", sound))] * 3, timeout=60
        )
        assert more.status_code == 200
    finally:
        server.stop()
        server.process.stderr.close()


# ---- streams ----------------------------------------------------------------------------------------


def converse(url: str, hello: dict[str, Any] | None, wave: np.ndarray, chunk: int) -> list[dict[str, Any]]:
    """Everything the stream says."""
    from websockets.sync.client import connect

    heard: list[dict[str, Any]] = []
    with connect(url.replace("http", "ws") + "/v1/stream", max_size=None) as socket:
        if hello is not None:
            socket.send(json.dumps(hello))
            heard.append(json.loads(socket.recv(10)))
        reader = threading.Thread(target=lambda: heard.extend(json.loads(message) for message in socket))
        reader.start()
        samples = np.round(wave * 32767).astype("<i2").tobytes()
        for at in range(0, len(samples), chunk):
            socket.send(samples[at : at + chunk])
        socket.send(json.dumps({"type": "end"}))
        reader.join(60)
    return heard


@pytest.fixture(scope="module")
def talk(real_data: Any) -> np.ndarray:
    """Twenty seconds of real speech with pauses."""
    import soundfile

    clips = sorted((real_data / "ravdess").rglob("*.flac"))[:200:33]
    return np.concatenate([soundfile.read(path, dtype="float32")[0] for path in clips])


def test_a_stream_says_what_the_whole_file_would(
    server: Any, client: httpx.Client, talk: np.ndarray, make_wav: Callable[..., bytes]
) -> None:
    heard = converse(
        server.url, {"rate": 16000, "id": "talk"}, talk, chunk=6_401
    )  # odd: samples split in two
    assert heard[0]["type"] == "ready"
    assert heard[-1]["type"] == "final"
    streamed = [cell for message in heard[1:-1] for cell in message["segments"]]
    offline = client.post("/v1/predict", files={"file": ("talk", make_wav(talk))}).json()["segments"]
    assert [(c["start"], c["end"], c["label"]) for c in streamed] == [
        (c["start"], c["end"], c["label"]) for c in offline
    ]
    for one, other in zip(streamed, offline, strict=True):
        for label, share in one["probabilities"].items():
            assert share == pytest.approx(other["probabilities"][label], abs=1e-3)
    assert heard[-1]["prediction"]["segments"] == streamed
    late = [m["at"] - cell["end"] for m in heard[1:-1] for cell in m["segments"]]
    print(f"stated latency {heard[0]['latency']} s, measured at most {max(late):.2f} s")
    assert max(late) <= heard[0]["latency"] + 0.2 + 0.032  # a chunk, and a step of the detector


def test_a_stream_at_another_rate_says_nearly_the_same(server: Any, talk: np.ndarray) -> None:
    import soxr

    plain = converse(server.url, {"rate": 16000}, talk, 3_200)[-1]["prediction"]
    other = converse(server.url, {"rate": 44100}, soxr.resample(talk, 16000, 44100), 8_820)[-1]["prediction"]
    assert len(plain["segments"]) == len(other["segments"])
    for one, two in zip(plain["segments"], other["segments"], strict=True):
        assert one["start"] == pytest.approx(two["start"], abs=0.07)


def _say_and_listen(socket: Any, messages: tuple[str | bytes, ...]) -> None:
    for message in messages:
        socket.send(message)
    while True:
        socket.recv(10)


def closed(url: str, *messages: str | bytes) -> tuple[int, str]:
    """With which code and word a stream ends."""
    from websockets.exceptions import ConnectionClosed
    from websockets.sync.client import connect

    with connect(url.replace("http", "ws") + "/v1/stream") as socket:
        with pytest.raises(ConnectionClosed) as end:
            _say_and_listen(socket, messages)
        assert end.value.rcvd is not None
        return end.value.rcvd.code, end.value.rcvd.reason


def test_streams_that_do_not_keep_to_the_rules_are_closed(started: Start) -> None:
    server = started(token="secret", max_seconds=1.0, idle_seconds=0.5)
    good = json.dumps({"rate": 16000, "token": "secret"})
    assert closed(server.url, json.dumps({"rate": 16000}))[0] == 1008
    assert closed(server.url, json.dumps({"rate": 16000, "token": "wrong"}))[0] == 1008
    assert closed(server.url, b"\0\0")[0] == 1007
    assert closed(server.url, json.dumps({"rate": 1, "token": "secret"}))[0] == 1007
    assert closed(server.url, good, "surprise")[0] == 1007
    assert closed(server.url, good, bytes(64_000))[0] == 1009
    assert closed(server.url, good)[0] == 1008
    assert "secret" not in "".join(server.lines)


def test_streams_from_other_sites_are_not_opened(server: Any) -> None:
    from websockets.exceptions import InvalidStatus
    from websockets.sync.client import connect

    for headers in ({"origin": "https://evil.test"}, {"origin": "null"}):
        with (
            pytest.raises(InvalidStatus) as refused,
            connect(server.url.replace("http", "ws") + "/v1/stream", additional_headers=headers),
        ):
            pass
        assert refused.value.response.status_code == 403


def test_a_client_that_hangs_up_in_its_stream_harms_nobody(server: Any, client: httpx.Client) -> None:
    from websockets.sync.client import connect

    for _ in range(10):
        with connect(server.url.replace("http", "ws") + "/v1/stream") as socket:
            socket.send(json.dumps({"rate": 16000}))
            socket.recv(10)
            socket.send(bytes(32_000))
            socket.socket.shutdown(2)  # without a word
    server.until(lambda: "undertone_streams 0.0" in client.get("/metrics").text)
    assert client.get("/readyz").status_code == 200


def test_more_streams_than_allowed_are_told_to_come_back(started: Start) -> None:
    from websockets.sync.client import connect

    server = started(max_streams=1)
    with connect(server.url.replace("http", "ws") + "/v1/stream") as first:
        first.send(json.dumps({"rate": 16000}))
        first.recv(10)
        assert closed(server.url, json.dumps({"rate": 16000}))[0] == 1013
