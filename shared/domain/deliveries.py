"""Deliveries: one event on its way to one receiver, with everything that was tried.

    PENDING ──2xx──► DELIVERED
       │ ├─ 410, or no attempts left ──► FAILED
       │ └─ endpoint deleted, gone or disabled by its owner, job deleted ──► DROPPED
       └── anything else: again at ``next_attempt_at``

Its state lives here and not in the message that carries it: two messages for one delivery (SQS delivers at least
once, and a process may die after sending one) agree on what is left to do.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NewType

from shared.domain.endpoints import EndpointId, EventType
from shared.domain.ids import AccountId, JobId

DeliveryId = NewType("DeliveryId", str)

KEPT = timedelta(days=30)  # how long the log of a delivery can be read, and the delivery replayed
EXCERPT_CHARS = 1_024


class DeliveryState(StrEnum):
    """Where a delivery stands."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"
    DROPPED = "dropped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One try. ``status`` is None where there was no answer, and then ``problem`` says why."""

    at: datetime
    duration_milliseconds: int
    status: int | None = None
    problem: str | None = None
    answer: str = ""  # the first KiB of what the receiver said


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One event for one receiver. ``message_id`` is the ``webhook-id`` header, the same at every attempt and replay.

    ``url`` is set for a job's own webhook_url; an endpoint's URL is read from the endpoint at each attempt. ``payload``
    is set for test messages only; the body of all others is made from the job.
    """

    delivery_id: DeliveryId
    account_id: AccountId
    endpoint_id: EndpointId
    message_id: str
    event_type: EventType
    created_at: datetime
    next_attempt_at: datetime
    job_id: JobId | None = None
    url: str | None = None
    payload: str | None = None
    state: DeliveryState = DeliveryState.PENDING
    attempts: tuple[Attempt, ...] = ()
    replay_of: DeliveryId | None = None
    revision: int = 0

    @property
    def expires_at(self) -> datetime:
        """When the record is deleted."""
        return self.created_at + KEPT


def delivery_id(message_id: str, endpoint_id: EndpointId, url: str | None, nonce: str = "") -> DeliveryId:
    """The same event for the same receiver is the same delivery, however often the event is published."""
    text = "\n".join([message_id, endpoint_id, url or "", nonce])
    return DeliveryId("dlv_" + hashlib.sha256(text.encode()).hexdigest()[:32])


def replay(delivery: Delivery, nonce: str, now: datetime) -> Delivery:
    """The same message to the same receiver once more, as a delivery of its own."""
    return replace(
        delivery,
        delivery_id=delivery_id(delivery.message_id, delivery.endpoint_id, delivery.url, nonce),
        created_at=now,
        next_attempt_at=now,
        state=DeliveryState.PENDING,
        attempts=(),
        replay_of=delivery.delivery_id,
        revision=0,
    )


def delivered(delivery: Delivery, attempt: Attempt) -> Delivery:
    """The receiver has it."""
    return _tried(delivery, attempt, DeliveryState.DELIVERED)


def failed(delivery: Delivery, attempt: Attempt) -> Delivery:
    """Given up for good."""
    return _tried(delivery, attempt, DeliveryState.FAILED)


def postponed(delivery: Delivery, attempt: Attempt, next_attempt_at: datetime) -> Delivery:
    """To be tried again."""
    return replace(_tried(delivery, attempt, DeliveryState.PENDING), next_attempt_at=next_attempt_at)


def dropped(delivery: Delivery) -> Delivery:
    """There is nobody to send it to any more, or nothing to send."""
    return replace(delivery, state=DeliveryState.DROPPED)


def _tried(delivery: Delivery, attempt: Attempt, state: DeliveryState) -> Delivery:
    return replace(delivery, state=state, attempts=(*delivery.attempts, attempt))
