"""A request to transcribe, as a form or as JSON, read into what the services take."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from functions.api.asked import Asked, json_texts, parse_asked
from functions.api.bodies import read_json
from functions.api.deps import MayTranscribe, ServicesDep
from functions.api.fields import quote
from functions.api.multipart import Destination, ReceivedFile, ReceivedForm, receive_form
from functions.api.recordings import check_head
from shared.bootstrap import Services
from shared.domain.errors import InvalidRequest, UnsupportedMediaType
from shared.domain.ids import AccountId, JobId
from shared.domain.job_keys import recording_key

MULTIPART_HINT = "Send multipart/form-data with the recording in the field 'file'."


@dataclass(frozen=True, slots=True, kw_only=True)
class TranscriptionForm:
    """A form as it came, its recording in memory or in the bucket. ``job_id`` names the job that may take it."""

    form: ReceivedForm
    job_id: JobId
    account_id: AccountId


CheckTexts = Callable[[Mapping[str, Sequence[str]], Services], None]
"""Raises InvalidRequest for fields that are wrong, whatever may come after them."""


def reading(check: CheckTexts) -> Callable[..., Awaitable[TranscriptionForm | None]]:
    """A dependency: the request's multipart form, or None where the request is JSON. Raises UnsupportedMediaType.

    Depends on the principal so that nobody without a key makes us read a body. Fields before a large file, and its
    first bytes, are checked before the rest is taken in.
    """

    async def read_form(request: Request, principal: MayTranscribe, services: ServicesDep) -> TranscriptionForm | None:
        if media_type_of(request) == "application/json":
            return None
        check_multipart(request)

        def admit(texts: Mapping[str, Sequence[str]], head: bytes) -> None:
            services.submissions.check_may_submit(principal.account_id)
            check(texts, services)
            check_head(head)

        job_id = JobId(services.new_id())
        key = recording_key(principal.account_id, job_id)
        destination = Destination(bucket=services.upload_bucket, key=key, admit=admit)
        form = await receive_form(request.stream(), request.headers["content-type"], destination)
        return TranscriptionForm(form=form, job_id=job_id, account_id=principal.account_id)

    return read_form


def read_asked(services: Services, texts: Mapping[str, Sequence[str]], source: str) -> Asked:
    """What is asked for, beside the recording in the field ``source``. Raises InvalidRequest."""
    return parse_asked(
        texts,
        also=frozenset({source}),
        allow_loopback=services.settings.allow_loopback_webhooks,
        most_days=services.submissions.most_days,
    )


def _check_texts(texts: Mapping[str, Sequence[str]], services: Services) -> None:
    read_asked(services, texts, "file")


Form = Annotated[TranscriptionForm | None, Depends(reading(_check_texts))]


def media_type_of(request: Request) -> str:
    """The request's Content-Type without its parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def check_multipart(request: Request) -> None:
    """Raise InvalidRequest or UnsupportedMediaType unless the request is a multipart form."""
    media_type = media_type_of(request)
    if media_type == "multipart/form-data":
        return
    if media_type in {"", "application/x-www-form-urlencoded"}:
        # What clients send when no file was attached: the contract's "missing required fields".
        raise InvalidRequest(f"The recording is missing. {MULTIPART_HINT}", field="file")
    raise UnsupportedMediaType(f"The Content-Type {quote(media_type)} is not supported here. {MULTIPART_HINT}")


def the_file(form: ReceivedForm) -> ReceivedFile:
    """The form's recording. Raises InvalidRequest where there is none, or more than one."""
    if "file" in form.texts:
        message = "'file' came as text, not as a file. With curl, put an @ before the path: -F \"file=@audio.mp3\"."
        raise InvalidRequest(message, field="file")
    if form.file is None:
        raise InvalidRequest(f"The recording is missing. {MULTIPART_HINT}", field="file")
    if form.file.name != "file" and "file" not in form.ignored_files:
        message = f"The recording must be in the field 'file', not in {quote(form.file.name)}."
        raise InvalidRequest(message, field="file")
    if form.ignored_files:
        raise InvalidRequest("Only one file can be transcribed per request.", field="file")
    if not form.file.size_bytes:
        raise InvalidRequest("The file is empty.", field="file")
    return form.file


async def read_json_texts(request: Request) -> dict[str, list[str]]:
    """A JSON object's values as the texts a form would have, so that both are read alike. Raises InvalidRequest."""
    return json_texts(await read_json(request))
