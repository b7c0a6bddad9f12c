"""Webhook endpoints and deliveries on the wire."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import ConfigDict, Field

from functions.api.described import Described
from functions.times import time_view
from shared.domain.deliveries import Delivery, DeliveryState
from shared.domain.endpoints import MAX_DESCRIPTION_CHARS, DisabledReason, Endpoint, EventType

ENDPOINT_EXAMPLE: dict[str, Any] = {
    "id": "whe_0b1f0f8d6f6e4f0c9a0f5a4be6a8f3aa",
    "url": "https://yourapp.com/transcription-complete",
    "events": ["transcription.completed", "transcription.failed"],
    "description": "Production",
    "enabled": True,
    "disabled_reason": None,
    "failing_since": None,
    "created_at": "2026-11-23T09:30:00Z",
}


class EndpointCreate(Described):
    """A new webhook endpoint."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"example": {"url": ENDPOINT_EXAMPLE["url"], "events": ENDPOINT_EXAMPLE["events"]}},
    )
    url: str = Field(max_length=2048, description="An https address in the public internet.")
    events: list[EventType] | None = Field(default=None, min_length=1, description="All of them when left out.")
    description: str | None = Field(default="", max_length=MAX_DESCRIPTION_CHARS)
    enabled: bool | None = True
    secret: str | None = Field(
        default=None, max_length=200, description="`whsec_` and 24 to 64 bytes in base64; made for you when left out."
    )


class EndpointUpdate(Described):
    """What is to change; what is left out stays."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"minProperties": 1, "example": {"enabled": False}})
    url: str | None = Field(default=None, max_length=2048)
    events: list[EventType] | None = Field(default=None, min_length=1)
    description: str | None = Field(default=None, max_length=MAX_DESCRIPTION_CHARS)
    enabled: bool | None = None


class SecretRotation(Described):
    """The next secret."""

    model_config = ConfigDict(extra="forbid")
    secret: str | None = Field(default=None, max_length=200, description="Made for you when left out.")


class EndpointSecret(Described):
    """A signing secret."""

    secret: str
    expires_at: datetime | None = Field(description="When it stops signing, while it is being rotated out; else null.")


class WebhookEndpoint(Described):
    """A webhook endpoint."""

    model_config = ConfigDict(json_schema_extra={"example": ENDPOINT_EXAMPLE})
    id: str
    url: str
    events: list[EventType]
    description: str
    enabled: bool
    disabled_reason: DisabledReason | None
    failing_since: datetime | None = Field(
        description="The first failure since the last success, or since two days without any attempt."
    )
    created_at: datetime
    secrets: list[EndpointSecret] | None = Field(default=None, description="Not in lists.")


class WebhookEndpoints(Described):
    """The account's webhook endpoints, oldest first."""

    endpoints: list[WebhookEndpoint]


class DeliveryAttempt(Described):
    """One try."""

    at: datetime
    duration_ms: int
    status: int | None = Field(description="Null where there was no answer.")
    problem: str | None = Field(description="Why there was no answer.")
    answer: str = Field(description="The first KiB of the answer's body.")


class WebhookDelivery(Described):
    """One event on its way to one receiver."""

    id: str
    webhook_id: str = Field(description="The `webhook-id` header: the same at every attempt and replay.")
    endpoint_id: str = Field(description="`job` for a transcription's own webhook_url.")
    transcription_id: str | None = Field(description="Null for test messages.")
    event: EventType
    state: DeliveryState
    created_at: datetime
    next_attempt_at: datetime | None = Field(description="Null when there will be none.")
    replay_of: str | None
    attempts: list[DeliveryAttempt]


class WebhookDeliveries(Described):
    """A page of deliveries, newest first."""

    deliveries: list[WebhookDelivery]
    next_cursor: str | None = Field(description="Give it as `cursor` for the next page; null on the last.")


class ReplayRange(Described):
    """Which deliveries to send once more: those made in `[since, until)`."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"example": {"since": "2026-11-23T00:00:00Z", "until": "2026-11-24T00:00:00Z"}},
    )
    since: datetime
    until: datetime
    only_failed: bool | None = Field(default=False, description="Only those that were given up.")
    cursor: str | None = Field(default=None, max_length=1000, description="`next_cursor` of an answer that had one.")


class Replays(Described):
    """What was sent once more."""

    replayed: int
    next_cursor: str | None = Field(description="Not null where there is more: send the same again with this `cursor`.")


def endpoint_view(endpoint: Endpoint, now: datetime | None = None) -> dict[str, Any]:
    """An endpoint as it is shown; with ``now``, its live secrets too."""
    view: dict[str, Any] = {
        "id": endpoint.endpoint_id,
        "url": endpoint.url,
        "events": sorted(event.value for event in endpoint.events),
        "description": endpoint.description,
        "enabled": endpoint.is_enabled,
        "disabled_reason": endpoint.disabled_reason,
        "failing_since": time_view(endpoint.failing_since),
        "created_at": time_view(endpoint.created_at),
    }
    if now is not None:
        view["secrets"] = [
            {"secret": secret.text, "expires_at": time_view(secret.expires_at)}
            for secret in endpoint.secrets
            if secret.is_live(now)
        ]
    return view


def delivery_view(delivery: Delivery) -> dict[str, Any]:
    """A delivery as it is shown."""
    pending = delivery.state is DeliveryState.PENDING
    return {
        "id": delivery.delivery_id,
        "webhook_id": delivery.message_id,
        "endpoint_id": delivery.endpoint_id,
        "transcription_id": delivery.job_id,
        "event": delivery.event_type,
        "state": delivery.state,
        "created_at": time_view(delivery.created_at),
        "next_attempt_at": time_view(delivery.next_attempt_at) if pending else None,
        "replay_of": delivery.replay_of,
        "attempts": [
            {
                "at": time_view(attempt.at),
                "duration_ms": attempt.duration_milliseconds,
                "status": attempt.status,
                "problem": attempt.problem,
                "answer": attempt.answer,
            }
            for attempt in delivery.attempts
        ],
    }
