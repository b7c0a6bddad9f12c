"""POST /v1/audio/transcriptions and /translations: for code written for OpenAI's SDK, which sets no path but this.

The answer is the transcript itself, so the request waits for the job, as long as its host lets it.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, PlainTextResponse, Response

from functions.api import schemas
from functions.api.asked import FIELDS, Asked, unknown_field
from functions.api.fields import MAX_TERM_CHARS, MAX_VOCABULARY_TERMS, Fields, quote
from functions.api.forms import TranscriptionForm, check_multipart, read_asked, reading, the_file
from functions.api.routes.transcribe import CallerDep
from functions.api.submitting import Caller, jobs_path, nothing_left_behind, submit, take_received
from shared.bootstrap import Services
from shared.domain.errors import InvalidRequest, RequestError
from shared.domain.exports import ExportFormat
from shared.domain.jobs import Job, JobState
from shared.domain.languages import languages
from shared.domain.options import Model
from shared.domain.subtitles import SubtitleStyle
from shared.domain.transcripts import Transcript
from shared.services.exports import CONTENT_TYPES, ExportRequest

router = APIRouter(tags=["OpenAI-compatible"])

LAMBDA_WAIT_SECONDS = 24.0  # API Gateway ends a request after 29
HOST_WAIT_SECONDS = 50.0  # the template's CloudFront after 60, Modal's web functions after 150
POLL_SECONDS = 0.4
MAX_TERM_WORDS = 4  # longer pieces between commas are sentences
FORMATS = ("json", "text", "srt", "vtt", "verbose_json")
MODELS = {"whisper-1": Model.LARGE_V3} | {model.value: model for model in Model}
MAX_WARNINGS = 8  # all headers of an answer share 10 KB on API Gateway
_OURS = frozenset(
    {"diarization", "num_speakers", "min_speakers", "max_speakers", "summary", "vocabulary", "vocabulary[]"}
    | {"max_credits", "reuse", "retention_days"}
)
_KNOWN = FIELDS | {
    *("file", "prompt", "response_format", "stream", "timestamp_granularities", "timestamp_granularities[]")
}
# Fields of OpenAI's that our engines have nothing for; lists and objects come as name[] and name[key].
_NO_EFFECT = frozenset(
    {"temperature", "chunking_strategy", "include", "keywords", "languages"}
    | {"known_speaker_names", "known_speaker_references"}
)


class StillProcessing(RequestError):
    """The host's time is up; the job goes on and is found at its own address."""

    code = "still_processing"


class TranscriptionFailed(RequestError):
    """The job this request waited for has failed; nothing was charged."""

    code = "transcription_failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """How the answer shall look, and what it has to say about the request."""

    format: str
    words: bool
    segments: bool
    warnings: tuple[str, ...]


def _check(texts: Mapping[str, Sequence[str]], services: Services) -> None:
    _read(texts, services)


OpenAiForm = Annotated[TranscriptionForm | None, Depends(reading(_check))]


@router.post(
    "/audio/transcriptions/",
    summary="Transcribe (OpenAI's API)",
    responses=schemas.openai_answers(200, None, 402, 409, 413, 415, 422, 429) | schemas.OPENAI_TRANSCRIPT,
    openapi_extra={"requestBody": schemas.OPENAI_FORM, "parameters": [schemas.IDEMPOTENCY_PARAMETER]},
)
async def transcriptions(caller: CallerDep, form: OpenAiForm) -> Response:
    """OpenAI's `audio.transcriptions.create`: waits for the transcript and answers with it.

    When the host's time is up the answer is a 504 that names the job; it goes on, and the same request sent again
    joins it instead of making a second one.
    """
    check_multipart(caller.request)
    assert form is not None
    limit = LAMBDA_WAIT_SECONDS if caller.request.scope.get("aws.event") else HOST_WAIT_SECONDS
    give_up_at = time.monotonic() + limit
    wanted, job = await run_in_threadpool(_submit, caller, form)
    while not job.state.is_final:
        if time.monotonic() > give_up_at:
            raise StillProcessing(
                f"The transcription is still at work. Its result will be at {jobs_path(caller.request)}{job.job_id}/."
            )
        await asyncio.sleep(POLL_SECONDS)
        job = await run_in_threadpool(caller.services.jobs.get, job.job_id, caller.principal.account_id)
    return await run_in_threadpool(_answer, caller, job, wanted)


@router.post("/audio/translations/", summary="Translate (not supported)", responses=schemas.openai_answers(400, None))
async def translations(_caller: CallerDep) -> Response:
    """Not supported: transcripts are in the language that is spoken."""
    raise InvalidRequest(
        "Translation is not supported: transcripts are in the language that is spoken. Use /v1/audio/transcriptions."
    )


def _submit(caller: Caller, received: TranscriptionForm) -> tuple[Wanted, Job]:
    services = caller.services
    with nothing_left_behind(services, received) as outcome:
        recording = the_file(received.form)
        asked, wanted = _read(received.form.texts, services)
        taken = take_received(caller, asked, recording, received.job_id)
        _, submitted = submit(caller, asked, taken, path=jobs_path(caller.request), joining=True)
        assert submitted is not None
        outcome.append(submitted)
    return wanted, services.jobs.get(str(submitted.answer.body["id"]), caller.principal.account_id)


def _read(texts: Mapping[str, Sequence[str]], services: Services) -> tuple[Asked, Wanted]:
    fields = Fields(texts)
    model = fields.text("model") or "whisper-1"
    if model not in MODELS:
        raise InvalidRequest(f"Unknown model {quote(model)}. Use {', '.join(MODELS)}.", field="model")
    format_ = fields.text("response_format") or "json"
    if format_ not in FORMATS:
        message = f"Unknown response_format {quote(format_)}. Use {', '.join(FORMATS)}."
        raise InvalidRequest(message, field="response_format")
    if fields.boolean("stream", default=False):
        raise InvalidRequest("Streaming is not supported; leave 'stream' out.", field="stream")
    _refuse_what_cannot_be_kept(fields)
    given = {*texts.get("timestamp_granularities[]", ()), *texts.get("timestamp_granularities", ())}
    if given - {"word", "segment"}:
        field = "timestamp_granularities[]"
        raise InvalidRequest("timestamp_granularities may be 'word' and 'segment'.", field=field)
    ours = {name: values for name, values in texts.items() if name in _OURS} | {"model": [MODELS[model].value]}
    ours["language"] = [fields.text("language")]
    if not ours.keys() & {"vocabulary", "vocabulary[]"}:
        ours["vocabulary"] = [json.dumps(_spellings(fields.text("prompt")))]
    ours["word_timestamps"] = ["true" if "word" in given else "false"]
    asked = read_asked(services, ours, "file")
    return asked, Wanted(
        format=format_,
        words="word" in given,
        segments="segment" in given or not given,
        warnings=_warnings(texts),
    )


def _refuse_what_cannot_be_kept(fields: Fields) -> None:
    """Options of ours that contradict an answer which is the transcript itself. Raises InvalidRequest."""
    native = "Send it to POST /api/v1/transcribe/."
    times = "Say which times you want in 'timestamp_granularities[]'."
    refused = {
        "dry_run": (fields.boolean("dry_run", default=False), native),
        "webhook_url": (bool(fields.text("webhook_url")), native),
        "timestamps": (not fields.boolean("timestamps", default=True), times),
        "word_timestamps": (fields.boolean("word_timestamps", default=False), times),
    }
    for name, (given, instead) in refused.items():
        if given:
            message = f"'{name}' is not possible here, where the answer is the transcript. {instead}"
            raise InvalidRequest(message, field=name)


def _warnings(texts: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """What was said in vain, each once."""
    warnings: dict[str, None] = {}
    for name in texts:
        if (plain := name.partition("[")[0]) in _NO_EFFECT:
            warnings[f"'{plain}' has no effect here."] = None
        elif name not in _KNOWN:
            warnings[unknown_field(name, _KNOWN)] = None
    more = len(warnings) - MAX_WARNINGS
    shown = tuple(warnings)[:MAX_WARNINGS]
    return shown if more <= 0 else (*shown, f"{more} more fields were ignored.")


def _spellings(prompt: str) -> list[str]:
    """The terms of a prompt that only lists them, which is how OpenAI's guide has names spelled; else nothing."""
    terms = [" ".join(term.split()) for term in prompt.removesuffix(".").split(",")]
    terms = [term for term in terms if term]
    return terms[:MAX_VOCABULARY_TERMS] if all(map(_is_term, terms)) else []


