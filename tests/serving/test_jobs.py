"""Long jobs: done while nobody waits, taken up after a kill, bound to listed places."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from undertone.errors import ConfigError
from undertone.judging.fakes import FakeModel
from undertone.serving.server import fetching
from undertone.serving.server.fetching import RemoteRefused, fetch, is_allowed, is_public, signature
from undertone.serving.server.settings import ServerSettings

Start = Callable[..., Any]
CLIENT = httpx.Client(timeout=30)
WAV = {"content-type": "audio/wav"}


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


@pytest.fixture(scope="module")
def long(make_wav: Callable[..., bytes]) -> bytes:
    """Two minutes, nearly all silence."""
    wave = np.zeros(120 * 16000, np.float32)
    wave[: 3 * 16000] = 0.1 * np.sin(np.arange(3 * 16000) / 12)
    return make_wav(wave, form="FLAC")


def hand_in(server: Any, data: bytes, **query: str) -> dict[str, Any]:
    answer = CLIENT.post(f"{server.url}/v1/jobs", content=data, headers=WAV, params=query)
    assert answer.status_code == 202, answer.text
    assert answer.headers["location"] == f"/v1/jobs/{answer.json()['id']}"
    return dict(answer.json())


def until_over(server: Any, job: str, seconds: float = 30.0) -> dict[str, Any]:
    deadline = time.monotonic() + seconds
    while True:
        state = CLIENT.get(f"{server.url}/v1/jobs/{job}").json()
        if state["status"] in ("done", "failed"):
            return dict(state)
        assert 0 <= state["progress"] <= 1
        assert time.monotonic() < deadline, state
        time.sleep(0.05)


def test_a_job_gives_what_a_request_gives(started: Start, tmp_path: Path, long: bytes) -> None:
    server = started(job_folder=str(tmp_path))
    job = hand_in(server, long, id="call", text="so sad")
    early = CLIENT.get(f"{server.url}/v1/jobs/{job['id']}/result")
    assert early.status_code in (200, 409)
    state = until_over(server, job["id"])
    assert (state["status"], state["progress"]) == ("done", 1.0)
    result = CLIENT.get(f"{server.url}/v1/jobs/{job['id']}/result")
    sent = {"content": long, "headers": WAV, "params": {"id": "call", "text": "so sad"}}
    assert result.json() == CLIENT.post(f"{server.url}/v1/predict", **sent).json()
    assert not (tmp_path / job["id"] / "sound").exists()  # nothing is kept longer than needed
    bad = hand_in(server, b"nonsense")
    assert until_over(server, bad["id"])["status"] == "failed"
    assert CLIENT.get(f"{server.url}/v1/jobs/{bad['id']}/result").status_code == 422
    assert CLIENT.get(f"{server.url}/v1/jobs/none").status_code == 404


def test_a_caller_lists_its_own_jobs_the_newest_first(started: Start, tmp_path: Path, clip: bytes) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("anna:word\nben:other\n")
    server = started(job_folder=str(tmp_path / "jobs"), token_file=str(tokens))
    anna, ben = ({"authorization": f"Bearer {word}"} for word in ("word", "other"))

    def listed(caller: dict[str, str], **query: Any) -> httpx.Response:
        return CLIENT.get(f"{server.url}/v1/jobs", headers=caller, params=query)

    assert listed(anna).json() == {"object": "list", "data": [], "more": False}
    for name, caller in (("a", anna), ("b", ben), ("c", anna)):
        sent = {"content": clip, "headers": {**WAV, **caller}, "params": {"id": name}}
        assert CLIENT.post(f"{server.url}/v1/jobs", **sent).status_code == 202
    assert [one["name"] for one in listed(anna).json()["data"]] == ["c", "a"]
    assert [one["name"] for one in listed(ben).json()["data"]] == ["b"]
    newest = listed(anna, limit=1).json()
    assert [one["name"] for one in newest["data"]] == ["c"] and newest["more"]
    assert newest["data"][0]["status"] in ("waiting", "running", "done")
    for limit in ("0", "1001", "x", "-1"):
        assert listed(anna, limit=limit).status_code == 422
    assert listed({}).status_code == 401


def test_a_job_is_never_whole_in_memory(
    started: Start, tmp_path: Path, clip: bytes, make_tone: Callable[..., np.ndarray]
) -> None:
    """Ten minutes are 38 MB at 16 kHz; two channels apart are twice that, and decoding held them thrice."""
    import soundfile

    sound = tmp_path / "long.flac"
    wave = np.zeros((60 * 16000, 2), np.float32)
    wave[:32000] = make_tone(2.0)[:, None] * [1.0, -0.5]
    with soundfile.SoundFile(sound, "w", 16000, 2, format="FLAC", subtype="PCM_16") as file:
        for _ in range(10):
            file.write(wave)
    server = started(job_folder=str(tmp_path / "jobs"))
    until_over(server, hand_in(server, clip)["id"])
    before, most = server.memory, 0
    for channels in ("mix", "split"):
        job = hand_in(server, sound.read_bytes(), channels=channels)["id"]
        deadline = time.monotonic() + 200
        while (state := CLIENT.get(f"{server.url}/v1/jobs/{job}").json())["status"] in ("waiting", "running"):
            most = max(most, server.memory)
            assert time.monotonic() < deadline, state
            time.sleep(0.02)
        assert state["status"] == "done", state
        answer = CLIENT.get(f"{server.url}/v1/jobs/{job}/result").json()
        assert answer["evidence"]["seconds"] == pytest.approx(600)
        assert len(answer["turns"]) >= 7
    print(f"{(most - before) / 2**20:.0f} MB more")
    assert most - before < 30 * 2**20


def test_a_decoder_that_is_killed_in_a_job_is_replaced(started: Start, tmp_path: Path, long: bytes) -> None:
    import psutil

    server = started(job_folder=str(tmp_path), model={"seconds": 0.3}, decoders=1)
    job = hand_in(server, long, id="call")["id"]
    deadline = time.monotonic() + 20
    while CLIENT.get(f"{server.url}/v1/jobs/{job}").json()["status"] != "running":
        assert time.monotonic() < deadline
    for child in psutil.Process(server.process.pid).children():
        child.kill()
    assert until_over(server, job)["status"] == "done"
    assert CLIENT.get(f"{server.url}/v1/jobs/{job}/result").json()["id"] == "call"


def test_delete_cancels_what_runs_and_what_waits(started: Start, tmp_path: Path, long: bytes) -> None:
    server = started(job_folder=str(tmp_path), model={"seconds": 60.0})
    running, waiting = hand_in(server, long)["id"], hand_in(server, long)["id"]
    deadline = time.monotonic() + 10
    while CLIENT.get(f"{server.url}/v1/jobs/{running}").json()["status"] != "running":
        assert time.monotonic() < deadline
    began = time.monotonic()
    for job in (waiting, running):
        assert CLIENT.delete(f"{server.url}/v1/jobs/{job}").status_code == 204
        assert CLIENT.get(f"{server.url}/v1/jobs/{job}").status_code == 404
    assert time.monotonic() - began < 2.0
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]
    server.process.kill()  # its model sleeps on


def test_after_a_kill_no_job_is_lost_and_none_is_done_twice(
    started: Start, tmp_path: Path, long: bytes
) -> None:
    first = started(job_folder=str(tmp_path), model={"seconds": 0.5})
    jobs = [hand_in(first, long, id=str(n))["id"] for n in range(4)]
    until_over(first, jobs[0])
    (tmp_path / ".new-half").mkdir()  # an upload that was under way
    first.process.kill()
    first.process.wait(10)
    done = {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in tmp_path.glob("*/result.json")}
    assert 1 <= len(done) < 4
    second = started(job_folder=str(tmp_path))
    for n, job in enumerate(jobs):
        assert until_over(second, job)["status"] == "done"
        assert CLIENT.get(f"{second.url}/v1/jobs/{job}/result").json()["id"] == str(n)
    assert len(list(tmp_path.glob("*/result.json"))) == 4
    assert all((path.stat().st_mtime_ns, path.stat().st_ino) == known for path, known in done.items())
    assert not (tmp_path / ".new-half").exists()


def test_a_job_that_ends_its_server_again_and_again_is_given_up(
    started: Start, tmp_path: Path, long: bytes
) -> None:
    for _ in range(3):
        server = started(job_folder=str(tmp_path), model={"seconds": 60.0})
        job = [path.name for path in tmp_path.iterdir() if path.is_dir()] or [hand_in(server, long)["id"]]
        deadline = time.monotonic() + 10
        while CLIENT.get(f"{server.url}/v1/jobs/{job[0]}").json()["status"] != "running":
            assert time.monotonic() < deadline
        server.process.kill()
        server.process.wait(10)
    state = until_over(started(job_folder=str(tmp_path)), job[0])
    assert state["status"] == "failed"
    assert "3 times" in state["error"]


def test_jobs_are_bounded_and_belong_to_their_caller(started: Start, tmp_path: Path, long: bytes) -> None:
    (tmp_path / "tokens").write_text("anna:one\nbert:two\n")
    server = started(
        job_folder=str(tmp_path / "jobs"),
        token_file=str(tmp_path / "tokens"),
        max_job_bytes=100_000,
        max_jobs=1,
        job_kept_seconds=2.0,
        model={"seconds": 0.5},
    )

    def ask(method: str, path: str, token: str, **sent: Any) -> httpx.Response:
        headers = {"authorization": f"Bearer {token}", **WAV}
        return CLIENT.request(method, f"{server.url}/v1/jobs{path}", headers=headers, **sent)

    assert ask("POST", "", "none", content=long).status_code == 401
    assert ask("POST", "", "one", content=bytes(200_000)).status_code == 413
    assert ask("POST", "", "one", content=iter([bytes(60_000)] * 3)).status_code == 413
    assert ask("POST", "", "one", content=long, params={"surprise": "1"}).status_code == 422
    job = ask("POST", "", "one", content=long).json()["id"]
    assert ask("POST", "", "one", content=long).status_code == 503
    assert ask("GET", f"/{job}", "one").status_code == 200
    assert ask("GET", f"/{job}", "two").status_code == 404
    assert ask("DELETE", f"/{job}", "two").status_code == 404
    deadline = time.monotonic() + 15
    while ask("GET", f"/{job}", "one").status_code != 404:  # it is done, kept for a while, and deleted
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_folder_is_used_by_one_server(tmp_path: Path) -> None:
    from undertone.serving.server.long_jobs import _locked

    held = _locked(tmp_path)
    with pytest.raises(ConfigError, match="another server"):
        _locked(tmp_path)
    held.close()
    _locked(tmp_path).close()


# ---- other places ------------------------------------------------------------------------------------


@pytest.fixture
def place() -> Iterator[Any]:
    """A web server with a recording, a redirect and a hook, on loopback."""
    posts: list[tuple[dict[str, str], bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            moved = self.path.startswith("/moved")
            self.send_response(302 if moved else 200)
            if moved:
                self.send_header("location", "http://169.254.169.254/latest")
            self.end_headers()
            self.wfile.write(self.server.data)  # type: ignore[attr-defined]

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            posts.append(({k.lower(): v for k, v in self.headers.items()}, body))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    server.data = b"sound"  # type: ignore[attr-defined]
    server.posts = posts  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_only_listed_places_are_fetched_from() -> None:
    listed = ["https://media.example.org/calls/", "http://other.example.org:8080"]
    for url in ("https://media.example.org/calls/1.wav?x=1", "http://OTHER.example.org:8080/a"):
        assert is_allowed(url, listed), url
    for url in (
        "https://media.example.org/1.wav",
        "http://media.example.org/calls/1.wav",
        "https://media.example.org:8443/calls/1.wav",
        "https://media.example.org@evil.test/calls/1.wav",
        "https://user:word@media.example.org/calls/1.wav",
        "https://media.example.org.evil.test/calls/1.wav",
        "https://media.example.org/calls/../secret",
        "https://media.example.org/calls/%2e%2e/secret",
        "https://media.example.org\\@evil.test/calls/",
        "https://media.example.org/calls/\r\nhost: evil.test",
        "file:///etc/passwd",
        "//media.example.org/calls/",
        "https://[::1/calls/",
        "",
    ):
        assert not is_allowed(url, listed), url


def test_addresses_that_are_not_public_are_refused(place: Any, tmp_path: Path) -> None:
    for address in ("127.0.0.1", "10.0.0.1", "192.168.1.1", "100.64.0.1", "0.0.0.0", "fe80::1", "fc00::1"):
        assert not is_public(address), address
    for address in ("::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "224.0.0.1", "::"):
        assert not is_public(address), address
    assert is_public("1.1.1.1") and is_public("2606:4700:4700::1111")
    for host in ("127.0.0.1", "localhost"):
        with pytest.raises(RemoteRefused, match="not a public address"):
            fetch(f"http://{host}:{place.server_port}/a.wav", tmp_path / "a", 100)


def test_redirects_are_not_followed_and_sizes_are_bounded(
    place: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "is_public", lambda _: True)
    url = f"http://127.0.0.1:{place.server_port}"
    fetch(f"{url}/a.wav", tmp_path / "a", 100)
    assert (tmp_path / "a").read_bytes() == b"sound"
    with pytest.raises(RemoteRefused, match="302"):
        fetch(f"{url}/moved", tmp_path / "b", 100)
    with pytest.raises(RemoteRefused, match="more than 3 bytes"):
        fetch(f"{url}/a.wav", tmp_path / "c", 3)


def test_a_job_by_url_ends_with_a_signed_call(
    place: Any, tmp_path: Path, clip: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    from starlette.testclient import TestClient

    from undertone.serving.server.app import build

    monkeypatch.setattr(fetching, "is_public", lambda _: True)
    place.data = clip
    url = f"http://127.0.0.1:{place.server_port}"
    settings = ServerSettings(
        job_folder=tmp_path,
        job_urls=(f"{url}/sounds/",),
        job_webhooks=(f"{url}/hook",),
        webhook_secret="h00k",
    )
    with TestClient(build(FakeModel(), settings), "http://127.0.0.1:8000") as client:
        for wrong in (
            {"url": "http://127.0.0.1:1/sounds/a.wav"},
            {"url": f"{url}/sounds/a.wav", "webhook": f"{url}/other"},
            {"url": f"{url}/sounds/a.wav", "surprise": 1},
            {},
        ):
            assert client.post("/v1/jobs", json=wrong).status_code == 422
        sent = {"url": f"{url}/sounds/a.wav", "webhook": f"{url}/hook", "id": "a"}
        job = client.post("/v1/jobs", json=sent).json()["id"]
        deadline = time.monotonic() + 20
        while not place.posts:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert client.get(f"/v1/jobs/{job}/result").json()["label"]
    headers, body = place.posts[0]
    assert json.loads(body) == {"id": job, "status": "done", "error": None}
    at = int(headers["undertone-signature"].partition(",")[0].removeprefix("t="))
    assert headers["undertone-signature"] == f"t={at},v1={signature('h00k', at, body)}"
    assert "h00k" not in repr(settings)
