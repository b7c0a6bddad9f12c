"""What crosses the wire, for the OpenAPI document: the answers of routes, the request forms, the errors."""

from __future__ import annotations

from typing import Any

from functions.api.described import json_content, or_empty
from functions.api.errors import STATUS_BY_CODE
from functions.api.fields import MAX_SPEAKERS, MAX_TERM_CHARS, MAX_VOCABULARY_TERMS
from shared.domain.options import Model
from shared.domain.reruns import RerunStage

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
        "The body is of a type that is not read here.",
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


def answers(status: int, model: str | None, *errors: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route: its answer, the errors every route has, and ``errors``.

    The name of a model as a description stands for what that says of itself.
    """
    documented: dict[int | str, dict[str, Any]] = {
        status: {"description": model, "content": json_content(model)} if model else {"description": "It is done."}
    }
    for number in sorted({400, 401, 403, 500, *errors}):
        code, description, message = _MEANINGS[number]
        assert STATUS_BY_CODE[code] == number
        example = {"error": code, "message": message, "request_id": "8f14e45f-ceea-467f-a83c-4a8b1c2d3e4f"}
        documented[number] = {
            "description": description,
            "content": json_content("Error", example=example),
        }
    return documented


def openai_answers(status: int, model: str | None, *errors: int) -> dict[int | str, dict[str, Any]]:
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
            answer["content"] = json_content("OpenAIError", example=ours | {"error": problem})
    return documented


QUOTE_ANSWER: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "With dry_run=true: the quote. With reuse=true: an earlier result.",
        "content": json_content("Quote", "Submitted"),
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
                }
                | {
                    name: _OPTIONS[name]
                    for name in (
                        *("diarization", "num_speakers", "min_speakers", "max_speakers", "summary"),
                        *("vocabulary", "max_credits", "reuse", "retention_days"),
                    )
                },
            },
            "encoding": {"vocabulary": {"style": "form", "explode": True}},
        }
    },
}

OPENAI_TRANSCRIPT: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The transcript in the `response_format` that was asked for.",
        "headers": {
            "X-Job-Id": {"schema": {"type": "string"}, "description": "The transcription, for GET /transcribe/{id}/."},
            "X-Warnings": {
                "schema": {"type": "string"},
                "description": "A JSON array of what was ignored; left out where nothing was.",
            },
        },
    }
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
    "schema": or_empty({"type": "boolean", "default": False}),
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
