"""What crosses the wire, for the OpenAPI document: models of the answers, the request form, the errors.

Answers are not built from these models: a result of ten hours is sent as it lies, not validated word by word. A test
holds real answers against the document instead.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from functions.api.described import Described, json_content
from functions.api.errors import STATUS_BY_CODE
from functions.api.fields import MAX_SPEAKERS, MAX_TERM_CHARS, MAX_VOCABULARY_TERMS
from shared.domain.options import Model
from shared.domain.reruns import RerunStage

_ID = "550e8400-e29b-41d4-a716-446655440000"


class Error(Described):
    """Every error has this shape."""

    error: str = Field(description="A stable code.", examples=["invalid_request"])
    message: str = Field(description="What is wrong and what to do, for a person.")
    request_id: str = Field(description="Name it when you ask for help; also in the X-Request-Id header.")
    field: str | None = Field(default=None, description="The field that is wrong, if it is one.")


class Submitted(Described):
    """A transcription that has begun."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"id": _ID, "status": "processing", "estimated_credits": 5.5}}
    )
    id: str
    status: Literal["processing", "completed", "failed", "cancelled"] = Field(
        description="`processing`; with reuse=true `completed`; where the same was asked before, how it stands by now."
    )
    estimated_credits: float | None = Field(description="Null where the length of the recording could not be told yet.")
    warnings: list[str] | None = Field(default=None, description="Fields that were ignored, if any.")
    reused_from: str | None = Field(default=None, description="With reuse=true: whose result this is, for 0 credits.")


class Quote(Described):
    """What a transcription would cost and how long it would take; nothing was created."""

    dry_run: Literal[True]
    duration_seconds: float | None = Field(description="Null where it could not be told from the file's headers.")
    estimated_credits: float | None
    available_credits: float
    sufficient_credits: bool
    expected_wait_seconds: float | None = Field(description="From submission to result, as your last jobs went.")
    reused_from: str | None = Field(default=None, description="With reuse=true: the result that would be given again.")
    warnings: list[str] | None = None


class Speaker(Described):
    """One voice of the recording."""

    id: str
    label: str
    speaking_time: float = Field(description="Seconds.")


class Word(Described):
    """One word with its time."""

    word: str
    start: float
    end: float
    confidence: float | None
    aligned: bool | None = Field(default=None, description="False where the time was interpolated, not measured.")


class Segment(Described):
    """A sentence-like piece of talk."""

    start: float | None = Field(default=None, description="Seconds; absent with timestamps=false.")
    end: float | None = Field(default=None, description="Seconds; absent with timestamps=false.")
    text: str
    speaker: str | None = Field(default=None, description="The speaker's label, with diarization=true.")
    confidence: float | None = Field(default=None, description="A probability.")
    words: list[Word] | None = Field(default=None, description="With word_timestamps=true.")


class Engine(Described):
    """Which engine made each part; null for parts that were not asked for."""

    transcriber: str
    diarizer: str | None
    aligner: str | None
    summarizer: str | None


class ComputeUse(Described):
    """Machine time of one part of the work."""

    part: str
    device: str
    seconds: float
    usd_per_second: float
    cost_usd: float


class WorkPlan(Described):
    """How a recording was shared out over GPUs: what that should take and cost, and what it took."""

    gpu: str
    gpus: int
    chunk_seconds: float
    expected_wall_seconds: float
    expected_cost_usd: float
    wall_seconds: float | None


class Receipt(Described):
    """What the job cost in credits, part by part, and what its machine time cost the operator."""

    credits: float
    credits_by_part: dict[str, float] = Field(description="transcription, diarization, summary, rounding.")
    audio_seconds: float
    price_version: str
    engine: str
    compute: list[ComputeUse]
    compute_seconds: float
    compute_cost_usd: float
    reused_from: str | None
    plan: WorkPlan | None = Field(description="Null where one machine did it all.")
    rerun_of: str | None = Field(description="The transcription of which one stage was run again, and paid for.")


