"""The routes of long jobs: hand in a recording, ask how far it is, fetch the prediction, cancel."""

from __future__ import annotations

import asyncio
import re
import secrets
import shutil
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import JSONResponse
from starlette.requests import ClientDisconnect

from undertone.serving.server import body
from undertone.serving.server.body import JSON, parse, short
from undertone.serving.server.fetching import is_allowed
from undertone.serving.server.long_jobs import LongJob, LongJobs, TooManyJobs
from undertone.serving.server.models import NoSuchModel
from undertone.serving.server.routes import REFUSALS
from undertone.serving.server.schemas import (
    JOB_BODY,
    JOBS_QUERY,
    MOST_LISTED,
    Answer,
    JobList,
    JobRequest,
    JobState,
    Options,
    Refusal,
)
from undertone.serving.server.service import NoWords, Service

__all__ = ["router"]

MOST_JSON = 2**17

router = APIRouter()

_OTHER: dict[int | str, dict[str, Any]] = {
    404: {"model": Refusal, "description": "No such job, or this server takes none."},
    409: {"model": Refusal, "description": "The job is not over yet."},
}


def _jobs(request: Request) -> tuple[Service, LongJobs]:
    service: Service = request.app.state.service
    if service.jobs is None:
        raise HTTPException(404, "this server takes no jobs (see --jobs)")
    return service, service.jobs


def _job(request: Request, name: str) -> tuple[LongJobs, LongJob]:
    _, jobs = _jobs(request)
    job = jobs.get(name, request.state.record.caller)
    if job is None:
        raise HTTPException(404, "no such job")
    return jobs, job


@router.post(
    "/v1/jobs",
    status_code=202,
    responses={**REFUSALS, **_OTHER, 202: {"model": JobState, "description": "It was accepted."}},
    openapi_extra=JOB_BODY,
    response_model=None,
)
async def create(request: Request) -> Response:
    """Hand in a long recording: its sound file as the body, or JSON with its URL. The answer has its id."""
    service, jobs = _jobs(request)
    settings = service.settings
    kind = body.kind(request)
    try:
        jobs.refuse_more()
    except TooManyJobs as error:
        raise HTTPException(503, str(error), {"retry-after": "60"}) from None
    query = request.query_params
    webhook = query.get("webhook")
    url = None
    room = jobs.room()
    try:
        if kind == JSON:
            parsed = parse(JobRequest, b"".join([one async for one in _chunks(request, MOST_JSON)]), settings)
            chosen: Options = parsed
            webhook, url, text, named = parsed.webhook, parsed.url, parsed.text, parsed.id
            turns = body.rows(parsed.speakers)
            if not is_allowed(url, settings.job_urls):
                raise HTTPException(422, "url: not at a place that this server fetches from")
        elif kind == "multipart/form-data":
            raise HTTPException(
                415, "the body of a job is the sound file itself (audio/…) or application/json"
            )
        else:
            text, named = query.get("text"), query.get("id")
            chosen = body.options(query, {"text", "id", "speakers", "webhook"})
            turns = body.speakers(query.get("speakers"))
            await _save(request, room / "sound", settings.max_job_bytes)
        if webhook is not None and not (
            settings.webhook_secret and is_allowed(webhook, settings.job_webhooks)
        ):
            raise HTTPException(422, "webhook: not at a place that this server calls")
        served = service.pick(chosen.model, bool(chosen.asr))
        request.state.record.model = served.model.name
        body.check(body.Upload("", None, text, turns), chosen, settings)
        identity = secrets.token_hex(16)
        job = LongJob(
            identity,
            short(named or "clip"),
            request.state.record.caller,
            time.time(),
            body.text(text),
            settings.explain if chosen.explain is None else chosen.explain,
            chosen.abstain,
            url,
            webhook,
            chosen.model,
            chosen.channels,
            bool(chosen.asr),
            tuple(turns),
            request.state.record.trace,
        )
        await asyncio.to_thread(jobs.add, job, room)
        jobs.accepted(job)
    except (NoSuchModel, NoWords) as error:
        raise HTTPException(422, str(error)) from None
    finally:
        shutil.rmtree(room, ignore_errors=True)  # where it was accepted it has another name by now
    return JSONResponse(_plain(jobs, job), 202, {"location": f"/v1/jobs/{job.id}"})


@router.get("/v1/jobs", response_model=JobList, responses={**REFUSALS, **_OTHER}, openapi_extra=JOBS_QUERY)
async def listed(request: Request) -> dict[str, Any]:
    """The jobs of this token, the newest first."""
    _, jobs = _jobs(request)
    text = request.query_params.get("limit", "100")
    most = int(text) if re.fullmatch("[0-9]{1,4}", text) else 0
    if not 1 <= most <= MOST_LISTED:
        raise HTTPException(422, f"limit: from 1 to {MOST_LISTED}")
    mine = jobs.of(request.state.record.caller)
    rows = [_plain(jobs, job) for job in mine[:most]]
    return {"object": "list", "data": rows, "more": len(mine) > most}


@router.get("/v1/jobs/{name}", response_model=JobState, responses={**REFUSALS, **_OTHER})
async def state(request: Request, name: str) -> dict[str, Any]:
    """How far a job is."""
    return _plain(*_job(request, name))


@router.get("/v1/jobs/{name}/result", response_model=Answer, responses={**REFUSALS, **_OTHER})
async def result(request: Request, name: str) -> Response:
    """The prediction of a job that is done."""
    jobs, job = _job(request, name)
    if job.status == "failed":
        raise HTTPException(422, job.error or "the job failed")
    if job.status != "done":
        raise HTTPException(409, f"the job is {job.status}", {"retry-after": "5"})
    return Response(await asyncio.to_thread(jobs.result, job), media_type="application/json")


@router.delete("/v1/jobs/{name}", status_code=204, responses={**REFUSALS, **_OTHER})
async def delete(request: Request, name: str) -> Response:
    """Cancel a job, and delete what there is of it."""
    jobs, job = _job(request, name)
    await jobs.remove(job)
    return Response(status_code=204)


async def _save(request: Request, to: Path, most: int) -> None:
    with to.open("wb") as file:
        async for chunk in _chunks(request, most):
            await asyncio.to_thread(file.write, chunk)


async def _chunks(request: Request, most: int) -> AsyncIterator[bytes]:
    """The body as it comes, which it must do without long pauses, up to so many bytes."""
    coming = request.stream().__aiter__()
    size = 0
    try:
        while True:
            async with asyncio.timeout(request.app.state.service.settings.receive_seconds):
                chunk = await anext(coming, None)
            if chunk is None:
                return
            size += len(chunk)
            request.state.record.received = size
            if size > most:
                raise HTTPException(413, f"the body is longer than {most} bytes", {"connection": "close"})
            yield chunk
    except TimeoutError:
        raise HTTPException(408, "the body did not arrive in time", {"connection": "close"}) from None
    except ClientDisconnect:
        raise HTTPException(400, "the client left") from None


def _plain(jobs: LongJobs, job: LongJob) -> dict[str, Any]:
    def when(seconds: float | None) -> str | None:
        return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")

    return {
        "id": job.id,
        "name": job.name,
        "status": job.status,
        "progress": jobs.progress(job),
        "created": when(job.created),
        "ended": when(job.ended),
        "error": job.error,
    }
