"""GET /api/v1/transcribe/, and what an owner does with one transcription: PATCH, DELETE, cancel."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from pydantic import ConfigDict, Field
from starlette.responses import JSONResponse, Response

from functions.api import schemas
from functions.api.bodies import REFUSALS, Body, JsonBody, body_of
from functions.api.deps import MayRead, MayRework, MayTranscribe, ServicesDep
from functions.api.described import Described, or_empty
from functions.api.fields import Fields, quote
from functions.api.pages import PAGE_PARAMETERS, query_fields, read_cursor, read_limit
from functions.api.results import find_job, job_response
from functions.times import time_view
from shared.adapters.dynamodb.jobs import JobQuery
from shared.domain.amounts import to_credits
from shared.domain.cursors import encode_cursor
from shared.domain.errors import InvalidRequest
from shared.domain.ids import AccountId
from shared.domain.jobs import Job, JobState
from shared.domain.speakers import SpeakerEdit

router = APIRouter(tags=["Transcriptions"])

_POSITION = frozenset({"job_id", "account_id", "created_at"})
_LIVE = frozenset({JobState.QUEUED, JobState.DISPATCHED, JobState.RUNNING})
_STATES = {
    "": _LIVE | {JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED},
    "processing": _LIVE,
    "completed": frozenset({JobState.COMPLETED}),
    "failed": frozenset({JobState.FAILED}),
    "cancelled": frozenset({JobState.CANCELLED}),
}
_SOURCES = ("upload", "url", "drop")

MAX_CHANGES = 200

_SUMMARY: dict[str, Any] = {
    "id": "550e8400-e29b-41d4-a716-446655440000",
    "status": "completed",
    "stage": None,
    "progress": 100,
    "filename": "podcast.mp3",
    "source": "upload",
    "model": "whisper-large-v3",
    "language": "",
    "duration_seconds": 1847.5,
    "credits_used": 31.2,
    "created_at": "2026-11-23T09:30:00.000Z",
    "finished_at": "2026-11-23T09:31:12.000Z",
    "expires_at": "2027-11-23T09:30:00.000Z",
}

JobPath = Annotated[str, Path(alias="id", description="The transcription.")]


class TranscriptionSummary(Described):
    """One transcription of a list."""

    model_config = ConfigDict(json_schema_extra={"example": _SUMMARY})
    id: str
    status: str
    stage: str | None = Field(default=None, description="While it is processing.")
    progress: int = Field(description="Percent.")
    filename: str
    source: str = Field(description="How the recording came: upload, url or drop.")
    model: str
    language: str = Field(description="As it was asked for; empty: to be detected.")
    duration_seconds: float | None
    credits_used: float | None
    created_at: datetime
    finished_at: datetime | None
    expires_at: datetime = Field(description="When it is deleted.")


class TranscriptionList(Described):
    """A page of transcriptions, newest first."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"transcriptions": [_SUMMARY], "next_cursor": "eyJqb2JfaWQiOiI1NTBlODQwMCJ9"}}
    )
    transcriptions: list[TranscriptionSummary]
    next_cursor: str | None = Field(description="Give it as `cursor` for the next page; null on the last.")


class SpeakerChange(Described):
    """Another name for a speaker, or the speaker it is the same person as."""

    model_config = ConfigDict(extra="forbid")
    id: str = Field(max_length=100)
    label: str | None = Field(default=None, max_length=400)
    merge_into: str | None = Field(default=None, max_length=100)


class TranscriptionUpdate(Described):
    """What is to change."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {
                "speakers": [{"id": "SPEAKER_00", "label": "Host"}, {"id": "SPEAKER_02", "merge_into": "SPEAKER_00"}]
            }
        },
    )
    speakers: list[SpeakerChange] = Field(min_length=1, max_length=MAX_CHANGES)


class DeletedObject(Described):
    """Something that is gone."""

    key: str
    size_bytes: int


class Deletion(Described):
    """The receipt of a deletion: everything that was removed."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "id": _SUMMARY["id"],
                "deleted_at": "2026-11-24T08:00:00.000Z",
                "objects": [
                    {"key": "audio/2f0c/550e8400-e29b-41d4-a716-446655440000", "size_bytes": 14771023},
                    {"key": "results/2f0c/550e8400-e29b-41d4-a716-446655440000/1.json.gz", "size_bytes": 18211},
                ],
            }
        }
    )
    id: str
    deleted_at: datetime
    objects: list[DeletedObject]


