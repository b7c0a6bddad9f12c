"""Cursors: where the next page of a list begins, as one opaque word.

A cursor carries no rights: the account is always that of the key it is used with, so a cursor that was made up leads at
most to another place in one's own list.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping

from shared.domain.errors import InvalidRequest

_MAX_CHARS = 1_000


def encode_cursor(position: Mapping[str, str]) -> str:
    """The cursor for a position."""
    text = json.dumps(position, separators=(",", ":"), sort_keys=True)
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


def decode_cursor(cursor: str, names: frozenset[str]) -> dict[str, str]:
    """The position with exactly these names. Raises InvalidRequest."""
    problem = InvalidRequest("The cursor is not one of ours. Use 'next_cursor' of an earlier page.", field="cursor")
    if len(cursor) > _MAX_CHARS:
        raise problem
    try:
        position = json.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, RecursionError) as error:
        raise problem from error
    if not isinstance(position, dict) or position.keys() != names:
        raise problem
    if not all(isinstance(value, str) and 0 < len(value) <= 200 and value.isascii() for value in position.values()):
        raise problem
    return position
