"""By which names a server may be called, and by whose pages."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Mapping
from urllib.parse import urlsplit

from undertone.serving.server.settings import ServerSettings

__all__ = ["host_allowed", "origin_allowed"]


def host_allowed(host: str | None, settings: ServerSettings) -> bool:
    """Whether the Host header names this server.

    A page that rebinds its own name to our address sends that name. So names are allowed one by one,
    while plain addresses always are: nobody can rebind those.
    """
    name = _name(host or "")
    if not name:
        return False
    known = {"localhost", settings.host.lower(), *(allowed.lower() for allowed in settings.allow_hosts)}
    if settings.host in ("0.0.0.0", "::"):
        known.add(socket.gethostname().lower())
    return name in known or _is_address(name)


def origin_allowed(headers: Mapping[str, str], settings: ServerSettings) -> bool:
    """Whether the calling page is our own or a named one; a program that is no page may always call."""
    origin = headers.get("origin")
    if origin is None:
        return headers.get("sec-fetch-site", "none") in ("none", "same-origin")
    if origin in settings.cors_origins:
        return True
    page = urlsplit(origin)
    if page.scheme not in ("http", "https") or not page.netloc:
        return False
    usual = ":443" if page.scheme == "https" else ":80"
    host = headers.get("host", "").lower()
    return page.netloc.lower().removesuffix(usual) == host.removesuffix(usual)


def _name(host: str) -> str:
    """The Host header without its port; empty for what is no host."""
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
