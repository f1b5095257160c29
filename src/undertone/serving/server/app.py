"""The application: routes over one service, behind the one layer of protection."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from fastapi import FastAPI

from undertone import __version__
from undertone.judging.clip import Model
from undertone.serving.server import job_routes, page, routes, stream, transcriptions
from undertone.serving.server.batching import Batches
from undertone.serving.server.examples import ExampleClip
from undertone.serving.server.models import Load
from undertone.serving.server.protection import Protection
from undertone.serving.server.service import Service
from undertone.serving.server.settings import ServerSettings

if TYPE_CHECKING:
    from undertone.judging.asr import Recogniser
    from undertone.judging.words import Words
    from undertone.serving.server.tracing import Tracing

__all__ = ["build"]

ABOUT = """Emotion in speech and its words. Send a recording, its transcript, or both; the answer holds
calibrated probabilities, what speech and text alone give, a timeline for long recordings, and each
word's contribution. Where the server has a token, send it as `Authorization: Bearer …`."""


def build(
    model: Model,
    settings: ServerSettings,
    *,
    words: Words | None = None,
    examples: Mapping[str, ExampleClip] | None = None,
    batcher: Batches | None = None,
    recogniser: Recogniser | None = None,
    loads: Mapping[str, Load] | None = None,
    tracing: Tracing | None = None,
) -> Protection:
    """An ASGI application ready to serve; its lifespan starts and stops what it needs.

    ``batcher`` takes the clips in place of the model itself, which may then be elsewhere. ``tracing``: None,
    as the ``OTEL_*`` variables want it.
    """
    service = Service(
        model,
        settings,
        words=words,
        examples=examples,
        batcher=batcher,
        recogniser=recogniser,
        loads=loads,
        tracing=tracing,
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with service.running():
            yield

    app = FastAPI(
        title="undertone",
        version=__version__,
        description=ABOUT,
        lifespan=lifespan,
        docs_url=None,  # its page would load scripts from elsewhere
        redoc_url=None,
    )
    app.state.service = service
    for router in (routes.router, transcriptions.router, job_routes.router, stream.router, page.router):
        app.include_router(router)
    _add_token(app, settings)
    return Protection(app, service)


def _add_token(app: FastAPI, settings: ServerSettings) -> None:
    """Add the token to the OpenAPI document, where there is one."""
    document = app.openapi()
    document.setdefault("components", {}).setdefault("schemas", {}).update(_json_requests())
    if settings.guarded:
        document["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{"token": []}]


def _json_requests() -> dict[str, object]:
    from pydantic.json_schema import models_json_schema

    from undertone.serving.server.schemas import BatchRequest, JobRequest, Request

    _, document = models_json_schema(
        [(model, "validation") for model in (Request, BatchRequest, JobRequest)],
        ref_template="#/components/schemas/{model}",
    )
    definitions: dict[str, object] = document["$defs"]
    return definitions