class Coverage(Described):
    """How much of the speech that was found has words, in seconds; what had none was transcribed a second time."""

    speech_seconds: float
    covered_seconds: float
    retried_seconds: float
    lost_seconds: float
    removed_loops: int = Field(description="How often the engine had fallen into repeating itself.")


class Transcription(Described):
    """A transcription. What is there depends on its status."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"id": _ID, "status": "processing", "progress": 45, "stage": "transcribing"},
                {
                    "id": _ID,
                    "status": "completed",
                    "transcript": "Hello and welcome to today's podcast...",
                    "duration_seconds": 1847.5,
                    "language": "en",
                    "credits_used": 31.2,
                    "speakers": [
                        {"id": "SPEAKER_00", "label": "Host", "speaking_time": 920.5},
                        {"id": "SPEAKER_01", "label": "Guest", "speaking_time": 927.0},
                    ],
                    "summary": "This podcast discusses the future of AI...",
                    "topics": ["artificial intelligence", "technology", "future"],
                    "segments": [
                        {
                            "start": 0.0,
                            "end": 5.2,
                            "text": "Hello and welcome to today's podcast.",
                            "speaker": "Host",
                            "confidence": 0.98,
                        }
                    ],
                },
                {
                    "id": _ID,
                    "status": "failed",
                    "error_code": "no_audio_track",
                    "error_message": "The file has no audio track.",
                    "credits_used": 0,
                },
            ]
        }
    )
    id: str
    status: Literal["processing", "completed", "failed", "cancelled"]
    progress: int | None = Field(default=None, ge=0, le=100, description="Percent, while processing.")
    stage: Literal["queued", "fetching", "transcribing", "diarizing", "summarizing"] | None = None
    transcript: str | None = Field(default=None, description="Empty for a recording without speech.")
    duration_seconds: float | None = None
    language: str | None = None
    credits_used: float | None = None
    speakers: list[Speaker] | None = Field(default=None, description="Empty without diarization.")
    summary: str | None = None
    topics: list[str] | None = None
    segments: list[Segment] | None = Field(default=None, description="With ?segments=true.")
    engine: Engine | None = None
    coverage: Coverage | None = Field(default=None, description="How much of the speech has words. When completed.")
    language_confidence: float | None = Field(default=None, description="Of a detected language: 0 to 1.")
    warnings: list[str] | None = None
    receipt: Receipt | None = Field(default=None, description="When completed.")
    error_code: str | None = Field(default=None, description="When failed.")
    error_message: str | None = Field(default=None, description="When failed: why, for a person.")


class Language(Described):
    """A language."""

    code: str = Field(description="What to send as `language`; empty for auto-detection.")
    name: str


class Languages(Described):
    """All languages."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {"languages": [{"code": "", "name": "Auto-detect"}, {"code": "en", "name": "English"}]}
        }
    )
    languages: list[Language]


_MEANINGS = {
    400: ("invalid_request", "A field is wrong or missing.", "'diarization' must be true or false, not 'maybe'."),
    401: ("unauthorized", "The API key is missing or not valid.", "Invalid or missing API key."),
    402: (
        "insufficient_credits",
        "The account has not enough credits; nothing was stored.",
        "You have 10 credits remaining but this transcription requires 30 credits.",
    ),
    403: ("forbidden", "The API key lacks the scope.", "This API key lacks the scope 'transcribe'."),
    404: ("not_found", "There is no such transcription.", "There is no transcription with this id."),
    409: (
        "conflict",
        "The state does not allow this, or the first request with this Idempotency-Key is still running.",
        "The first request with this Idempotency-Key is still running. Try again in a moment.",
    ),
    413: ("payload_too_large", "The body is over the limit.", "The file is too large."),
    415: (
        "unsupported_media_type",
        "The body is no multipart form.",
        "The Content-Type 'audio/mpeg' is not supported here.",
    ),
    422: (
        "idempotency_key_reused",
        "The Idempotency-Key was used with a different request.",
        "This Idempotency-Key was used with a different request. Use a new key for a new request.",
    ),
    429: ("rate_limited", "Too many requests; wait for Retry-After seconds.", "Too many requests."),
    500: ("server_error", "Something went wrong on our end.", "Something went wrong on our end."),
}


