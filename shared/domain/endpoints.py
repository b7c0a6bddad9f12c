"""Webhook endpoints: URLs an account registered for events, and how what they get is signed.

Signing is Standard Webhooks 1.0 (standardwebhooks.com): HMAC-SHA256 over ``id.timestamp.body`` under a ``whsec_``
secret; while a secret is being rotated a message carries one signature per live secret.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NewType

from shared.domain.errors import Conflict, InvalidRequest
from shared.domain.ids import AccountId

EndpointId = NewType("EndpointId", str)

MAX_ENDPOINTS = 20
MAX_DESCRIPTION_CHARS = 200
MAX_FAILING = timedelta(days=5)
LONGEST_SILENCE = timedelta(days=2)  # twice the longest time between two attempts: failures this far apart are not one
FAILURE_NOTED_EVERY = timedelta(hours=1)  # a write at each failure would be in the way of its owner's changes
ROTATION_GRACE = timedelta(hours=24)
JOB_ENDPOINT_ID = EndpointId("job")  # stands for the webhook_url of each job; holds the secret that signs for them

_PREFIX = "whsec_"
_MIN_SECRET_BYTES, _MAX_SECRET_BYTES = 24, 64  # the specification's bounds


class EventType(StrEnum):
    """What an endpoint can be told."""

    COMPLETED = "transcription.completed"
    FAILED = "transcription.failed"
    CANCELLED = "transcription.cancelled"


class DisabledReason(StrEnum):
    """Why an endpoint gets nothing any more."""

    BY_OWNER = "disabled_by_owner"
    GONE = "gone"  # it answered 410
    FAILING = "failing"  # all that was sent for MAX_FAILING failed


@dataclass(frozen=True, slots=True, kw_only=True)
class Secret:
    """A signing secret; ``expires_at`` is None for the one in force."""

    text: str
    expires_at: datetime | None = None

    def is_live(self, now: datetime) -> bool:
        """True while receivers may still check against it."""
        return self.expires_at is None or now < self.expires_at


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One receiver.

    ``failing_since`` is the first failure after the last success, or after two days without any; ``last_failed_at`` is
    the latest one, up to an hour late.
    """

    account_id: AccountId
    endpoint_id: EndpointId
    url: str
    events: frozenset[EventType]
    secrets: tuple[Secret, ...]
    created_at: datetime
    description: str = ""
    disabled_reason: DisabledReason | None = None
    failing_since: datetime | None = None
    last_failed_at: datetime | None = None
    owes_event: bool = False
    revision: int = 0

    @property
    def is_enabled(self) -> bool:
        """True while events are sent to it."""
        return self.disabled_reason is None

    @property
    def is_tried(self) -> bool:
        """True while what is on its way to it is sent: to one disabled for failing too, which may be well again."""
        return self.disabled_reason in {None, DisabledReason.FAILING}

    def wants(self, event: EventType) -> bool:
        """True when this event goes here."""
        return self.is_enabled and event in self.events

    def is_tried_with(self, event: EventType) -> bool:
        """True while this event, if it is on its way here, is sent."""
        return self.is_tried and event in self.events


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointWish:
    """What its owner asks of an endpoint; the URL is already checked."""

    url: str
    events: frozenset[EventType]
    description: str = ""
    is_enabled: bool = True


def update(endpoint: Endpoint, wish: EndpointWish) -> Endpoint:
    """The endpoint as its owner wants it. Enabling it again starts a new count of failures."""
    changed = replace(endpoint, url=wish.url, events=wish.events, description=wish.description)
    if not wish.is_enabled:
        return replace(changed, disabled_reason=endpoint.disabled_reason or DisabledReason.BY_OWNER)
    if endpoint.is_enabled and wish.url == endpoint.url:
        return changed
    return replace(changed, disabled_reason=None, failing_since=None, last_failed_at=None, owes_event=False)


def rotate(endpoint: Endpoint, secret: str, now: datetime) -> Endpoint:
    """A new secret in force, the one before good for another day. Raises Conflict while a rotation is running."""
    live = [old for old in endpoint.secrets if old.is_live(now)]
    if len(live) > 1:
        raise Conflict("The secret is being rotated already: two are in force until the older one ends.")
    retired = tuple(replace(old, expires_at=now + ROTATION_GRACE) for old in live)
    return replace(endpoint, secrets=(Secret(text=secret), *retired))


def after_success(endpoint: Endpoint) -> Endpoint:
    """The receiver took a message. The record of a disabled endpoint stays as it was."""
    return replace(endpoint, failing_since=None, last_failed_at=None) if endpoint.is_enabled else endpoint


def after_failure(endpoint: Endpoint, now: datetime, *, gone: bool) -> Endpoint:
    """The receiver took none: disabled at once when it is gone for good, or when all has failed for five days.

    Days in which nothing was sent say nothing: the count starts again after LONGEST_SILENCE. The record of a disabled
    endpoint stays as it was.
    """
    if not endpoint.is_enabled:
        return endpoint
    since, last = endpoint.failing_since, endpoint.last_failed_at
    if since is None or last is None or now - last > LONGEST_SILENCE:
        since = last = now
    elif now - last >= FAILURE_NOTED_EVERY:
        last = now
    failing = replace(endpoint, failing_since=since, last_failed_at=last)
    if gone:
        return replace(failing, disabled_reason=DisabledReason.GONE, owes_event=True)
    if now - since >= MAX_FAILING:
        return replace(failing, disabled_reason=DisabledReason.FAILING, owes_event=True)
    return failing


def told(endpoint: Endpoint) -> Endpoint:
    """The event that it was disabled is out."""
    return replace(endpoint, owes_event=False)


def make_secret(random_bytes: bytes) -> str:
    """A secret as it is shown: the prefix and 24 to 64 random bytes in base64."""
    return _PREFIX + base64.b64encode(random_bytes).decode()


def check_secret(text: str) -> str:
    """The secret, if an owner may bring it along. Raises InvalidRequest."""
    _secret_bytes(text)
    return text


def sign(secrets: Iterable[Secret], message_id: str, at: datetime, body: bytes) -> str:
    """The ``webhook-signature`` header: one ``v1,…`` per live secret, newest first."""
    content = f"{message_id}.{int(at.timestamp())}.".encode() + body
    return " ".join(
        "v1," + base64.b64encode(hmac.digest(_secret_bytes(secret.text), content, hashlib.sha256)).decode()
        for secret in secrets
        if secret.is_live(at)
    )


def _secret_bytes(text: str) -> bytes:
    problem = InvalidRequest(
        f"A secret is '{_PREFIX}' and {_MIN_SECRET_BYTES} to {_MAX_SECRET_BYTES} bytes in base64. "
        "Leave it out to have one made.",
        field="secret",
    )
    if not text.startswith(_PREFIX) or len(text) > 200:
        raise problem
    try:
        secret = base64.b64decode(text.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError) as error:
        raise problem from error
    if not _MIN_SECRET_BYTES <= len(secret) <= _MAX_SECRET_BYTES:
        raise problem
    return secret
