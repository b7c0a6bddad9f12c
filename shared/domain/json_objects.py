"""JSON objects from outside: whatever is in one that is read here can be stored, shown and logged."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Context, Decimal
from typing import Any, NoReturn

from shared.domain.errors import InvalidRequest

MAX_DIGITS = 40
MAX_NAME_CHARS = 100  # of a field, where an error names it
# The exponent of a number in JSON may be anything, and a number that is written out may fill the memory: what is too
# large becomes an infinity here, what is too small a zero.
_NUMBERS = Context(prec=MAX_DIGITS, Emin=-MAX_DIGITS, Emax=MAX_DIGITS, traps=[])


def read_object(text: bytes, *, what: str = "The body") -> dict[str, Any]:
    """The object in ``text``, numbers with a point or an exponent as decimals. Raises InvalidRequest about ``what``.

    Refused are halves of characters (JSON can write lone surrogates, no encoding can) and numbers beyond MAX_DIGITS.
    """
    try:
        values = json.loads(text, parse_int=_integer, parse_float=_number, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise InvalidRequest(f"{what} is not valid JSON.") from None
    if not isinstance(values, dict):
        raise InvalidRequest(f"{what} must be a JSON object.")
    for name, value in values.items():
        _check(name, value)
    return values


def _check(name: str, value: Any) -> None:
    if not _is_whole(name):
        raise InvalidRequest("The name of a field has half a character (a lone surrogate) in it. Send valid Unicode.")
    field = name[:MAX_NAME_CHARS]
    for each in _leaves(value):
        if isinstance(each, str) and not _is_whole(each):
            message = f"'{field}' has half a character (a lone surrogate) in it. Send valid Unicode."
            raise InvalidRequest(message, field=field)
        if isinstance(each, Decimal) and not each.is_finite():
            message = f"'{field}' has a number that is too large. Send one of at most {MAX_DIGITS} digits."
            raise InvalidRequest(message, field=field)


def _leaves(value: Any) -> Iterator[Any]:
    """Every text and number in it, names included; without recursion, since it may be nested deeply."""
    left = [value]
    while left:
        each = left.pop()
        if isinstance(each, dict):
            left += [*each.keys(), *each.values()]
        elif isinstance(each, list):
            left += each
        else:
            yield each


def _is_whole(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _integer(digits: str) -> int | Decimal:
    return int(digits) if len(digits) <= MAX_DIGITS else _number(digits)


def _number(digits: str) -> Decimal:
    return _NUMBERS.create_decimal(digits)


def _refuse_constant(name: str) -> NoReturn:
    """NaN and Infinity are Python's, not JSON's."""
    raise ValueError(name)
