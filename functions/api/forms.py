"""A request to transcribe, as a form or as JSON, read into what the services take."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

from fastapi import Depends, Request

from functions.api.bodies import read_json
from functions.api.deps import MayTranscribe, ServicesDep
from functions.api.errors import MULTIPART_HINT
from functions.api.fields import MAX_SPEAKERS, Fields, quote
from functions.api.multipart import Destination, ReceivedFile, ReceivedForm, receive_form
from functions.api.recordings import check_head
from shared.bootstrap import Services
from shared.domain.errors import InvalidRequest, UnsupportedMediaType
from shared.domain.ids import AccountId, JobId
from shared.domain.jobs import recording_key
from shared.domain.options import TranscriptionOptions
from shared.domain.urls import UnsafeUrl, parse_webhook_url
from shared.services.submissions import Submission

MAX_FILENAME_CHARS = 255

DEFAULT_FILENAME = "recording"
DEFAULT_CONTENT_TYPE = "application/octet-stream"

_OPTION_FIELDS = frozenset(
    {"model", "language", "diarization", "timestamps", "word_timestamps", "summary", "vocabulary", "vocabulary[]"}
    | {"num_speakers", "min_speakers", "max_speakers"}
)
_FIELDS = _OPTION_FIELDS | {"webhook_url", "max_credits", "dry_run", "reuse", "retention_days"}
# Control characters, and those that turn the direction of the text around them.
_UNWANTED = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_MEDIA_TYPE = re.compile(r"[A-Za-z0-9.+_-]{1,60}/[A-Za-z0-9.+_-]{1,60}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a customer asks for, beside the recording itself."""

    options: TranscriptionOptions
    webhook_url: str | None
    max_millicredits: int | None
    dry_run: bool
    reuse: bool
    retention_days: int | None
    warnings: tuple[str, ...]

    def fill(self, submission: Submission) -> Submission:
        """The submission with what was asked for."""
        return replace(
            submission,
            options=self.options,
            webhook_url=self.webhook_url,
            max_millicredits=self.max_millicredits,
            retention_days=self.retention_days,
        )


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


def _check_texts(texts: Mapping[str, Sequence[str]], services: Services) -> None:
    parse_asked(texts, also=frozenset({"file"}), allow_loopback=services.settings.allow_loopback_webhooks)


Form = Annotated[TranscriptionForm | None, Depends(reading(_check_texts))]
OpenAiForm = Annotated[TranscriptionForm | None, Depends(reading(lambda _texts, _services: None))]


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


def parse_asked(texts: Mapping[str, Sequence[str]], *, also: frozenset[str], allow_loopback: bool) -> Asked:
    """The checked options. ``also`` are fields read elsewhere. Raises InvalidRequest naming the first that is wrong."""
    fields = Fields(texts)
    options = TranscriptionOptions(
        model=fields.model(),
        language=fields.language(),
        diarization=fields.boolean("diarization", default=False),
        timestamps=fields.boolean("timestamps", default=True),
        word_timestamps=fields.boolean("word_timestamps", default=False),
        summary=fields.boolean("summary", default=False),
        vocabulary=fields.vocabulary(),
        **read_speakers(fields),
    )
    known = _FIELDS | also
    return Asked(
        options=options,
        webhook_url=read_webhook_url(fields.text("webhook_url"), allow_loopback=allow_loopback),
        max_millicredits=fields.credits("max_credits"),
        dry_run=fields.boolean("dry_run", default=False),
        reuse=fields.boolean("reuse", default=False),
        retention_days=fields.optional_whole_number("retention_days", most=3_650),
        warnings=tuple(unknown_field(name, known) for name in texts if name not in known),
    )


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


def json_texts(values: Mapping[str, Any]) -> dict[str, list[str]]:
    """JSON values as the texts a form would have. Raises InvalidRequest."""
    return {name: _texts(name, value) for name, value in values.items() if value is not None}


def clean_filename(text: str) -> str:
    """A file's name without its path, unprintable characters and excess length; the ending stays."""
    name = _UNWANTED.sub("", re.split(r"[/\\]", text)[-1]).strip()
    if name in {"", ".", ".."}:
        return DEFAULT_FILENAME
    if len(name) <= MAX_FILENAME_CHARS:
        return name
    stem, dot, ending = name.rpartition(".")
    if not dot or len(ending) > 16:
        return name[:MAX_FILENAME_CHARS]
    return f"{stem[: MAX_FILENAME_CHARS - len(ending) - 1]}.{ending}"


def clean_media_type(text: str | None) -> str:
    """A media type without its parameters; what is none becomes the one for any bytes."""
    media_type = (text or "").partition(";")[0].strip().lower()
    return media_type if _MEDIA_TYPE.fullmatch(media_type) else DEFAULT_CONTENT_TYPE


def read_speakers(fields: Fields) -> dict[str, int | None]:
    """How many people speak. Raises InvalidRequest where the numbers contradict each other."""
    counts = {name: fields.count(name, most=MAX_SPEAKERS) for name in ("num_speakers", "min_speakers", "max_speakers")}
    num, least, most = counts.values()
    if num and (least or most):
        raise InvalidRequest("Give either 'num_speakers' or a range, not both.", field="num_speakers")
    if least and most and least > most:
        raise InvalidRequest("'min_speakers' is larger than 'max_speakers'.", field="min_speakers")
    return counts


def _texts(name: str, value: Any) -> list[str]:
    if isinstance(value, bool):
        return ["true" if value else "false"]
    if isinstance(value, list):
        if all(isinstance(each, str) for each in value):
            return [json.dumps(value)]
    elif isinstance(value, str):
        return [value]
    elif not isinstance(value, dict):
        return [f"{value:f}"] if not isinstance(value, int) else [str(value)]
    raise InvalidRequest(f"'{name[:100]}' has a value of the wrong type.", field=name[:100])


def read_webhook_url(text: str, *, allow_loopback: bool) -> str | None:
    """The checked URL, or None where there is none. Raises InvalidRequest."""
    try:
        return parse_webhook_url(text, allow_loopback=allow_loopback).text if text else None
    except UnsafeUrl as error:
        raise InvalidRequest(f"The webhook_url cannot be used: {error}", field="webhook_url") from error


def unknown_field(name: str, known: frozenset[str]) -> str:
    """The warning about a field that nobody knows."""
    import difflib  # only for those who mistyped

    close = difflib.get_close_matches(name, known, n=1)
    hint = f" Did you mean '{close[0]}'?" if close else ""
    return f"The unknown field {quote(name)} was ignored.{hint}"