RESULT_REDIRECTS: dict[int | str, dict[str, Any]] = {
    304: {"description": "The client has this already (If-None-Match)."},
    307: {
        "description": "Too large for an answer, and the client reads no gzip: it lies at Location for an hour.",
        "headers": {"Location": {"schema": {"type": "string", "format": "uri"}}},
    },
}


def answers(status: int, model: type[BaseModel] | None, *errors: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route: its answer, the errors every route has, and ``errors``."""
    documented: dict[int | str, dict[str, Any]] = {
        status: {"description": (model.__doc__ or "").strip(), "content": json_content(model)}
        if model
        else {"description": "It is done."}
    }
    for number in sorted({400, 401, 403, 500, *errors}):
        code, description, message = _MEANINGS[number]
        assert STATUS_BY_CODE[code] == number
        example = {"error": code, "message": message, "request_id": "8f14e45f-ceea-467f-a83c-4a8b1c2d3e4f"}
        documented[number] = {
            "description": description,
            "content": json_content(Error, example=example),
        }
    return documented


class OpenAIProblem(Described):
    """What went wrong, as OpenAI's SDKs read it."""

    message: str
    type: str
    param: str | None = None
    code: str


class OpenAIError(Described):
    """An error in OpenAI's shape, with our request id."""

    error: OpenAIProblem
    message: str
    request_id: str


def openai_answers(status: int, model: type[BaseModel] | None, *errors: int) -> dict[int | str, dict[str, Any]]:
    """The same, with errors in OpenAI's shape."""
    documented = answers(status, model, *errors)
    for number, answer in documented.items():
        if int(number) >= 400:
            ours = answer["content"]["application/json"]["example"]
            problem = {
                "message": ours["message"],
                "type": "invalid_request_error",
                "param": None,
                "code": ours["error"],
            }
            answer["content"] = json_content(OpenAIError, example=ours | {"error": problem})
    return documented


QUOTE_ANSWER: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "With dry_run=true: the quote. With reuse=true: an earlier result.",
        "content": json_content(Quote, Submitted),
    }
}


def _count(description: str) -> dict[str, Any]:
    return {"type": "integer", "minimum": 1, "maximum": MAX_SPEAKERS, "description": description}


def _boolean(description: str, *, default: bool) -> dict[str, Any]:
    return {"type": "boolean", "default": default, "description": description}


TRANSCRIPTION_FORM: dict[str, Any] = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["file"],
                "properties": {
                    "file": {
                        "type": "string",
                        "format": "binary",
                        "description": "The recording: MP3, WAV, M4A, FLAC, OGG, or a video file.",
                    },
                    "model": {
                        "type": "string",
                        "enum": [model.value for model in Model],
                        "default": Model.LARGE_V3.value,
                    },
                    "language": {
                        "type": "string",
                        "default": "",
                        "description": "A code of GET /api/v1/languages/. Leave empty for auto-detection.",
                        "example": "en",
                    },
                    "diarization": _boolean("Tell who speaks when.", default=False),
                    "num_speakers": _count("How many people speak, if known."),
                    "min_speakers": _count("At least so many people speak."),
                    "max_speakers": _count("At most so many people speak."),
                    "timestamps": _boolean("Give each segment its times.", default=True),
                    "word_timestamps": _boolean("Give each word its times.", default=False),
                    "summary": _boolean("Summarise the recording and name its topics.", default=False),
                    "vocabulary": {
                        "type": "array",
                        "maxItems": MAX_VOCABULARY_TERMS,
                        "items": {"type": "string", "maxLength": MAX_TERM_CHARS},
                        "description": "Names and terms to expect: the field repeated, a JSON array in one field, "
                        "or a comma-separated list.",
                        "example": ["Kubernetes", "Dr. Nguyen"],
                    },
                    "max_credits": {
                        "type": "number",
                        "exclusiveMinimum": 0,
                        "description": "Refuse the job (400) when its estimate is above this, and let it fail before "
                        "any GPU starts when its real length is.",
                    },
                    "dry_run": _boolean("Answer with length, credits and wait; create nothing.", default=False),
                    "reuse": _boolean(
                        "Where this account has a result for the same audio and options, give it again for 0 credits.",
                        default=False,
                    ),
                    "webhook_url": {
                        "type": "string",
                        "format": "uri",
                        "maxLength": 2048,
                        "description": "Where to POST the result: an https address in the public internet.",
                    },
                    "retention_days": {
                        "type": "integer",
                        "minimum": 0,
                        "maximum": 3650,
                        "description": "Delete recording and result after so many days; 0: once a webhook took the "
                        "result, after a day at the latest. Left out: as long as the service keeps anything.",
                    },
                },
            },
            "encoding": {"vocabulary": {"style": "form", "explode": True}},
        }
    },
}

