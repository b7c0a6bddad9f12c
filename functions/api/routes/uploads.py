"""POST /api/v1/uploads/ and what follows it: recordings of any size, sent straight to storage."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Path, Response
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse

from functions.api import once, schemas, schemas_uploads
from functions.api.asked import clean_filename, clean_media_type
from functions.api.bodies import REFUSALS, JsonBody
from functions.api.deps import MayTranscribe, MayTranscribeOnce, ServicesDep
from functions.times import time_view
from shared.bootstrap import Services
from shared.domain import uploads as rules
from shared.domain.accounts import Principal
from shared.domain.idempotency import Answer
from shared.domain.uploads import Upload
from shared.services.requests import Answered
from shared.services.uploads import Announcement

router = APIRouter(tags=["Uploads"])
UploadIdPath = Annotated[str, Path(alias="id", description="The upload's id.")]


@router.post(
    "/uploads/",
    summary="Announce an upload",
    status_code=201,
    responses=schemas.answers(201, "Upload", *REFUSALS, *once.REFUSALS),
    openapi_extra={"requestBody": schemas_uploads.ANNOUNCEMENT} | once.DESCRIBED,
)
async def plan(
    principal: MayTranscribe, services: ServicesDep, asker: MayTranscribeOnce, body: JsonBody
) -> JSONResponse:
    """Say what you will send; the answer says where to. Up to 5 GB go in one POST, more (or on request) in parts.

    An upload that no transcription has used is deleted after a day.
    """
    body.only("filename", "size", "content_type", "multipart")
    size_bytes = body.whole_number("size", least=1, most=rules.MAX_UPLOAD_BYTES)
    announced = Announcement(
        filename=clean_filename(body.text("filename")),
        content_type=clean_media_type(body.text("content_type", default="")),
        size_bytes=size_bytes,
        in_parts=body.boolean("multipart", default=False),
    )

    def make() -> Answer:
        upload = services.uploads.plan(principal.account_id, announced)
        return Answer(status=201, body=_view(upload), location=f"/api/v1/uploads/{upload.upload_id}/")

    answered = await run_in_threadpool(asker.settled, "announce upload", asdict(announced), make)
    # The form is signed anew each time: it is good for an hour, the answer for a day.
    form = await run_in_threadpool(_form, services, principal, answered)
    return once.respond(answered, form)


@router.get("/uploads/{id}/", summary="Get an upload", responses=schemas.answers(200, "UploadState", 404))
def state(principal: MayTranscribe, services: ServicesDep, upload_id: UploadIdPath) -> JSONResponse:
    """What has arrived: after a break, send what is missing."""
    found = services.uploads.state(principal.account_id, upload_id.lower())
    parts = [{"part_number": part.number, "size": part.size_bytes} for part in found.parts]
    status = "complete" if found.is_complete else "waiting"
    return JSONResponse(_view(found.upload) | {"status": status, "parts_received": parts})


@router.post(
    "/uploads/{id}/parts/",
    summary="Get the addresses of parts",
    responses=schemas.answers(200, "PartUrls", 404, 409, *REFUSALS),
    openapi_extra={"requestBody": schemas_uploads.PART_NUMBERS},
)
async def part_urls(
    principal: MayTranscribe, services: ServicesDep, upload_id: UploadIdPath, body: JsonBody
) -> JSONResponse:
    """Where to PUT each part: good for one hour and for exactly the part's size; ask again as needed."""
    body.only("part_numbers")
    numbers = body.whole_numbers("part_numbers")
    urls = await run_in_threadpool(services.uploads.part_urls, principal.account_id, upload_id.lower(), numbers)
    return JSONResponse({"parts": [{"part_number": number, "url": url} for number, url in urls]})


@router.post(
    "/uploads/{id}/complete/",
    summary="Complete an upload in parts",
    responses=schemas.answers(200, "Upload", 404, 409),
)
def complete(principal: MayTranscribe, services: ServicesDep, upload_id: UploadIdPath) -> JSONResponse:
    """Put the parts together. Missing ones are named; nothing needs to be listed."""
    upload = services.uploads.complete(principal.account_id, upload_id.lower())
    return JSONResponse(_view(upload) | {"status": "complete"})


@router.delete(
    "/uploads/{id}/", summary="Delete an upload", status_code=204, responses=schemas.answers(204, None, 404, 409)
)
def abandon(principal: MayTranscribe, services: ServicesDep, upload_id: UploadIdPath) -> Response:
    """Delete what has arrived. An upload that a transcription uses goes with its recording."""
    services.uploads.abandon(principal.account_id, upload_id.lower())
    return Response(status_code=204)


def _form(services: Services, principal: Principal, answered: Answered) -> dict[str, Any]:
    """Where and how to POST the upload that an answer is about; nothing for one in parts, or that has arrived."""
    state = services.uploads.state(principal.account_id, str(answered.answer.body["upload_id"]))
    ticket = None if state.is_complete else services.uploads.ticket(state.upload)
    if ticket is None:
        return {}
    return {
        "url": ticket.form.url,
        "fields": dict(ticket.form.fields),
        "url_expires_at": time_view(ticket.expires_at),
    }


def _view(upload: Upload) -> dict[str, Any]:
    view: dict[str, Any] = {
        "upload_id": upload.upload_id,
        "filename": upload.filename,
        "size": upload.size_bytes,
        "expires_at": time_view(upload.expires_at),
    }
    if upload.multipart_id is not None:
        return view | {"method": "PUT", "part_size": rules.PART_BYTES, "part_count": upload.part_count}
    return view | {"method": "POST"}
