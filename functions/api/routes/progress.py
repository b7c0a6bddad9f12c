"""GET /api/v1/transcribe/{id}/events/ and POST /api/v1/transcribe/{id}/retry/"""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from fastapi.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response, StreamingResponse

from functions.api import schemas
from functions.api.deps import MayRead, MayTranscribe, ServicesDep
from functions.api.results import find_job
from functions.api.submitting import jobs_path
from shared.adapters.s3 import ObjectMissing
from shared.bootstrap import Services
from shared.domain.accounts import Principal
from shared.domain.amounts import to_credits
from shared.domain.errors import Conflict, RequestError
from shared.domain.ids import JobId
from shared.domain.jobs import Job, JobState, recording_key
from shared.services.submissions import Submission, Submitted

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
        **schemas.answers(200, schemas.Transcription, 404),
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


@router.post(
    "/transcribe/{id}/retry/",
    summary="Try a failed transcription again",
    status_code=202,
    responses=schemas.answers(202, schemas.Submitted, 402, 404, 409, 429),
)
def retry(request: Request, principal: MayTranscribe, services: ServicesDep, job_id: JobPath) -> JSONResponse:
    """A new transcription of the same recording with the same options; nothing is uploaded again.

    The failed one stays as it is. Asking twice gives the same new transcription: its id follows from the old one's.
    """
    failed = find_job(request, services, principal, job_id)
    if failed.state is not JobState.FAILED:
        raise Conflict(f"This transcription is {failed.status}: only a failed one can be tried again.")
    new_id = JobId(str(uuid.uuid5(uuid.UUID(failed.job_id), "retry")))
    submitted = _submit_again(services, principal, failed, new_id, request.state.request_id)
    estimated = submitted.answer.body.get("estimated_credits")
    if submitted.job is not None and submitted.job.estimated_millicredits is not None:
        estimated = to_credits(submitted.job.estimated_millicredits)
    body = {"id": new_id, "status": "processing", "estimated_credits": estimated}
    return JSONResponse(body, status_code=202, headers={"Location": f"{jobs_path(request)}{new_id}/"})


def _submit_again(services: Services, principal: Principal, failed: Job, new_id: JobId, request_id: str) -> Submitted:
    key = recording_key(failed.account_id, new_id)
    is_new = services.jobs.look_up(new_id) is None
    has_audio = not is_new or _copy(services, failed, key)
    submission = Submission(
        principal=principal,
        options=failed.options,
        filename=failed.recording.filename,
        content_type=failed.recording.content_type,
        size_bytes=failed.recording.size_bytes,
        duration_seconds=failed.estimated_seconds,
        webhook_url=failed.webhook_url,
        content_sha256=failed.recording.content_sha256,
        max_millicredits=failed.caps.max_millicredits,
        stored_key=key if has_audio else None,
        source_url=None if has_audio else failed.recording.source_url,
        job_id=new_id,
        request_id=request_id,
        retention_days=0 if failed.delete_when_delivered else None,
    )
    try:
        return services.submissions.submit(submission, None)
    except RequestError:
        if is_new:
            services.bucket.delete(key)
        raise


def _copy(services: Services, failed: Job, key: str) -> bool:
    """Copy the recording; False when it is to be fetched from its URL again. Raises Conflict when it is gone."""
    try:
        services.bucket.copy(failed.recording.key, key)
    except ObjectMissing:
        if failed.recording.source_url is None:
            raise Conflict("The recording is no longer there. Please upload it again.") from None
        return False
    return True


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
