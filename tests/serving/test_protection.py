"""The layer in front: sizes, names, origins, tokens, pace; on every route, and on none twice."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from undertone.errors import ConfigError
from undertone.serving.server.hosts import host_allowed, origin_allowed
from undertone.serving.server.settings import ServerSettings, is_loopback

CLIENT = httpx.Client(timeout=20)  # one, because making its TLS context takes long
TOKEN = "correct horse battery staple"
HEAD = f"POST /v1/predict HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {TOKEN}\r\n"
ROUTES = [
    ("POST", "/v1/predict"),
    ("POST", "/v1/predict/batch"),
    ("GET", "/v1/model"),
    ("GET", "/v1/examples"),
    ("GET", "/v1/examples/a.wav"),
    ("GET", "/metrics"),
    ("GET", "/openapi.json"),
    ("GET", "/no/such/route"),
    ("DELETE", "/v1/predict"),
]
OPEN = [("GET", "/healthz"), ("GET", "/readyz"), ("GET", "/"), ("GET", "/app.js"), ("GET", "/style.css")]


@pytest.fixture(scope="module")
def guarded(start_server: Callable[..., Any]) -> Iterator[Any]:
    """A server with a token and small limits."""
    running = start_server(token=TOKEN, max_bytes=100_000, receive_seconds=1.0, allow_hosts=["emotions.test"])
    yield running
    running.stop()
    running.process.stderr.close()


def ask(running: Any, method: str, path: str, **sent: Any) -> httpx.Response:
    headers = {"authorization": f"Bearer {TOKEN}", **sent.pop("headers", {})}
    headers = {name: value for name, value in headers.items() if value is not None}
    return CLIENT.request(method, running.url + path, headers=headers, **sent)


def raw(running: Any, text: bytes, patience: float = 5.0) -> bytes:
    """What the server answers to these very bytes."""
    where = urlsplit(running.url)
    with socket.create_connection((where.hostname, where.port), timeout=patience) as wire:
        wire.sendall(text)
        answer = b""
        try:
            while part := wire.recv(65536):
                answer += part
        except TimeoutError:
            pass
        return answer


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize(
    "header", [None, "Bearer wrong", "Bearer", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x"]
)
def test_without_the_token_nothing_is_answered(
    guarded: Any, method: str, path: str, header: str | None
) -> None:
    answer = ask(guarded, method, path, headers={"authorization": header})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(("method", "path"), OPEN)
def test_probes_and_the_page_itself_need_no_token(guarded: Any, method: str, path: str) -> None:
    assert ask(guarded, method, path, headers={"authorization": None}).status_code == 200


@pytest.mark.parametrize(("method", "path"), [*ROUTES, *OPEN])
def test_past_the_size_limit_every_route_refuses(guarded: Any, method: str, path: str) -> None:
    assert ask(guarded, method, path, content=b"x" * 100_001).status_code == 413


@pytest.mark.parametrize(("method", "path"), [*ROUTES, *OPEN])
def test_bytes_are_counted_as_they_arrive_not_as_announced(guarded: Any, method: str, path: str) -> None:
    """Chunked, so that no header says how much will come."""
    assert ask(guarded, method, path, content=iter([b"x" * 20_000] * 8)).status_code == 413


@pytest.mark.parametrize(("method", "path"), [*ROUTES, *OPEN])
def test_every_answer_carries_the_security_headers(guarded: Any, method: str, path: str) -> None:
    for headers in ({}, {"authorization": None}, {"host": "evil.test"}):
        answer = ask(guarded, method, path, headers=headers)
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["x-request-id"]
        assert "server" not in answer.headers


def test_wrong_routes_and_methods_are_answered_plainly(guarded: Any) -> None:
    assert ask(guarded, "GET", "/no/such/route").status_code == 404
    assert ask(guarded, "DELETE", "/v1/predict").status_code == 405
    assert ask(guarded, "POST", "/healthz").status_code == 405


@pytest.mark.parametrize(
    "host", ["evil.test", "127.0.0.1.evil.test", "", "emotions.test.evil.test", "[::1", "a@b@c"]
)
@pytest.mark.parametrize(("method", "path"), [("GET", "/v1/model"), ("POST", "/v1/predict"), ("GET", "/")])
def test_rebound_names_are_not_answered(guarded: Any, host: str, method: str, path: str) -> None:
    assert ask(guarded, method, path, headers={"host": host}).status_code in (400, 421)


@pytest.mark.parametrize(
    "host", ["localhost:1234", "127.0.0.1", "emotions.test", "EMOTIONS.test:99", "[::1]:80", "192.168.1.7"]
)
def test_known_names_and_plain_addresses_are_answered(guarded: Any, host: str) -> None:
    assert ask(guarded, "GET", "/v1/model", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.test"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:1"},
        {"origin": "file://"},
        {"origin": ""},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_other_sites_pages_may_not_post(guarded: Any, headers: dict[str, str]) -> None:
    answer = ask(guarded, "POST", "/v1/predict", json={"text": "x"}, headers=headers)
    assert answer.status_code == 403
    assert "access-control-allow-origin" not in answer.headers


def test_our_own_page_may_post(guarded: Any) -> None:
    headers = {"origin": guarded.url, "sec-fetch-site": "same-origin"}
    assert ask(guarded, "POST", "/v1/predict", json={"text": "x"}, headers=headers).status_code == 200


def test_no_other_site_reads_answers_unless_it_was_named(start_server: Callable[..., Any]) -> None:
    running = start_server(cors_origins=["https://friend.test"], token=TOKEN)
    try:
        asked = {"access-control-request-method": "POST", "authorization": None}
        friend = ask(running, "OPTIONS", "/v1/predict", headers={**asked, "origin": "https://friend.test"})
        assert friend.status_code == 204
        assert friend.headers["access-control-allow-origin"] == "https://friend.test"
        other = ask(running, "OPTIONS", "/v1/predict", headers={**asked, "origin": "https://evil.test"})
        assert other.status_code == 401
        assert "access-control-allow-origin" not in other.headers
        sent = ask(
            running, "POST", "/v1/predict", json={"text": "x"}, headers={"origin": "https://friend.test"}
        )
        assert sent.status_code == 200
        assert sent.headers["access-control-allow-origin"] == "https://friend.test"
    finally:
        running.stop()
        running.process.stderr.close()


def test_a_body_that_dawdles_is_cut_off(guarded: Any) -> None:
    head = HEAD + "content-type: application/json\r\ncontent-length: 50\r\n\r\n{"
    began = time.monotonic()
    assert b" 408 " in raw(guarded, head.encode())
    assert time.monotonic() - began < 4.5


@pytest.mark.parametrize("length", ["-1", "1e3", "0x10", "99999999999999999999"])
def test_lengths_that_are_no_lengths_are_refused(guarded: Any, length: str) -> None:
    head = HEAD + f"content-length: {length}\r\n\r\n"
    answer = raw(guarded, head.encode(), patience=3.0)
    assert b" 400 " in answer or b" 413 " in answer


def test_a_client_that_hangs_up_in_its_upload_harms_nobody(guarded: Any, clip: bytes) -> None:
    where = urlsplit(guarded.url)
    head = HEAD + "content-length: 90000\r\n\r\n"
    for _ in range(20):
        with socket.create_connection((where.hostname, where.port)) as wire:
            wire.sendall(head.encode() + b"x" * 1000)
    guarded.until(lambda: sum(line["status"] == 499 for line in guarded.requests) >= 20)
    assert ask(guarded, "POST", "/v1/predict", files={"file": ("a.wav", clip)}).status_code == 200
    assert "undertone_requests_under_way 1.0" in ask(guarded, "GET", "/metrics").text or (
        "undertone_requests_under_way 0.0" in ask(guarded, "GET", "/metrics").text
    )


def test_the_token_is_never_logged(guarded: Any) -> None:
    assert TOKEN not in "".join(guarded.lines)
    assert TOKEN not in repr(ServerSettings(token=TOKEN))


def test_beyond_loopback_a_token_is_needed_or_insecure_said() -> None:
    for host in ("0.0.0.0", "::", "192.168.1.7", "example.org"):
        with pytest.raises(ConfigError, match="token"):
            ServerSettings.parse({"host": host})
        assert ServerSettings.parse({"host": host, "token": "x"})
        assert ServerSettings.parse({"host": host, "insecure": True})


def test_loopback_is_told_from_the_rest() -> None:
    assert all(is_loopback(host) for host in ("localhost", "127.0.0.1", "127.9.9.9", "::1", "[::1]"))
    assert not any(is_loopback(host) for host in ("0.0.0.0", "::", "10.0.0.1", "localhost.evil.test"))


def test_hosts_and_origins_by_hand() -> None:
    settings = ServerSettings(allow_hosts=("emotions.test",), cors_origins=("https://friend.test",))
    assert host_allowed("emotions.test:443", settings)
    assert not host_allowed(None, settings)
    assert origin_allowed({"host": "emotions.test", "origin": "https://emotions.test"}, settings)
    assert origin_allowed({"host": "emotions.test:443", "origin": "https://emotions.test"}, settings)
    assert origin_allowed({"host": "a", "origin": "https://friend.test"}, settings)
    assert not origin_allowed({"host": "emotions.test:8000", "origin": "https://emotions.test"}, settings)
    assert not origin_allowed({"host": "emotions.test", "origin": "ftp://emotions.test"}, settings)
