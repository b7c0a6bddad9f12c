"""What every way in has in common: quote or submit, and answer as the contract says."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import IO, Any

from fastapi import Request
from starlette.responses import JSONResponse

from functions.api.asked import Asked, clean_filename, clean_media_type
from functions.api.errors import rate_limit_headers
from functions.api.forms import TranscriptionForm
from functions.api.multipart import ReceivedFile
from functions.api.recordings import measure, measure_stored
from functions.api.results import POLL_SECONDS
from shared.adapters.failures import AWS_FAILURES
from shared.bootstrap import Services
from shared.domain.accounts import Principal
from shared.domain.amounts import to_credits
from shared.domain.errors import NotFound, RequestError
from shared.domain.idempotency import Answer
from shared.domain.ids import AccountId, JobId
from shared.domain.jobs import Job
from shared.services.submissions import Quote, Submission, Submitted, submitted_answer

NO_REUSE = "'reuse' knows recordings that come in the request itself; this one is transcribed anew."


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who asks, how, and with what help."""

    request: Request
    services: Services
    principal: Principal
    idempotency_key: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A recording as it came in; ``file`` is None when it lies in the bucket or is to be fetched."""

    submission: Submission
    file: IO[bytes] | None = None


def take_received(caller: Caller, asked: Asked, received: ReceivedFile, job_id: JobId) -> Taken:
    """The submission of a form's recording. Raises InvalidRequest for what is none."""
    if received.stored_key is None:
        assert received.file is not None
        seconds = measure(received.file)
    else:
        seconds = measure_stored(caller.services.upload_bucket, received.stored_key, received.size_bytes)
    submission = Submission(
        principal=caller.principal,
        options=asked.options,
        filename=clean_filename(received.filename),
        content_type=clean_media_type(received.content_type),
        size_bytes=received.size_bytes,
        duration_seconds=seconds,
        webhook_url=asked.webhook_url,
        content_sha256=received.sha256,
        max_millicredits=asked.max_millicredits,
        reuse=asked.reuse,
        stored_key=received.stored_key,
        job_id=job_id,
        is_fresh=True,
    )
    return Taken(submission=submission, file=received.file)


def take_elsewhere(caller: Caller, asked: Asked, submission: Submission) -> Taken:
    """The submission of a recording that is not in the request, with what was asked for."""
    return Taken(submission=replace(asked.fill(submission), principal=caller.principal))


def submit(
    caller: Caller, asked: Asked, taken: Taken, *, path: str, joining: bool = False
) -> tuple[JSONResponse, Submitted | None]:
    """The answer to a submission or, with ``dry_run``, to a quote. ``path`` is where the job will be found.

    ``joining``: see Submissions.submit.
    """
    services = caller.services
    request_id = caller.request.state.request_id
    submission = replace(taken.submission, retention_days=asked.retention_days, request_id=request_id)
    if asked.reuse and submission.content_sha256 is None:
        asked = replace(asked, warnings=(*asked.warnings, NO_REUSE))
    if asked.dry_run:
        return JSONResponse(_quote_view(services.submissions.quote(submission), asked.warnings)), None
    submitted = services.submissions.submit(
        submission,
        taken.file,
        idempotency_key=caller.idempotency_key,
        render=lambda job: submitted_view(job, path, asked.warnings),
        joining=joining,
    )
    return respond(caller, submitted), submitted


def answered_before(caller: Caller, asked: Asked, submission: Submission) -> JSONResponse | None:
    """What the same request was answered when its recording could still be looked at, if it was sent before."""
    if asked.dry_run:
        return None
    same = replace(take_elsewhere(caller, asked, submission).submission, retention_days=asked.retention_days)
    submitted = caller.services.submissions.answered_before(same, caller.idempotency_key)
    return None if submitted is None else respond(caller, submitted)


def nothing_left_behind(
    services: Services, received: TranscriptionForm
) -> contextlib.AbstractContextManager[list[Submitted | None]]:
    """Delete what was streamed into the bucket unless a submission put into the list has taken it."""
    key = received.form.file.stored_key if received.form.file else None
    if key is None:
        return contextlib.nullcontext([])
    undo = partial(services.bucket.delete, key)
    return undone_unless_taken(services, received.account_id, received.job_id, key, undo)


@contextlib.contextmanager
def undone_unless_taken(
    services: Services, account_id: AccountId, job_id: JobId, key: str, undo: Callable[[], None]
) -> Iterator[list[Submitted | None]]:
    """Undo what brought a recording to ``key`` unless a submission put into the list has taken it from there."""
    outcome: list[Submitted | None] = []
    try:
        yield outcome
    except Exception as error:
        if _left_no_job(error, services, account_id, job_id):
            undo()
        raise
    if not any(each is not None and each.job is not None and each.job.recording.key == key for each in outcome):
        undo()


def _left_no_job(error: Exception, services: Services, account_id: AccountId, job_id: JobId) -> bool:
    """True when a submission that ended so made no job, as far as can be told; else the bucket's lifecycle tidies."""
    if isinstance(error, RequestError):
        return True
    try:
        services.jobs.get(job_id, account_id)
    except NotFound:
        return True
    except AWS_FAILURES:
        pass
    return False


def public_path(request: Request) -> str:
    """The request's path as the client wrote it, with a slash: under API Gateway's own host it has the stage in it."""
    event = request.scope.get("aws.event")
    path = str(event["requestContext"]["path"]) if event else request.url.path
    return path if path.endswith("/") else path + "/"


def jobs_path(request: Request) -> str:
    """Where jobs are found, as this client sees our paths."""
    path = public_path(request)
    for start in ("api/v1/transcribe/", "v1/audio/"):
        before, found, _ = path.partition(start)
        if found:
            return before + "api/v1/transcribe/"
    return "/api/v1/transcribe/"


def submitted_view(job: Job, path: str, warnings: tuple[str, ...]) -> Answer:
    """The answer about a new job, with the way to it."""
    answer = submitted_answer(job)
    body = {**answer.body, **({"warnings": list(warnings)} if warnings else {})}
    return replace(answer, body=body, location=f"{path}{job.job_id}/")


def respond(caller: Caller, submitted: Submitted) -> JSONResponse:
    """The answer to a submission, with the headers that go with it."""
    answer = submitted.answer
    caller.request.state.job_id = str(answer.body["id"])
    pace = caller.services.submissions.pace(caller.principal.account_id)
    headers = rate_limit_headers(limit=pace.limit, remaining=pace.remaining, reset_seconds=pace.reset_seconds)
    if answer.location:
        headers["Location"] = answer.location
    if answer.status == 202:
        headers["Retry-After"] = str(POLL_SECONDS)
    if submitted.replayed:
        headers["Idempotent-Replayed"] = "true"
    return JSONResponse(dict(answer.body), status_code=answer.status, headers=headers)


def _quote_view(quote: Quote, warnings: tuple[str, ...]) -> dict[str, Any]:
    estimated, available = quote.estimated_millicredits, quote.available_millicredits
    seconds, wait_seconds = quote.duration_seconds, quote.expected_wait_seconds
    view: dict[str, Any] = {
        "dry_run": True,
        "duration_seconds": None if seconds is None else round(seconds, 3),
        "estimated_credits": None if estimated is None else to_credits(estimated),
        "available_credits": to_credits(available),
        "sufficient_credits": (estimated or 0) <= available,
        "expected_wait_seconds": None if wait_seconds is None else round(wait_seconds, 1),
    }
    if quote.reused_from:
        view["reused_from"] = quote.reused_from
    return view | ({"warnings": list(warnings)} if warnings else {})
