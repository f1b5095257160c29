"""The HTTP routes: requests in, predictions out. A refusal is one line."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import FileResponse, JSONResponse

from undertone.errors import UndertoneError
from undertone.serving.server import body
from undertone.serving.server.decoding import Overloaded
from undertone.serving.server.logs import Record
from undertone.serving.server.metrics import Metrics
from undertone.serving.server.schemas import BATCH_BODY, PREDICT_BODY, Answer, BatchAnswer, Refusal
from undertone.serving.server.service import Service
from undertone.serving.server.tokens import ADMIN

__all__ = ["router"]

router = APIRouter()

REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": Refusal, "description": why}
    for status, why in {
        400: "The body does not have the form of its type.",
        401: "A bearer token is needed.",
        403: "Called by another site's page.",
        408: "The body did not arrive in time.",
        413: "Longer than this server takes.",
        415: "Neither multipart/form-data nor application/json nor audio.",
        421: "Called by a name this server does not know.",
        422: "Understood, but it cannot be judged: not audio, too long, contradictory.",
        429: "More requests a minute than this token may send.",
        503: "Busy: come back after the seconds in Retry-After.",
    }.items()
}


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


def _record(request: Request) -> Record:
    record: Record = request.state.record
    return record


@router.post("/v1/predict", response_model=Answer, responses=REFUSALS, openapi_extra=PREDICT_BODY)
async def predict(request: Request) -> Response:
    """Judge one recording: sound, its words, or both."""
    service = _service(request)
    wanted = await body.single(request, service.settings)
    try:
        answer = await service.predict(wanted, _record(request))
    except Overloaded as error:
        raise HTTPException(503, str(error), {"retry-after": "1"}) from None
    except UndertoneError as error:
        raise HTTPException(422, str(error)) from None
    return JSONResponse(answer)


@router.post("/v1/predict/batch", response_model=BatchAnswer, responses=REFUSALS, openapi_extra=BATCH_BODY)
async def predict_batch(request: Request) -> Response:
    """Judge several recordings; one that cannot be judged has its error in that place."""
    service, record = _service(request), _record(request)
    wanted = await body.batch(request, service.settings)
    try:
        answers = await service.predict_many(wanted, record)
    except UndertoneError as error:
        raise HTTPException(422, str(error)) from None
    return JSONResponse({"predictions": answers})


@router.get("/v1/models", responses={401: REFUSALS[401], 421: REFUSALS[421]})
async def models(request: Request) -> dict[str, Any]:
    """The models that a request may name, and what they are."""
    return {"object": "list", "data": _service(request).models.plain()}


@router.post("/v1/models/reload", responses={**REFUSALS, 409: {"model": Refusal}})
async def reload(request: Request) -> dict[str, Any]:
    """Load all models again from their folders; requests go on. For the holder of the token ``admin``."""
    service = _service(request)
    if _record(request).caller != ADMIN:
        raise HTTPException(403, f"only the holder of the token named '{ADMIN}' may do this")
    try:
        await service.models.reload()
    except UndertoneError as error:
        raise HTTPException(409, str(error)) from None
    return await models(request)


@router.get("/v1/model", responses={401: REFUSALS[401], 421: REFUSALS[421]})
async def model(request: Request) -> dict[str, Any]:
    """The model's card, its labels, whether words are recognised, and the limits of this server."""
    service = _service(request)
    settings = service.settings
    return {
        "model": service.model.name,
        "labels": list(service.model.labels),
        "card": dict(service.model.card),
        "asr": service.listening is not None,
        "jobs": service.jobs is not None,
        "limits": {
            "bytes": settings.max_bytes,
            "seconds": settings.max_seconds,
            "total_seconds": settings.max_total_seconds,
            "text": settings.max_text,
            "files": settings.max_files,
            "job_seconds": settings.max_job_seconds,
            "job_bytes": settings.max_job_bytes,
        },
        "timeline": {**settings.segmenting.plain(), "latency": settings.segmenting.latency},
    }


@router.get("/v1/examples", responses={401: REFUSALS[401], 421: REFUSALS[421]})
async def examples(request: Request) -> list[dict[str, Any]]:
    """Clips to try, where the model came with some."""
    return [example.plain() for example in _service(request).examples.values()]


@router.get(
    "/v1/examples/{name}", response_class=FileResponse, responses={404: {"model": Refusal}, **REFUSALS}
)
async def example(request: Request, name: str) -> Response:
    """One example's sound."""
    clip = _service(request).examples.get(name)  # a name is looked up, never made into a path
    if clip is None:
        raise HTTPException(404, "no such example")
    return FileResponse(clip.path, media_type=clip.kind)


@router.head("/healthz", include_in_schema=False)
@router.get("/healthz", responses={503: {"model": Refusal}})
async def healthz() -> dict[str, str]:
    """The process is alive."""
    return {"status": "ok"}


@router.head("/readyz", include_in_schema=False)
@router.get("/readyz", responses={503: {"model": Refusal}})
async def readyz(request: Request) -> Response:
    """The model is loaded and requests are taken."""
    if _service(request).ready:
        return JSONResponse({"status": "ready"})
    return JSONResponse({"detail": "not ready"}, 503, {"retry-after": "5"})


@router.get("/metrics", response_class=Response, responses={401: REFUSALS[401], 421: REFUSALS[421]})
async def metrics(request: Request) -> Response:
    """For Prometheus."""
    return Response(_service(request).metrics.render(), media_type=Metrics.CONTENT_TYPE)