def _is_term(text: str) -> bool:
    is_short = len(text) <= MAX_TERM_CHARS and len(text.split()) <= MAX_TERM_WORDS
    return is_short and text.isprintable() and not re.search(r"[.!?:]\s", text)


def _answer(caller: Caller, job: Job, wanted: Wanted) -> Response:
    headers = {"X-Job-Id": str(job.job_id)}
    if wanted.warnings:
        headers["X-Warnings"] = json.dumps(wanted.warnings)  # text, srt and vtt have no other place for it
    if job.state is not JobState.COMPLETED:
        message = job.outcome.error_message if job.outcome and job.outcome.error_message else "It was cancelled."
        raise TranscriptionFailed(message)
    if wanted.format in {"srt", "vtt"}:
        format_ = ExportFormat(wanted.format)
        file = caller.services.exports.make(job, ExportRequest(format=format_, style=SubtitleStyle()))
        return Response(file.body, media_type=CONTENT_TYPES[format_], headers=headers)
    transcript = caller.services.results.load(job, words=wanted.words)
    if wanted.format == "text":
        return PlainTextResponse(transcript.text + "\n", headers=headers)
    usage = {"type": "duration", "seconds": round(transcript.duration_seconds)}
    body: dict[str, Any] = {"text": transcript.text, "usage": usage}
    if wanted.format == "verbose_json":
        body |= _verbose(transcript, wanted)
    return JSONResponse(body, headers=headers)


def _verbose(transcript: Transcript, wanted: Wanted) -> dict[str, Any]:
    names = dict(languages())
    body: dict[str, Any] = {
        "task": "transcribe",
        "language": names.get(transcript.language, transcript.language).lower(),
        "duration": round(transcript.duration_seconds, 3),
    }
    if wanted.segments:
        body["segments"] = [
            {
                "id": number,
                "seek": int(segment.start_seconds * 100),
                "start": round(segment.start_seconds, 3),
                "end": round(segment.end_seconds, 3),
                "text": segment.text,
                # Fields of OpenAI's shape that our engines do not give: their neutral values.
                "tokens": [],
                "temperature": 0.0,
                "avg_logprob": 0.0,
                "compression_ratio": 1.0,
                "no_speech_prob": 0.0,
            }
            for number, segment in enumerate(transcript.segments)
        ]
    if wanted.words:
        body["words"] = [
            {"word": word.text, "start": round(word.start_seconds, 3), "end": round(word.end_seconds, 3)}
            for segment in transcript.segments
            for word in segment.words
        ]
    return body