@router.get(
    "/transcribe/",
    summary="List transcriptions",
    responses=schemas.answers(200, "TranscriptionList"),
    openapi_extra={
        "parameters": [
            {
                "name": "status",
                "in": "query",
                "required": False,
                "schema": or_empty({"type": "string", "enum": [name for name in _STATES if name]}),
            },
            {
                "name": "source",
                "in": "query",
                "required": False,
                "schema": or_empty({"type": "string", "enum": list(_SOURCES)}),
            },
            {
                "name": "since",
                "in": "query",
                "required": False,
                "schema": or_empty({"type": "string", "format": "date-time"}),
                "description": "Submitted at this moment or later.",
            },
            {
                "name": "until",
                "in": "query",
                "required": False,
                "schema": or_empty({"type": "string", "format": "date-time"}),
                "description": "Submitted at this moment or earlier.",
            },
            *PAGE_PARAMETERS,
        ]
    },
)
def list_transcriptions(request: Request, principal: MayRead, services: ServicesDep) -> JSONResponse:
    """The account's transcriptions, newest first. A page may be short, or empty, while there is a `next_cursor`."""
    fields = query_fields(request)
    query = _read_query(fields, principal.account_id)
    position = read_cursor(fields.text("cursor"), _POSITION)
    page = services.transcriptions.page(query, read_limit(fields), position)
    cursor = None if page.position is None else encode_cursor(page.position)
    return JSONResponse({"transcriptions": [_summary(job) for job in page.jobs], "next_cursor": cursor})


@router.patch(
    "/transcribe/{id}/",
    summary="Rename or merge speakers",
    responses=schemas.answers(200, "Transcription", 404, 409, *REFUSALS),
    openapi_extra=body_of("TranscriptionUpdate"),
)
def update_transcription(
    request: Request, principal: MayRework, services: ServicesDep, job_id: JobPath, body: JsonBody
) -> Response:
    """Give speakers their names, or make two voices one. Exports and later answers have the change."""
    body.only("speakers")
    edits = [_edit(each) for each in body.objects("speakers", most=MAX_CHANGES)]
    job = find_job(request, services, principal, job_id)
    changed = services.transcriptions.edit_speakers(job, edits)
    return job_response(request, services.results, changed, segments=False)


@router.delete("/transcribe/{id}/", summary="Delete a transcription", responses=schemas.answers(200, "Deletion", 404))
def delete_transcription(
    request: Request, principal: MayTranscribe, services: ServicesDep, job_id: JobPath
) -> JSONResponse:
    """Remove the recording, the result and its exports, now. A running transcription is cancelled first.

    Credits that were used stay used: the ledger says what was paid, and keeps nothing of what was said.
    """
    receipt = services.transcriptions.delete(find_job(request, services, principal, job_id))
    objects = [{"key": each.key, "size_bytes": each.size_bytes} for each in receipt.objects]
    return JSONResponse({"id": receipt.job_id, "deleted_at": time_view(receipt.deleted_at), "objects": objects})


@router.post(
    "/transcribe/{id}/cancel/",
    summary="Cancel a transcription",
    responses=schemas.answers(200, "Transcription", 404, 409),
)
def cancel_transcription(
    request: Request, principal: MayTranscribe, services: ServicesDep, job_id: JobPath
) -> Response:
    """Stop it. Credits for work not done come back at once."""
    job = services.transcriptions.cancel(find_job(request, services, principal, job_id))
    return job_response(request, services.results, job, segments=False)


def _read_query(fields: Fields, account_id: AccountId) -> JobQuery:
    status, source = fields.text("status").lower(), fields.text("source").lower()
    if status not in _STATES:
        allowed = ", ".join(name for name in _STATES if name)
        raise InvalidRequest(f"Unknown status {quote(status)}. Use one of: {allowed}.", field="status")
    if source and source not in _SOURCES:
        raise InvalidRequest(f"Unknown source {quote(source)}. Use one of: {', '.join(_SOURCES)}.", field="source")
    since, until = fields.time("since"), fields.time("until")
    if since is not None and until is not None and until < since:
        raise InvalidRequest("'until' must not be earlier than 'since'.", field="until")
    return JobQuery(account_id=account_id, states=_STATES[status], since=since, until=until, source=source or None)


def _edit(change: Body) -> SpeakerEdit:
    change.only("id", "label", "merge_into")
    return SpeakerEdit(
        speaker_id=change.text("id"),
        label=change.optional_text("label"),
        merge_into=change.optional_text("merge_into"),
    )


def _summary(job: Job) -> dict[str, Any]:
    outcome = job.outcome
    duration = outcome.duration_seconds if outcome else None
    return {
        "id": job.job_id,
        "status": job.status,
        "stage": None if job.state.is_final else job.stage.value,
        "progress": job.progress_percent,
        "filename": job.recording.filename,
        "source": job.source,
        "model": job.options.model.value,
        "language": job.options.language,
        "duration_seconds": job.estimated_seconds if duration is None else duration,
        "credits_used": to_credits(outcome.used_millicredits) if outcome else None,
        "created_at": time_view(job.created_at),
        "finished_at": time_view(outcome.finished_at) if outcome else None,
        "expires_at": time_view(job.expires_at),
    }
