"""Lists in pages: `limit` and `cursor` of a request."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request

from functions.api.described import or_empty
from functions.api.fields import Fields, quote
from shared.domain.cursors import decode_cursor
from shared.domain.errors import InvalidRequest

DEFAULT_LIMIT = 50
MAX_LIMIT = 200

PAGE_PARAMETERS: list[dict[str, Any]] = [
    {
        "name": "limit",
        "in": "query",
        "required": False,
        "schema": or_empty({"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT}),
        "description": "How many at most.",
    },
    {
        "name": "cursor",
        "in": "query",
        "required": False,
        "schema": {"type": "string"},
        "description": "`next_cursor` of the page before.",
    },
]


def query_fields(request: Request) -> Fields:
    """The query parameters."""
    query = request.query_params
    return Fields({name: query.getlist(name) for name in query})


def read_limit(fields: Fields) -> int:
    """How many the client wants. Raises InvalidRequest."""
    text = fields.text("limit")
    if not text:
        return DEFAULT_LIMIT
    if not (text.isascii() and text.isdecimal() and len(text) < 6 and 1 <= int(text) <= MAX_LIMIT):
        raise InvalidRequest(f"'limit' must be 1 to {MAX_LIMIT}, not {quote(text)}.", field="limit")
    return int(text)


def read_cursor(text: str, names: frozenset[str]) -> dict[str, str] | None:
    """Where the page begins; None for the first. Raises InvalidRequest."""
    return decode_cursor(text, names) if text else None