_OPTIONS: dict[str, Any] = {
    name: schema
    for name, schema in TRANSCRIPTION_FORM["content"]["multipart/form-data"]["schema"]["properties"].items()
    if name != "file"
}


def options_and(properties: dict[str, Any]) -> dict[str, Any]:
    """A JSON body of the options of a transcription and these properties, which are required."""
    schema = {"type": "object", "required": list(properties), "properties": properties | _OPTIONS}
    return {"schema": schema}


TRANSCRIPTION_BODY: dict[str, Any] = {
    "required": True,
    "content": TRANSCRIPTION_FORM["content"]
    | {
        "application/json": options_and(
            {"upload_id": {"type": "string", "description": "An upload of POST /api/v1/uploads/."}}
        )
    },
}

OPENAI_FORM: dict[str, Any] = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["file"],
                "properties": {
                    "file": {"type": "string", "format": "binary"},
                    "model": {"type": "string", "default": "whisper-1"},
                    "language": {"type": "string"},
                    "response_format": {"type": "string", "enum": ["json", "text", "srt", "vtt", "verbose_json"]},
                    "timestamp_granularities[]": {
                        "type": "array",
                        "items": {"type": "string", "enum": ["word", "segment"]},
                    },
                    "prompt": {"type": "string", "description": "A list of names is taken as `vocabulary`."},
                    "temperature": {"type": "number", "description": "Ignored."},
                    "stream": {"type": "boolean", "enum": [False], "description": "Not supported."},
                },
            }
        }
    },
}

URL_BODY: dict[str, Any] = {
    "required": True,
    "content": {
        "application/json": options_and(
            {
                "url": {
                    "type": "string",
                    "format": "uri",
                    "maxLength": 2048,
                    "description": "Of an audio or video file, or of a page of YouTube or another site that plays it.",
                    "example": "https://example.com/podcast.mp3",
                }
            }
        )
    },
}

RERUN_BODY: dict[str, Any] = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["stage"],
                "properties": {"stage": {"type": "string", "enum": [stage.value for stage in RerunStage]}}
                | {
                    name: _OPTIONS[name]
                    for name in (
                        "num_speakers",
                        "min_speakers",
                        "max_speakers",
                        "webhook_url",
                        "max_credits",
                        "dry_run",
                    )
                },
                "example": {"stage": "diarization", "num_speakers": 3},
            }
        }
    },
}

SEGMENTS_PARAMETER: dict[str, Any] = {
    "name": "segments",
    "in": "query",
    "required": False,
    "schema": {"type": "boolean", "default": False},
    "description": "Include the segments with their times.",
}

IDEMPOTENCY_PARAMETER: dict[str, Any] = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "schema": {"type": "string", "minLength": 1, "maxLength": 255},
    "description": "Any text of your own, e.g. a UUID. For 24 hours the same request with the same key is answered "
    "with the first answer and has no second effect.",
}
