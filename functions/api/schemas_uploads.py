"""Uploads in the OpenAPI document."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from functions.api.described import Described


class Upload(Described):
    """An upload and how to send it."""

    upload_id: str
    filename: str
    size: int
    expires_at: str = Field(description="When it can no longer be used, unless a transcription has.")
    method: Literal["POST", "PUT"] = Field(description="POST: one form. PUT: parts.")
    url: str | None = Field(default=None, description="Where to POST the form.")
    fields: dict[str, str] | None = Field(default=None, description="What goes into the form before the field 'file'.")
    url_expires_at: str | None = None
    part_size: int | None = Field(default=None, description="Of every part but the last, in bytes.")
    part_count: int | None = None


class ReceivedPart(Described):
    """A part that has arrived."""

    part_number: int
    size: int


class UploadState(Upload):
    """An upload and what has arrived of it."""

    status: Literal["waiting", "complete"]
    parts_received: list[ReceivedPart]


class PartUrl(Described):
    """Where to PUT a part."""

    part_number: int
    url: str


class PartUrls(Described):
    """Where to PUT parts."""

    parts: list[PartUrl]


def _json(properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    schema = {"type": "object", "additionalProperties": False, "required": required, "properties": properties}
    return {"required": True, "content": {"application/json": {"schema": schema}}}


ANNOUNCEMENT = _json(
    {
        "filename": {"type": "string", "example": "interview.mp4"},
        "size": {"type": "integer", "minimum": 1, "maximum": 50_000_000_000, "description": "Bytes, exactly."},
        "content_type": {"type": "string", "example": "video/mp4"},
        "multipart": {"type": "boolean", "default": False, "description": "In parts, so that it can be resumed."},
    },
    ["filename", "size"],
)

PART_NUMBERS = _json(
    {"part_numbers": {"type": "array", "items": {"type": "integer", "minimum": 1}, "minItems": 1, "maxItems": 100}},
    ["part_numbers"],
)
