"""The clock and the source of ids."""

from __future__ import annotations

import secrets
import uuid
from datetime import UTC, datetime


def utc_now() -> datetime:
    """The time, in UTC."""
    return datetime.now(UTC)


def new_id() -> str:
    """A fresh random id (UUID 4)."""
    return str(uuid.uuid4())


def random_token() -> str:
    """256 random bits as 43 url-safe characters."""
    return secrets.token_urlsafe(32)


def random_secret_bytes() -> bytes:
    """256 random bits."""
    return secrets.token_bytes(32)
