"""Run the application under uvicorn until a signal; accepted requests are finished first."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from undertone.errors import ConfigError, MissingExtra
from undertone.judging.clip import Model
from undertone.serving.server.settings import ServerSettings, is_loopback

if TYPE_CHECKING:
    from undertone.judging.words import Words
    from undertone.serving.server.examples import ExampleClip

__all__ = ["log_requests", "serve"]

log = logging.getLogger(__name__)


def serve(
    model: Model,
    settings: ServerSettings,
    *,
    words: Words | None = None,
    examples: Mapping[str, ExampleClip] | None = None,
) -> None:
    """Listen until SIGINT or SIGTERM; what was accepted by then is answered, then this returns."""
    try:
        import uvicorn

        from undertone.serving.server.app import build
    except ImportError as error:
        raise MissingExtra("the server", "serve") from error
    config = uvicorn.Config(
        build(model, settings, words=words, examples=examples),
        host=settings.host,
        port=settings.port,
        ssl_certfile=settings.ssl_certfile,
        ssl_keyfile=settings.ssl_keyfile,
        timeout_graceful_shutdown=int(settings.shutdown_seconds),
        log_config=None,  # our own logging stays as it is
        access_log=False,
        server_header=False,
        ws="websockets-sansio",
        ws_max_size=2**20,
        lifespan="on",
    )
    log_requests()
    _warn(settings)
    server = uvicorn.Server(config)
    server.run()
    if not server.started:
        raise ConfigError(
            f"the server could not start on {settings.host}:{settings.port} (is the port taken?)"
        )


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
    if not settings.token:
        log.warning("anyone who can reach %s:%d may use this server", settings.host, settings.port)
    if settings.ssl_certfile is None:
        log.warning(
            "no TLS: the token travels in the clear, and browsers give the page no microphone off localhost"
        )
