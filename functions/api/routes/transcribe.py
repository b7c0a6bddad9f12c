"""POST /api/v1/transcribe/ and GET /api/v1/transcribe/{id}/"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response

from functions.api import schemas
from functions.api.asked import FIELDS
from functions.api.deps import IdempotencyKey, MayRead, MayTranscribe, ServicesDep
from functions.api.fields import Fields
from functions.api.forms import Form, TranscriptionForm, read_asked, read_json_texts, the_file
from functions.api.recordings import measure_stored
from functions.api.results import find_job, job_response
from functions.api.submitting import (
    Caller,
    answered_before,
    jobs_path,
    nothing_left_behind,
    submit,
    take_elsewhere,
    take_received,
    undone_unless_taken,
)
from shared.domain.errors import InvalidRequest, RequestError
from shared.domain.ids import JobId, UploadId
from shared.domain.job_keys import recording_key
from shared.domain.uploads import upload_key
from shared.services.submissions import Submission

router = APIRouter(tags=["Transcriptions"])


async def _caller(
    request: Request, principal: MayTranscribe, services: ServicesDep, idempotency_key: IdempotencyKey
) -> Caller:
    for name in request.query_params:
        if name in FIELDS:  # a dry_run that is passed over costs money
            message = f"'{name}' stands in the address, where options are not read. Send it in the body."
            raise InvalidRequest(message, field=name)
    return Caller(request=request, services=services, principal=principal, idempotency_key=idempotency_key)


CallerDep = Annotated[Caller, Depends(_caller)]


@router.post(
    "/transcribe/",
    summary="Transcribe a recording",
    status_code=202,
    responses=schemas.answers(202, "Submitted", 402, 404, 409, 413, 415, 422, 429) | schemas.QUOTE_ANSWER,
    openapi_extra={"requestBody": schemas.TRANSCRIPTION_BODY, "parameters": [schemas.IDEMPOTENCY_PARAMETER]},
)
async def create(caller: CallerDep, form: Form) -> JSONResponse:
    """Upload a recording, or name an upload. The answer comes at once; poll its `Location`, or give a `webhook_url`.

    The credits it is expected to take are set aside; what it really took is settled when it is done.
    """
    if form is None:
        texts = await read_json_texts(caller.request)
        return await run_in_threadpool(_create_from_upload, caller, texts)
    return await run_in_threadpool(_create_from_form, caller, form)


@router.get(
    "/transcribe/{id}/",
    summary="Get a transcription",
    responses=schemas.answers(200, "Transcription", 404) | schemas.RESULT_REDIRECTS,
    openapi_extra={"parameters": [schemas.SEGMENTS_PARAMETER]},
)
def get(
    request: Request,
    principal: MayRead,
    services: ServicesDep,
    job_id: Annotated[str, Path(alias="id", description="The id that the upload was answered with.")],
) -> Response:
    """How far a transcription is, and its result once it is completed."""
    query = request.query_params
    segments = Fields({name: query.getlist(name) for name in query}).boolean("segments", default=False)
    return job_response(request, services.results, find_job(request, services, principal, job_id), segments=segments)


def _create_from_form(caller: Caller, received: TranscriptionForm) -> JSONResponse:
    services = caller.services
    with nothing_left_behind(services, received) as outcome:
        recording = the_file(received.form)
        asked = read_asked(services, received.form.texts, "file")
        taken = take_received(caller, asked, recording, received.job_id)
        response, submitted = submit(caller, asked, taken, path=jobs_path(caller.request))
        outcome.append(submitted)
    return response


def _create_from_upload(caller: Caller, texts: dict[str, list[str]]) -> JSONResponse:
    services, account_id = caller.services, caller.principal.account_id
    asked = read_asked(services, texts, "upload_id")
    upload_id = Fields(texts).text("upload_id").lower()
    if not upload_id:
        message = "Name an upload of POST /api/v1/uploads/ in 'upload_id', or send multipart/form-data with a 'file'."
        raise InvalidRequest(message, field="upload_id")
    job_id = JobId(services.new_id())
    named = Submission(
        principal=caller.principal,
        options=asked.options,
        filename="",
        content_type="",
        size_bytes=0,
        duration_seconds=None,
        stored_key=upload_key(account_id, UploadId(upload_id)),
        job_id=job_id,
        is_fresh=True,
    )
    try:
        upload, stored = services.uploads.arrived(account_id, upload_id)
        seconds = measure_stored(services.upload_bucket, stored.key, stored.size_bytes)
    except RequestError:
        answered = answered_before(caller, asked, named)
        if answered is None:
            raise
        return answered
    submission = replace(
        named,
        filename=upload.filename,
        content_type=upload.content_type,
        size_bytes=stored.size_bytes,
        duration_seconds=seconds,
    )
    if asked.dry_run:
        return submit(caller, asked, take_elsewhere(caller, asked, submission), path=jobs_path(caller.request))[0]
    if not services.uploads.claim(stored):
        answered = answered_before(caller, asked, named)
        if answered is not None:
            return answered
        copy_key = services.uploads.copy(stored, recording_key(account_id, job_id))
        submission = replace(submission, copy_key=copy_key)
    key = submission.copy_key or stored.key
    undo = partial(services.uploads.give_back, stored, key)
    with undone_unless_taken(services, account_id, job_id, key, undo) as outcome:
        taken = take_elsewhere(caller, asked, submission)
        response, submitted = submit(caller, asked, taken, path=jobs_path(caller.request))
        outcome.append(submitted)
    return response
