"""The server's application as a Ray Serve deployment.

    proxy ─▶ Door × n        the same ASGI application as ``undertone serve`` on one machine: limits, token,
               │             decoding, page; it holds no model
               ▼
             Model × m       the model; Ray gathers what waits into one batch

Both scale by themselves between one replica and as many as there is room for.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from undertone.errors import MissingExtra, ModelError, UndertoneError
from undertone.files import one_thread
from undertone.judging.clip import Clip, Model
from undertone.scale.cluster import connected, most
from undertone.scale.predict import laid_out, pack_model
from undertone.scale.workers import Workers
from undertone.serving.server.settings import ServerSettings
from undertone.types import Prediction

__all__ = ["Described", "deploy", "serve"]

log = logging.getLogger(__name__)

APP = "undertone"
DOOR_CPUS = 0.5
"""Cores of a door: it mostly waits, and decodes in a process of its own."""
BUSY = 2
"""Requests a replica should have under way on average, in batches; more, and there is another replica."""


@dataclass
class Described:
    """What the application reads of a model besides its predictions."""

    name: str
    labels: tuple[str, ...]
    rate: int
    sides: tuple[str, ...]
    tiers: tuple[str, ...]
    contextual: bool
    card: Mapping[str, Any]

    @classmethod
    def of(cls, model: Model) -> Described:
        shape = model.rate, model.sides, model.tiers, model.contextual
        return cls(model.name, model.labels, *shape, dict(model.card))

    def predict(self, clips: Sequence[Clip], explain: bool = False) -> list[Prediction]:
        """Never called: the application's clips go to the batcher."""
        raise ModelError(f"{self.name}: {len(clips)} clips for a model that is elsewhere ({explain=})")


class FarBatcher:
    """In a door: sends clips to the replicas of the model."""

    def __init__(self, handle: Any) -> None:
        self._judge = handle.judge

    def start(self) -> None:
        """The replicas run already."""

    async def stop(self) -> None:
        """Ray drains a replica before it stops it."""

    async def predict(self, clips: Sequence[Clip], explain: bool = False) -> list[Prediction]:
        """The predictions, in the order of the clips."""
        results = await asyncio.gather(*(self._judge.remote(clip, explain) for clip in clips))
        for _, error in results:
            if error is not None:
                raise ModelError(error)
        return [prediction for prediction, _ in results]


def model_replicas(serve: Any, files: Any, workers: Workers, settings: ServerSettings) -> Any:
    """The model's deployment: it takes one clip a call and computes the waiting ones as one batch."""

    class Replica:
        def __init__(self, files: Mapping[str, bytes]) -> None:
            from undertone.judging.predictor import load_model

            one_thread(workers.threads)
            self._model = load_model(laid_out(files))

        # an idle model takes what is there and does not wait for more, as on one machine
        @serve.batch(max_batch_size=settings.max_batch, batch_wait_timeout_s=0)  # type: ignore[untyped-decorator]
        async def judge(self, clips: list[Clip], explain: list[bool]) -> list[tuple[Any, str | None]]:
            return await asyncio.to_thread(answers, self._model, clips, explain)

    scaling = {
        "min_replicas": 1,
        "max_replicas": max(1, most_replicas(workers)),
        "target_ongoing_requests": BUSY * settings.max_batch,
    }
    made = serve.deployment(
        Replica,
        name="Model",
        autoscaling_config=scaling,
        max_ongoing_requests=2 * BUSY * settings.max_batch,
        ray_actor_options={"num_cpus": workers.cpus, "num_gpus": workers.gpus},
        logging_config=QUIET_LOG,
    )
    return made.bind(files)


QUIET_LOG = {"log_level": "WARNING", "enable_access_log": False}
"""The application writes its own line a request, without transcripts."""


def most_replicas(workers: Workers) -> int:
    """How many replicas fit beside one door."""
    import ray

    count = most(ray, workers)
    if workers.workers:
        return count
    return int((ray.cluster_resources().get("CPU", 1.0) - DOOR_CPUS) / workers.cpus) or 1


def answers(
    model: Model, clips: Sequence[Clip], explain: Sequence[bool]
) -> list[tuple[Prediction | None, str | None]]:
    """One prediction or error a clip; a batch that fails is tried clip by clip, so a bad clip fails alone."""
    results: list[tuple[Prediction | None, str | None]] = [(None, None)] * len(clips)
    for wanted in (False, True):
        places = [i for i, one in enumerate(explain) if one is wanted]
        for place, answer in zip(places, _predict(model, [clips[i] for i in places], wanted), strict=True):
            results[place] = answer
    return results


def _predict(
    model: Model, clips: Sequence[Clip], explain: bool
) -> list[tuple[Prediction | None, str | None]]:
    if not clips:
        return []
    try:
        return [(answer, None) for answer in model.predict(clips, explain)]
    except Exception as error:
        if len(clips) > 1:
            return [answer for clip in clips for answer in _predict(model, [clip], explain)]
        if isinstance(error, UndertoneError):
            return [(None, str(error))]
        log.exception("the model failed")
        return [(None, f"{clips[0].id}: the model failed on it")]


def deploy(
    model: Path, ready: Described, settings: ServerSettings, workers: Workers, align: str = "none"
) -> Any:
    """Start the deployment on the connected cluster; returns Ray Serve's handle of the door."""
    try:
        from ray import serve

        from undertone.serving.server.app import build  # noqa: F401  every door needs its extra
    except ImportError as error:
        raise MissingExtra("the server on a cluster", "serve") from error

    def door() -> Any:
        from ray import serve

        from undertone.judging.words import words_for
        from undertone.serving.server.app import build
        from undertone.serving.server.run import log_requests

        log_requests()
        handle = serve.get_deployment_handle("Model", APP)
        inside = settings.model_copy(update={"ssl_certfile": None, "ssl_keyfile": None})
        return build(ready, inside, words=words_for(ready, align), batcher=FarBatcher(handle))

    front = serve.deployment(
        serve.ingress(door)(),
        name="Door",
        autoscaling_config={"min_replicas": 1, "max_replicas": max(1, workers.workers or 4)},
        max_ongoing_requests=settings.max_waiting,
        ray_actor_options={"num_cpus": DOOR_CPUS},
        logging_config=QUIET_LOG,
    )
    serve.start(proxy_location="EveryNode", http_options=_http(settings), logging_config=QUIET_LOG)
    application = front.bind(model_replicas(serve, pack_model(model), workers, settings))
    return serve.run(application, name=APP, route_prefix="/")


def _http(settings: ServerSettings) -> dict[str, Any]:
    options: dict[str, Any] = {"host": settings.host, "port": settings.port}
    if settings.ssl_certfile is not None:
        options |= {"ssl_certfile": str(settings.ssl_certfile), "ssl_keyfile": str(settings.ssl_keyfile)}
    return options | {"request_timeout_s": settings.request_seconds}


def serve(
    model: Path,
    ready: Model,
    settings: ServerSettings,
    *,
    address: str | None = None,
    workers: Workers | None = None,
    align: str = "none",
) -> None:
    """Serve on a cluster until SIGINT or SIGTERM; then the deployment is taken down."""
    ended = threading.Event()
    with connected(address):
        from ray import serve as rays

        deploy(model, Described.of(ready), settings, workers or Workers(), align)
        before = signal.signal(signal.SIGTERM, lambda *_: ended.set())
        try:
            while not ended.wait(1.0):
                pass
        finally:
            signal.signal(signal.SIGTERM, before)
            rays.shutdown()
