"""Run the application under uvicorn until a signal; accepted requests and streams are finished first."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from undertone.errors import ConfigError, MissingExtra
from undertone.judging.clip import Model
from undertone.serving.server.logs import note
from undertone.serving.server.settings import ServerSettings, is_loopback

if TYPE_CHECKING:
    from undertone.judging.asr import Recogniser
    from undertone.judging.words import Words
    from undertone.serving.server.examples import ExampleClip
    from undertone.serving.server.models import Load

__all__ = ["listen", "log_requests", "serve"]

log = logging.getLogger(__name__)


def serve(
    model: Model,
    settings: ServerSettings,
    *,
    words: Words | None = None,
    examples: Mapping[str, ExampleClip] | None = None,
    recogniser: Recogniser | None = None,
    loads: Mapping[str, Load] | None = None,
    started: Callable[[str], None] | None = None,
) -> None:
    """Listen until SIGINT or SIGTERM; what was accepted by then is answered, then this returns.

    ``started`` gets the address once requests are taken.
    """
    try:
        import uvicorn

        from undertone.serving.server.app import build
        from undertone.serving.server.connections import Connections
    except ImportError as error:
        raise MissingExtra("the server", "serve") from error
    sockets = listen(settings.host, settings.port)
    application = build(model, settings, words=words, examples=examples, recogniser=recogniser, loads=loads)
    service = application.service
    url = _url(settings, sockets[0].getsockname()[1])

    def reload() -> None:
        task = asyncio.ensure_future(service.models.reload())
        task.add_done_callback(_reloaded)

    class Server(uvicorn.Server):
        """uvicorn, which announces the true address and ends streams before it closes them."""

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            log.info("listening on %s", url)
            note("start", url=url, model=model.name)
            if hasattr(signal, "SIGHUP"):
                asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reload)
            if started is not None:
                started(url)

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            service.ready = False
            await asyncio.sleep(settings.drain_seconds)
            for one in self.servers:
                one.close()
            service.closing.set()
            began = time.monotonic()
            with suppress(TimeoutError):
                async with asyncio.timeout(settings.shutdown_seconds):
                    await service.streams_ended()
            left = settings.shutdown_seconds - (time.monotonic() - began)
            self.config.timeout_graceful_shutdown = max(1, round(left))
            await super().shutdown(sockets)
            note("stop", url=url)

    http: Any = Connections(settings).protocol
    config = uvicorn.Config(
        application,
        http=http,
        h11_max_incomplete_event_size=settings.max_head,
        ssl_certfile=settings.ssl_certfile,
        ssl_keyfile=settings.ssl_keyfile,
        log_config=None,  # our own logging stays as it is
        access_log=False,
        server_header=False,
        ws="websockets-sansio",
        ws_max_size=2**20,
        lifespan="on",
    )
    log_requests()
    _warn(settings)
    server = Server(config)
    server.run(sockets)
    if not server.started:
        raise ConfigError(f"the server could not start on {url}; its log has the reason")


def _reloaded(task: asyncio.Future[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("the models stay as they were: %s", error)


def listen(host: str, port: int) -> list[socket.socket]:
    """Open sockets on every address of the host, on one port; ConfigError states why that cannot be."""
    sockets: list[socket.socket] = []
    try:
        known = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, *_, address in dict.fromkeys(known):
            if sockets:  # a free port was chosen for the first
                port = sockets[0].getsockname()[1]
            try:
                sockets.append(socket.create_server((str(address[0]), port), family=family, backlog=2048))
            except OSError as error:
                if (
                    not sockets or error.errno == errno.EADDRINUSE
                ):  # else: one of two kinds of address will do
                    raise
    except OSError as error:
        for one in sockets:
            one.close()
        raise ConfigError(f"cannot listen on {host}:{port}: {_reason(error)}") from None
    return sockets


def _reason(error: OSError) -> str:
    if error.errno is None or error.errno < 0:  # it is about a name that is not known
        return str(error.strerror or error)
    return os.strerror(error.errno)


def _url(settings: ServerSettings, port: int) -> str:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"{'https' if settings.ssl_certfile else 'http'}://{host}:{port}"


def log_requests() -> None:
    """One line of JSON per request on stderr, whatever the verbosity."""
    access = logging.getLogger("undertone.access")
    access.setLevel(logging.INFO)
    access.propagate = False
    if not access.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(message)s"))
        access.addHandler(handler)


def _warn(settings: ServerSettings) -> None:
    if is_loopback(settings.host):
        return
    if not settings.guarded:
        log.warning("anyone who can reach %s:%d may use this server", settings.host, settings.port)
    if settings.ssl_certfile is None:
        log.warning(
            "no TLS: the token travels in the clear, and browsers give the page no microphone off localhost"
        )
