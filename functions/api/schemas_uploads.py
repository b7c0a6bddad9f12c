"""The bodies of uploads' requests in the OpenAPI document."""

from __future__ import annotations

from typing import Any


def _json(properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    schema = {"type": "object", "additionalProperties": False, "required": required, "properties": properties}
    return {"required": True, "content": {"application/json": {"schema": schema}}}


ANNOUNCEMENT = _json(
    {
        "filename": {"type": "string", "example": "interview.mp4"},
        "size": {"type": "integer", "minimum": 1, "maximum": 50_000_000_000, "description": "Bytes, exactly."},
        "content_type": {"type": ["string", "null"], "example": "video/mp4"},
        "multipart": {
            "type": ["boolean", "null"],
            "default": False,
            "description": "In parts, so that it can be resumed.",
        },
    },
    ["filename", "size"],
)

PART_NUMBERS = _json(
    {"part_numbers": {"type": "array", "items": {"type": "integer", "minimum": 1}, "minItems": 1, "maxItems": 100}},
    ["part_numbers"],
)
