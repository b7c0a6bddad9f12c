"""JSON bodies: one small object, read strictly; every refusal names its field."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, NoReturn

from fastapi import Depends, Request

from functions.api.fields import parse_credits, quote
from shared.domain.errors import InvalidRequest, PayloadTooLarge, UnsupportedMediaType

MAX_BODY_BYTES = 64 * 1024


class Body:
    """The object's values, by name. An absent field and one that is null are the same."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values

    def only(self, *names: str) -> None:
        """Raise InvalidRequest when there is any other field: a misspelt limit must not be no limit."""
        for name in self._values:
            if name not in names:
                raise InvalidRequest(f"Unknown field {quote(name)}.", field=name[:100])

    def text(self, name: str, *, default: str | None = None) -> str:
        """A text, required where there is no ``default``."""
        value = self._values.get(name)
        if value is None and default is not None:
            return default
        if not isinstance(value, str):
            raise InvalidRequest(f"'{name}' must be a text.", field=name)
        return value

    def texts(self, name: str) -> list[str] | None:
        """A list of texts, or None."""
        value = self._values.get(name)
        if value is None:
            return None
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            raise InvalidRequest(f"'{name}' must be a list of texts.", field=name)
        return value

    def credits(self, name: str) -> int | None:
        """A number of credits in milli-credits, or None. A text is refused, however numeric it looks."""
        value = self._values.get(name)
        if value is None:
            return None
        number = isinstance(value, int | Decimal) and not isinstance(value, bool)
        if not number or not -(10**12) < value < 10**12:
            raise InvalidRequest(f"'{name}' must be a positive number of credits like 12.5.", field=name)
        return parse_credits(f"{value:f}", name)

    def whole_number(self, name: str, *, default: int, most: int) -> int:
        """A number from 0 to ``most``."""
        value = self._values.get(name)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
            raise InvalidRequest(f"'{name}' must be a whole number from 0 to {most}.", field=name)
        return value

    def whole_numbers(self, name: str) -> list[int]:
        """A required list of numbers."""
        value = self._values.get(name)
        if not isinstance(value, list) or not all(type(each) is int for each in value):
            raise InvalidRequest(f"'{name}' must be a list of whole numbers.", field=name)
        return value

    def boolean(self, name: str, *, default: bool) -> bool:
        """True or false."""
        value = self._values.get(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise InvalidRequest(f"'{name}' must be true or false.", field=name)
        return value

    def time(self, name: str) -> datetime | None:
        """An RFC 3339 time with its zone, or None."""
        value = self._values.get(name)
        if value is None:
            return None
        at = None
        with contextlib.suppress(TypeError, ValueError, OverflowError):
            at = datetime.fromisoformat(value)
            at = at.astimezone(UTC) if at.tzinfo else None
        if at is None:
            raise InvalidRequest(f"'{name}' must be a time like 2027-01-31T12:00:00Z.", field=name)
        return at


async def read_json(request: Request) -> dict[str, Any]:
    """The request's JSON object; {} without a body. Raises PayloadTooLarge, UnsupportedMediaType, InvalidRequest."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MAX_BODY_BYTES:
            raise PayloadTooLarge(f"The body is larger than {MAX_BODY_BYTES} bytes.")
    if not body:
        return {}
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise UnsupportedMediaType("Send the body as JSON, with 'Content-Type: application/json'.")
    try:
        values = json.loads(body, parse_float=Decimal, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise InvalidRequest("The body is not valid JSON.") from None
    if not isinstance(values, dict):
        raise InvalidRequest("The body must be a JSON object.")
    return values


async def _read(request: Request) -> Body:
    return Body(await read_json(request))


def _refuse_constant(name: str) -> NoReturn:
    """NaN and Infinity are Python's, not JSON's."""
    raise ValueError(name)


JsonBody = Annotated[Body, Depends(_read)]
