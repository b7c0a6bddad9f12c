"""GET /api/v1/transcribe/{id}/export/"""

from __future__ import annotations

import math
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from starlette.responses import RedirectResponse, Response

from functions.api import schemas
from functions.api.deps import MayRead, ServicesDep
from functions.api.described import or_empty
from functions.api.fields import Fields, quote
from functions.api.pages import query_fields
from functions.api.results import find_job, matches
from shared.domain.errors import InvalidRequest
from shared.domain.exports import ExportFormat
from shared.domain.subtitles import SubtitleStyle
from shared.services.exports import CONTENT_TYPES, MAX_INLINE_BYTES, ExportRequest, check_completed, etag_of

router = APIRouter(tags=["Transcriptions"])

_STYLE_LIMITS = {"max_columns": (16, 80), "max_lines": (1, 3), "columns_per_second": (8, 30)}


def _parameter(name: str, schema: dict[str, Any], description: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "schema": or_empty(schema), "description": description}


PARAMETERS = [
    {
        "name": "format",
        "in": "query",
        "required": True,
        "schema": {"type": "string", "enum": [each.value for each in ExportFormat]},
        "description": "The kind of file.",
    },
    _parameter(
        "max_columns",
        {"type": "integer", "minimum": 16, "maximum": 80, "default": 42},
        "Subtitles: the longest line; an ideograph counts as two.",
    ),
    _parameter(
        "max_lines", {"type": "integer", "minimum": 1, "maximum": 3, "default": 2}, "Subtitles: lines of a cue."
    ),
    _parameter(
        "columns_per_second",
        {"type": "number", "minimum": 8, "maximum": 30, "default": 17},
        "Subtitles: how fast people read.",
    ),
]


@router.get(
    "/transcribe/{id}/export/",
    summary="Export a transcription as a file",
    response_class=Response,
    responses={
        **schemas.answers(200, "Transcription", 404, 409),
        200: {
            "description": "The file.",
            "content": {
                kind.partition(";")[0]: {"schema": {"type": "string", "format": "binary"}}
                for kind in CONTENT_TYPES.values()
            },
        },
        **schemas.RESULT_REDIRECTS,
    },
    openapi_extra={"parameters": PARAMETERS},
)
def export(
    request: Request,
    principal: MayRead,
    services: ServicesDep,
    job_id: Annotated[str, Path(alias="id", description="The transcription.")],
) -> Response:
    """The transcript as plain text, subtitles (SubRip, WebVTT), JSON, a table, Word or Markdown.

    Subtitles are cut so that they can be read: at sentences and clauses, never across a change of speaker.
    """
    wish = _read(query_fields(request))
    job = find_job(request, services, principal, job_id)
    check_completed(job)
    etag = f'"{etag_of(job, wish)}"'
    headers = {"ETag": etag, "Cache-Control": "private, no-cache"}
    if matches(request, etag):
        return Response(status_code=304, headers=headers)
    file = services.exports.make(job, wish)
    if len(file.body) > MAX_INLINE_BYTES:
        return RedirectResponse(services.exports.link(job, wish, file), status_code=307, headers=headers)
    headers["Content-Disposition"] = file.content_disposition
    return Response(file.body, headers=headers | {"Content-Type": file.content_type})


def _read(fields: Fields) -> ExportRequest:
    text = fields.text("format").lower()
    allowed = ", ".join(each.value for each in ExportFormat)
    try:
        export_format = ExportFormat(text)
    except ValueError:
        shown = f"Unknown format {quote(text)}." if text else "Say which 'format' you want."
        raise InvalidRequest(f"{shown} Use one of: {allowed}.", field="format") from None
    default = SubtitleStyle()
    return ExportRequest(
        format=export_format,
        style=SubtitleStyle(
            max_columns=int(_number(fields, "max_columns", default.max_columns, whole=True)),
            max_lines=int(_number(fields, "max_lines", default.max_lines, whole=True)),
            columns_per_second=_number(fields, "columns_per_second", default.columns_per_second),
        ),
    )


def _number(fields: Fields, name: str, default: float, *, whole: bool = False) -> float:
    text = fields.text(name)
    if not text:
        return default
    low, high = _STYLE_LIMITS[name]
    try:
        value = float(text) if text.isascii() and len(text) < 20 else math.nan
    except ValueError:
        value = math.nan
    if not low <= value <= high or (whole and not value.is_integer()):
        kind = "a whole number" if whole else "a number"
        raise InvalidRequest(f"'{name}' must be {kind} from {low} to {high}, not {quote(text)}.", field=name)
    return value
