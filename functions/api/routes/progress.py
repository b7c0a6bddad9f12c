"""GET /api/v1/transcribe/{id}/events/"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from fastapi.concurrency import run_in_threadpool
from starlette.responses import Response, StreamingResponse

from functions.api import schemas
from functions.api.deps import MayRead, ServicesDep
from functions.api.results import find_job
from shared.bootstrap import Services
from shared.domain.jobs import Job, JobState

router = APIRouter(tags=["Transcriptions"])

LOOK_SECONDS = 1.0  # between two looks at a running job; each costs one read
SILENCE_SECONDS = 15.0  # proxies cut connections that say nothing for longer
STREAM_SECONDS = 600.0  # then the client connects anew, by itself
RECONNECT_MILLISECONDS = 5_000

JobPath = Annotated[str, Path(alias="id", description="The transcription.")]


@router.get(
    "/transcribe/{id}/events/",
    summary="Follow a transcription",
    response_class=Response,
    responses={
        **schemas.answers(200, "Transcription", 404),
        200: {
            "description": "Server-sent events: `progress` while it is processing, then `completed`, `failed` or "
            "`cancelled`. The streaming host keeps the connection open; behind API Gateway, which cannot, each "
            "answer is the state of the moment and the client asks again after the `retry` it names.",
            "content": {"text/event-stream": {}},
        },
        204: {"description": "The client has the last event (Last-Event-ID): there will be no more."},
    },
)
def events(request: Request, principal: MayRead, services: ServicesDep, job_id: JobPath) -> Response:
    """Progress as it happens, in the format that browsers' EventSource reads."""
    job = find_job(request, services, principal, job_id)
    if job.state.is_final and request.headers.get("last-event-id") == _event_id(job):
        return Response(status_code=204)
    headers = {"X-Accel-Buffering": "no"}
    if "aws.event" in request.scope:
        return Response(_head() + _event(job), media_type="text/event-stream", headers=headers)
    return StreamingResponse(_follow(services, job), media_type="text/event-stream", headers=headers)


async def _follow(services: Services, job: Job) -> AsyncIterator[bytes]:
    """Events from now until the job has ended, or until it is time for the client to connect anew."""
    yield _head()
    yield _event(job)
    started = said = time.monotonic()
    seen = _state(job)
    while not job.state.is_final and time.monotonic() - started < STREAM_SECONDS:
        await asyncio.sleep(LOOK_SECONDS)
        found = await run_in_threadpool(services.jobs.look_up, job.job_id)
        if found is None or found.state is JobState.DELETED:
            return
        job = found
        if _state(job) != seen:
            seen, said = _state(job), time.monotonic()
            yield _event(job)
        elif time.monotonic() - said > SILENCE_SECONDS:
            said = time.monotonic()
            yield b": still here\n\n"


def _head() -> bytes:
    return f"retry: {RECONNECT_MILLISECONDS}\n\n".encode()


def _event(job: Job) -> bytes:
    name = job.status if job.state.is_final else "progress"
    data = json.dumps(_state(job), ensure_ascii=False)
    return f"id: {_event_id(job)}\nevent: {name}\ndata: {data}\n\n".encode()


def _event_id(job: Job) -> str:
    return f"{job.status}-{job.progress_percent}-{job.stage.value}"


def _state(job: Job) -> dict[str, Any]:
    state: dict[str, Any] = {"id": job.job_id, "status": job.status, "progress": job.progress_percent}
    if not job.state.is_final:
        state["stage"] = job.stage.value
    elif job.outcome is not None and job.outcome.error_message is not None:
        state |= {"error_code": job.outcome.error_code, "error_message": job.outcome.error_message}
    return state
