"""POST /api/v1/transcribe/{id}/retry/ and POST /api/v1/transcribe/{id}/rerun/"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse

from functions.api import schemas
from functions.api.asked import Asked, read_speakers, read_webhook_url, unknown_field
from functions.api.deps import MayRework
from functions.api.fields import Fields, quote
from functions.api.forms import read_json_texts
from functions.api.results import find_job
from functions.api.routes.transcribe import CallerDep
from functions.api.submitting import Caller, Taken, jobs_path, respond, submit, submitted_view
from shared.domain.errors import InvalidRequest
from shared.domain.idempotency import Answer
from shared.domain.reruns import RerunStage, RerunWish
from shared.services.requests import Once, Turn
from shared.services.submissions import Submitted

router = APIRouter(tags=["Transcriptions"])

JobPath = Annotated[str, Path(alias="id", description="The transcription.")]

_FIELDS = frozenset({"stage", "num_speakers", "min_speakers", "max_speakers", "webhook_url", "max_credits", "dry_run"})


@router.post(
    "/transcribe/{id}/retry/",
    summary="Try a failed transcription again",
    status_code=202,
    responses=schemas.answers(202, "Submitted", 402, 404, 409, 422, 429),
    openapi_extra={"parameters": [schemas.IDEMPOTENCY_PARAMETER]},
)
def retry(caller: CallerDep, job_id: JobPath) -> JSONResponse:
    """A new transcription of the same recording with the same options; nothing is uploaded again.

    The failed one stays as it is. Asking twice gives the same new transcription: its id follows from the old one's.
    """
    services, path = caller.services, jobs_path(caller.request)
    failed = find_job(caller.request, services, caller.principal, job_id)
    done: list[Submitted] = []

    def effect(turn: Turn) -> Answer:
        submitted = services.repeats.retry(
            caller.principal, failed, lambda job: submitted_view(job, path, ()), caller.request.state.request_id
        )
        turn.settle(submitted.answer)  # it may be noted later than it is done: done again, it makes the same job
        done.append(submitted)
        return submitted.answer

    once = Once(
        account_id=caller.principal.account_id,
        idempotency_key=caller.idempotency_key,
        operation="retry",
        content={"id": failed.job_id},
    )
    answered = services.requests.carry_out(once, effect)
    return respond(caller, done[0] if done else Submitted(answer=answered.answer, replayed=True))


@router.post(
    "/transcribe/{id}/rerun/",
    summary="Run one stage again",
    status_code=202,
    responses=schemas.answers(202, "Submitted", 402, 404, 409, 413, 415, 422, 429) | schemas.QUOTE_ANSWER,
    openapi_extra={"requestBody": schemas.RERUN_BODY, "parameters": [schemas.IDEMPOTENCY_PARAMETER]},
)
async def rerun(caller: CallerDep, _principal: MayRework, job_id: JobPath) -> JSONResponse:
    """Find the speakers anew, with other counts, or make another summary, for the price of that alone.

    A new transcription with the same words; the first stays as it is. Asking twice gives the same new one.
    """
    texts = await read_json_texts(caller.request)
    return await run_in_threadpool(_rerun, caller, job_id, texts)


def _rerun(caller: Caller, job_id: str, texts: dict[str, list[str]]) -> JSONResponse:
    services = caller.services
    job = find_job(caller.request, services, caller.principal, job_id)
    wish, fields = _read_wish(texts), Fields(texts)
    submission = services.repeats.rerun(caller.principal, job, wish)
    allow_loopback = services.settings.allow_loopback_webhooks
    asked = Asked(
        options=submission.options,
        webhook_url=read_webhook_url(fields.text("webhook_url"), allow_loopback=allow_loopback)
        or submission.webhook_url,
        max_millicredits=fields.credits("max_credits"),
        dry_run=fields.boolean("dry_run", default=False),
        reuse=False,
        retention_days=submission.retention_days,
        warnings=tuple(unknown_field(name, _FIELDS) for name in texts if name not in _FIELDS),
    )
    response, _ = submit(caller, asked, Taken(submission=asked.fill(submission)), path=jobs_path(caller.request))
    return response


def _read_wish(texts: dict[str, list[str]]) -> RerunWish:
    fields = Fields(texts)
    text = fields.text("stage").lower()
    try:
        stage = RerunStage(text)
    except ValueError:
        allowed = " or ".join(stage.value for stage in RerunStage)
        message = f"Unknown stage {quote(text)}. Use {allowed}." if text else f"Name the 'stage': {allowed}."
        raise InvalidRequest(message, field="stage") from None
    counts: dict[str, Any] = read_speakers(fields)
    if stage is RerunStage.SUMMARY and any(counts.values()):
        raise InvalidRequest("The number of speakers belongs to the stage 'diarization'.", field="stage")
    return RerunWish(stage=stage, **counts)
