"""Idempotency-Key: the first answer to a request, kept for a day and given again.

    (none) ──claim──► running ──the effect's own transaction──► answered
                      │  ▲  ▲                                      │
          nothing was │  │  └──── the answer no longer stands ─────┘
          created, or └──┘ the claimer died: after ``LEASE`` the next request may claim it

The key is the caller's; what we store it under is a hash of account and key, so that neither appears in a table.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from shared.domain.errors import InvalidRequest
from shared.domain.ids import AccountId

HEADER = "Idempotency-Key"
KEPT_FOR = timedelta(hours=24)
LEASE = timedelta(seconds=180)  # longer than any host lets a request run (Modal's web functions: 150 s)
_KEY_PATTERN = re.compile(r"[\x21-\x7e]{1,255}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What was answered: enough to answer the same again."""

    status: int
    body: Mapping[str, Any]
    location: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request that must have its effect once."""

    record_id: str
    request_hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """The right to carry a request out. ``token`` is in the record while the claim holds."""

    request: Request
    token: str
    claimed_at: datetime
    recall: str = ""  # a value the first claimer chose and a replay gets back (the salt of a made key)
    instead_of: str = ""  # the token of an earlier claim whose answer no longer stands

    @property
    def expires_at(self) -> datetime:
        """When the record may be forgotten."""
        return self.claimed_at + KEPT_FOR


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """The request was carried out before, by who claimed it with ``token``; this was the answer."""

    answer: Answer
    token: str
    recall: str = ""


def request_of(account_id: AccountId, idempotency_key: str, *, operation: str, content: Mapping[str, Any]) -> Request:
    """The request, identified. Raises InvalidRequest for a key that is empty, over-long or not visible ASCII.

    ``content`` is everything the answer depends on, as JSON values; a file stands in it by its hash.
    """
    if _KEY_PATTERN.fullmatch(idempotency_key) is None:
        raise InvalidRequest("An Idempotency-Key is 1 to 255 visible ASCII characters.", field=HEADER)
    return Request(
        record_id=f"request#{_hash([account_id, idempotency_key])}",
        request_hash=_hash([operation, content]),
    )


def key_of(operation: str, content: Mapping[str, Any]) -> str:
    """An Idempotency-Key for a request that came without: every request like it has the same, no other has it."""
    return f"content-{_hash([operation, content])}"


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
