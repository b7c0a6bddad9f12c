"""Webhooks: what is sent, when it is tried again, and what an answer means.

Header names and the meaning of statuses are those of Standard Webhooks (standardwebhooks.com, specification 1.0).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from shared.domain.jobs import Job

SEND_TIMEOUT_SECONDS = 15.0
ATTEMPT_DELAYS_SECONDS = (0, 5, 300, 1_800, 7_200, 18_000, 36_000, 50_400)  # 5 s, 5 m, 30 m, 2 h, 5 h, 10 h, 14 h
JITTER = 0.2  # each delay is 20 % shorter to 20 % longer, so that receivers that failed together are not hit together
# SQS hides a message for 12 h at most, counted from its receipt; a little less leaves time for the attempt itself.
MAX_HIDE_SECONDS = 12 * 3600 - 120
MAX_WISH_SECONDS = 24 * 3600.0  # a receiver may ask for patience, not for ever


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a receiver said. ``headers`` has lower-case names; ``body_start`` is the first bytes only."""

    status: int
    headers: Mapping[str, str]
    body_start: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """The receiver has it."""

    status: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The receiver wants no more of it, ever."""

    status: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """It may work later. ``retry_after_seconds`` is the receiver's own wish."""

    reason: str
    retry_after_seconds: float | None = None


Verdict = Delivered | Refused | Failed


def webhook_id(job: Job) -> str:
    """The id of the event that this job ended so: the same however often the event is published.

    A job that was deleted may be made again under its id: that is another event, so the moment it was made is in it.
    """
    return f"msg_{job.job_id.replace('-', '')}_{int(job.created_at.timestamp())}_{job.status}"


def classify(answer: Answer, now: datetime) -> Verdict:
    """What an answer means: 2xx is success, 410 Gone is final, everything else (redirects too) is tried again."""
    if 200 <= answer.status < 300:
        return Delivered(status=answer.status)
    if answer.status == 410:
        return Refused(status=answer.status)
    wish = parse_retry_after(answer.headers.get("retry-after"), now)
    return Failed(reason=f"status {answer.status}", retry_after_seconds=wish)


def parse_retry_after(text: str | None, now: datetime) -> float | None:
    """Seconds from now that a Retry-After header asks for (RFC 9110, 10.2.3); None when there is no sense in it."""
    if text is None:
        return None
    text = text.strip()
    if text.isascii() and text.isdecimal():
        return float(text[:9])
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return max(0.0, (at - now).total_seconds())


def next_delay_seconds(attempts_made: int, wish_seconds: float | None, chance: float) -> float | None:
    """How long after the n-th attempt the next one is due; None when there are no more.

    The schedule's delay with jitter (``chance`` in [0, 1)), or longer if the receiver asked for it with Retry-After.
    """
    if attempts_made >= len(ATTEMPT_DELAYS_SECONDS):
        return None
    jittered = ATTEMPT_DELAYS_SECONDS[attempts_made] * (1 - JITTER + 2 * JITTER * chance)
    return max(jittered, min(wish_seconds or 0.0, MAX_WISH_SECONDS))


def hide_seconds(wait_seconds: float) -> int:
    """How long to hide a message whose time has not come: as long as SQS can, at least a second."""
    return max(1, math.ceil(min(wait_seconds, MAX_HIDE_SECONDS)))
