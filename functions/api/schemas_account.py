"""What crosses the wire about accounts, keys and credits, for the OpenAPI document."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import ConfigDict, Field

from functions.api.described import Described, or_empty


class Limits(Described):
    """How much and how fast."""

    submits_per_minute: int
    submits_remaining: int
    key_daily_credits: float | None = Field(description="What this API key may spend in a day (UTC); null: no limit.")
    key_daily_credits_used: float = Field(description="Spent today with this key, or held for its jobs.")


class AccountView(Described):
    """An account."""

    id: str
    name: str
    balance: float = Field(description="Credits that can be used.")
    held: float = Field(description="Credits set aside for jobs under way.")
    retention_days: int | None = Field(
        description="For how long transcriptions are kept that don't say; null: as long as the service keeps anything."
    )
    limits: Limits


class AccountUpdate(Described):
    """What is to change."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"retention_days": 30}})
    retention_days: int | None = Field(
        ge=0,
        le=3_650,
        description="For how long to keep transcriptions that don't say; 0: once a webhook took the result, after a "
        "day at the latest; null: as long as the service keeps anything.",
    )


class LedgerEntry(Described):
    """One line of the ledger; it never changes."""

    id: str
    sequence: int
    at: datetime
    kind: Literal["grant", "expire", "hold", "settle", "release"]
    amount: float = Field(description="Change of balance + held, in credits.")
    balance_before: float
    balance_after: float
    held_before: float
    held_after: float
    transcription_id: str | None
    key_id: str | None
    resolves: list[str] = Field(description="The holds that this entry ends.")
    note: str


class LedgerPage(Described):
    """A page of the ledger, newest first."""

    entries: list[LedgerEntry]
    next_cursor: str | None = Field(description="Send it as `cursor` for the next page; null on the last one.")


class KeyDayView(Described):
    """One key on one day."""

    day: str
    key_id: str
    submitted: int
    completed: int
    failed: int
    cancelled: int
    audio_seconds: float
    credits_spent: float
    credits_held: float


class Usage(Described):
    """Usage by day and key."""

    first: str = Field(alias="from")
    to: str
    credits_spent: float
    audio_seconds: float
    days: list[KeyDayView]


Scope = Literal["transcribe", "read", "manage"]


class KeyView(Described):
    """An API key, without its secret."""

    id: str
    name: str
    scopes: list[Scope]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None = Field(description="When it stopped working, or will after a rotation.")
    last_used_at: datetime | None = Field(description="Noted once a minute: the last use is up to a minute later.")
    daily_limit_credits: float | None
    rotated_to: str | None = Field(description="The key that took its place.")
    live: bool


class Keys(Described):
    """The account's API keys, oldest first."""

    keys: list[KeyView]


class NewKey(KeyView):
    """An API key that was just made."""

    key: str = Field(description="The secret. It is shown now and never again.")


KEY_BODY: dict[str, Any] = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["name"],
                "additionalProperties": False,
                "properties": {
                    "name": {"type": "string", "minLength": 1, "maxLength": 100},
                    "scopes": {
                        "type": "array",
                        "minItems": 1,
                        "items": {"type": "string", "enum": ["transcribe", "read", "manage"]},
                        "description": "All of them when left out.",
                    },
                    "expires_at": {"type": "string", "format": "date-time"},
                    "daily_limit_credits": {"type": "number", "exclusiveMinimum": 0},
                },
            }
        }
    },
}

ROTATE_BODY: dict[str, Any] = {
    "required": False,
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "additionalProperties": False,
                "properties": {
                    "grace_seconds": {
                        "type": "integer",
                        "minimum": 0,
                        "maximum": 604800,
                        "default": 86400,
                        "description": "How long the old key goes on working.",
                    }
                },
            }
        }
    },
}


def _query(name: str, schema: dict[str, Any], description: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "schema": schema, "description": description}


LEDGER_PARAMETERS = [
    _query("limit", or_empty({"type": "integer", "minimum": 1, "maximum": 200, "default": 50}), "Entries per page."),
    _query("cursor", {"type": "string"}, "`next_cursor` of the page before."),
]
USAGE_PARAMETERS = [
    _query("from", or_empty({"type": "string", "format": "date"}), "First day (UTC); 30 days back when left out."),
    _query(
        "to", or_empty({"type": "string", "format": "date"}), "Last day (UTC); today when left out. At most 366 days."
    ),
]
