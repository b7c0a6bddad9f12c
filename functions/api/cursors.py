"""Cursors: where a page ended, opaque to the client.

A cursor is only a position in the asker's own list, so there is nothing to keep secret and forging one gains nothing.
The check over position and account is there so that a cut, edited or foreign cursor is a clear 400, not a wrong page.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib

from shared.domain.errors import InvalidRequest
from shared.domain.ids import AccountId

MAX_CHARS = 100


def make(position: int, account_id: AccountId) -> str:
    """The cursor of a position."""
    return base64.urlsafe_b64encode(f"{position}.{_check(position, account_id)}".encode()).rstrip(b"=").decode()


def read(cursor: str, account_id: AccountId) -> int:
    """The position of a cursor made for this account. Raises InvalidRequest."""
    position = None
    with contextlib.suppress(ValueError, binascii.Error):
        text = base64.b64decode(cursor[:MAX_CHARS] + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
        position = int(text.partition(".")[0])
    if position is None or make(position, account_id) != cursor:
        raise InvalidRequest("'cursor' is not one we gave out; start again without it.", field="cursor")
    return position


def _check(position: int, account_id: AccountId) -> str:
    return hashlib.sha256(f"cursor {account_id} {position}".encode()).hexdigest()[:16]
