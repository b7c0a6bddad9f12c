"""JSON bodies: one small object, read strictly; every refusal names its field."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any

from fastapi import Depends, Request

from functions.api.described import json_content
from functions.api.fields import parse_credits, quote
from functions.times import read_time
from shared.domain.errors import InvalidRequest, PayloadTooLarge, UnsupportedMediaType
from shared.domain.json_objects import MAX_NAME_CHARS, read_object

MAX_BODY_BYTES = 64 * 1024
REFUSALS = (413, 415)  # what a route with such a body may answer beside a 400


class Body:
    """The object's values, by name. An absent field and one that is null are the same.

    ``place`` is where an object inside the body stands; refusals name its fields with it.
    """

    def __init__(self, values: Mapping[str, Any], *, place: str = "") -> None:
        self._values = values
        self._place = place

    def only(self, *names: str) -> None:
        """Raise InvalidRequest when there is any other field: a misspelt limit must not be no limit."""
        for name in self._values:
            if name not in names:
                message = f"Unknown field {quote(self._place + name)}. Use {', '.join(names)}."
                raise InvalidRequest(message, field=self._place + name[:MAX_NAME_CHARS])

    def some(self, *names: str) -> None:
        """Raise InvalidRequest when there is any other field, or none at all."""
        self.only(*names)
        if not self._values:
            raise InvalidRequest(f"Nothing to change. Send {', '.join(names[:-1])} or {names[-1]}.")

    def text(self, name: str, *, default: str | None = None, most: int | None = None) -> str:
        """A text of at most so many characters, required where there is no ``default``."""
        value = self._values.get(name)
        if value is None and default is not None:
            return default
        if not isinstance(value, str) or (most is not None and len(value) > most):
            raise self._refusal(name, "a text" if most is None else f"a text of at most {most} characters")
        return value

    def optional_text(self, name: str) -> str | None:
        """A text, or None."""
        return None if self._values.get(name) is None else self.text(name)

    def texts(self, name: str) -> list[str] | None:
        """A list of texts, or None."""
        value = self._values.get(name)
        if value is None:
            return None
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            raise self._refusal(name, "a list of texts")
        return value

    def objects(self, name: str, *, most: int) -> list[Body]:
        """A required list of objects, of one at least."""
        value = self._values.get(name)
        if not isinstance(value, list) or not 0 < len(value) <= most or not all(isinstance(e, dict) for e in value):
            raise self._refusal(name, f"a list of 1 to {most} objects")
        return [Body(each, place=f"{self._place}{name}[{number}].") for number, each in enumerate(value)]

    def credits(self, name: str) -> int | None:
        """A number of credits in milli-credits, or None. A text is refused, however numeric it looks."""
        value = self._values.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | Decimal):
            raise self._refusal(name, "a positive number of credits like 12.5")
        return parse_credits(f"{Decimal(value):f}", name)

    def whole_number(self, name: str, *, default: int | None = None, least: int = 0, most: int) -> int:
        """A number from ``least`` to ``most``, required where there is no ``default``."""
        value = self._values.get(name)
        if value is None and default is not None:
            return default
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise self._refusal(name, f"a whole number from {least} to {most}")
        return value

    def whole_number_or_null(self, name: str, *, most: int) -> int | None:
        """A number from 0 to ``most``, or None where null was sent; one of the two must be."""
        if name in self._values and self._values[name] is None:
            return None
        return self.whole_number(name, most=most)

    def whole_numbers(self, name: str) -> list[int]:
        """A required list of numbers."""
        value = self._values.get(name)
        if not isinstance(value, list) or not all(type(each) is int for each in value):
            raise self._refusal(name, "a list of whole numbers")
        return value

    def boolean(self, name: str, *, default: bool) -> bool:
        """True or false."""
        value = self._values.get(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self._refusal(name, "true or false")
        return value

    def time(self, name: str) -> datetime:
        """A required RFC 3339 time with its zone, in UTC."""
        try:
            return read_time(self._values.get(name, ""))
        except (TypeError, ValueError):
            raise self._refusal(name, "a time like 2027-01-31T12:00:00Z") from None

    def optional_time(self, name: str) -> datetime | None:
        """An RFC 3339 time with its zone, in UTC, or None."""
        return None if self._values.get(name) is None else self.time(name)

    def _refusal(self, name: str, must_be: str) -> InvalidRequest:
        field = self._place + name
        problem = "must be" if name in self._values else "is missing: it must be"
        return InvalidRequest(f"'{field}' {problem} {must_be}.", field=field)


def body_of(model: str, *, required: bool = True) -> dict[str, Any]:
    """The body in the OpenAPI document, for a route's openapi_extra, by the name of its model."""
    return {"requestBody": {"required": required, "content": json_content(model)}}


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
    return read_object(body)


async def _read(request: Request) -> Body:
    return Body(await read_json(request))


JsonBody = Annotated[Body, Depends(_read)]
