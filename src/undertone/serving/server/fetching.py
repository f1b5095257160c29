"""Requests that the server itself sends, to a list of places alone: recordings by URL, and webhooks.

A name is resolved once, every address of it must be a public one, and the connection goes to that address, so
that a name cannot mean another machine a moment later. Redirects are not followed.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import ipaddress
import socket
import ssl
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from undertone.errors import UndertoneError

__all__ = ["RemoteRefused", "fetch", "is_allowed", "is_public", "notify", "signature"]

TIMEOUT = 30.0
"""Seconds without a byte."""
TOTAL = 600.0
"""Seconds for a whole recording."""
CHUNK = 2**18


class RemoteRefused(UndertoneError):
    """An address that this server sends no request to, or that gives no recording."""


def is_allowed(url: str, prefixes: Sequence[str]) -> bool:
    """Whether a URL begins with one of the prefixes, of which scheme, host and port must be the same.

    >>> is_allowed("https://media.example.org/calls/1.flac", ["https://media.example.org/calls/"])
    True
    >>> is_allowed("https://media.example.org.evil.test/calls/", ["https://media.example.org/calls/"])
    False
    """
    try:
        wanted = urlsplit(url)
        places = [urlsplit(prefix) for prefix in prefixes]
        if wanted.scheme not in ("http", "https") or wanted.username or wanted.password or "\\" in url:
            return False
        if any(not c.isprintable() or c.isspace() for c in url) or ".." in unquote(wanted.path).split("/"):
            return False
        return any(
            _place(wanted) == _place(place) and wanted.path.startswith(place.path or "/") for place in places
        )
    except ValueError:
        return False


def fetch(url: str, to: Path, most: int) -> None:
    """The bytes of a URL into a file; at most so many."""
    ended = time.monotonic() + TOTAL
    with _answer("GET", url) as answer, to.open("wb") as file:
        if answer.status != 200:
            raise RemoteRefused(f"the URL answers with status {answer.status}; redirects are not followed")
        size = 0
        while chunk := answer.read(CHUNK):
            size += len(chunk)
            if size > most:
                raise RemoteRefused(f"the URL gives more than {most} bytes")
            if time.monotonic() > ended:
                raise RemoteRefused("the URL takes too long")
            file.write(chunk)


def notify(url: str, body: bytes, secret: str) -> bool:
    """Post to a webhook, signed; whether it was taken."""
    at = int(time.time())
    headers = {
        "content-type": "application/json",
        "undertone-signature": f"t={at},v1={signature(secret, at, body)}",
    }
    try:
        with _answer("POST", url, body, headers) as answer:
            return 200 <= answer.status < 300
    except UndertoneError:
        return False


def signature(secret: str, at: int, body: bytes) -> str:
    """HMAC-SHA256, as hex, of the second, a point, and the body.

    >>> signature("secret", 1, b"{}")[:12]
    '1122767b1931'
    """
    return hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()


def _place(url: SplitResult) -> tuple[str, str, int]:
    return url.scheme, (url.hostname or "").lower(), url.port or (443 if url.scheme == "https" else 80)


@contextmanager
def _answer(
    method: str, url: str, body: bytes | None = None, headers: dict[str, str] | None = None
) -> Iterator[http.client.HTTPResponse]:
    scheme, host, port = _place(urlsplit(url))
    parts = urlsplit(url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    kind = http.client.HTTPSConnection if scheme == "https" else http.client.HTTPConnection
    try:
        with closing(kind(host, port, timeout=TIMEOUT)) as connection:
            connection.sock = _connected(host, port, scheme == "https")
            connection.request(method, target, body, headers or {})
            yield connection.getresponse()
    except (OSError, http.client.HTTPException) as error:
        raise RemoteRefused(f"{host}: {type(error).__name__} on the way") from None


def _connected(host: str, port: int, tls: bool) -> socket.socket:
    """A connection to an address that was looked at."""
    addresses = dict.fromkeys(str(a[0]) for *_, a in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    if not addresses or not all(is_public(address) for address in addresses):
        raise RemoteRefused(f"{host} is not a public address")
    wire = socket.create_connection((next(iter(addresses)), port), timeout=TIMEOUT)
    return ssl.create_default_context().wrap_socket(wire, server_hostname=host) if tls else wire


def is_public(address: str) -> bool:
    """Whether an address belongs to the internet, not to this machine, its network or a tunnel into one.

    >>> [is_public(a) for a in ("8.8.8.8", "127.0.0.1", "10.1.2.3", "169.254.169.254", "::ffff:10.0.0.1")]
    [True, False, False, False, False]
    """
    known = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(known, ipaddress.IPv6Address):
        inside = known.ipv4_mapped or known.sixtofour or (known.teredo or (None, None))[1]
        if inside is not None:
            return inside.is_global and not inside.is_multicast and not known.teredo
        if known in ipaddress.ip_network("64:ff9b::/96"):
            return False
    return known.is_global and not known.is_multicast
