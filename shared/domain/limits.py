"""Limits on how fast an account may submit, as a token bucket kept in one moment of time.

Generic cell rate algorithm (ITU-T I.371, virtual scheduling): instead of a count, the account keeps ``paced_until``,
the moment at which its bucket will be full again. One value, no clean-up, and it only ever moves forward, so a process
that knows an old value can only be too generous until the conditional write corrects it.

What is kept is a time, not a count. When the rate of an account is changed the used fraction of its bucket is carried
over: half empty at 2 a minute is half empty at 1000 a minute, and is full again after the same 30 seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from math import ceil

from shared.domain.errors import RateLimited

SECONDS_PER_MINUTE = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmitRate:
    """So many submissions a minute, all of which may come at once."""

    per_minute: int

    @property
    def interval(self) -> timedelta:
        """How long one submission takes to be earned back."""
        return timedelta(seconds=SECONDS_PER_MINUTE) / self.per_minute


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """Where an account stands: ``remaining`` submissions now, all of them again in ``reset_seconds``."""

    limit: int
    remaining: int
    reset_seconds: int
    paced_until: datetime


def pace(paced_until: datetime | None, rate: SubmitRate, now: datetime) -> Pace:
    """Where the account stands if it submits nothing now."""
    start = max(now, paced_until or now)
    return _pace(start, rate, now)


def admit(paced_until: datetime | None, rate: SubmitRate, now: datetime) -> Pace:
    """Take one submission out of the bucket. Raises RateLimited with the seconds until there is one."""
    after = max(now, paced_until or now) + rate.interval
    full = rate.interval * rate.per_minute
    if after - now > full:
        wait_seconds = max(1, ceil((after - now - full).total_seconds()))
        raise RateLimited(
            f"At most {rate.per_minute} transcriptions may be submitted per minute. "
            f"Try again in {wait_seconds} second{'s' if wait_seconds > 1 else ''}.",
            retry_after_seconds=wait_seconds,
            limit=rate.per_minute,
        )
    return _pace(after, rate, now)


def seconds_until_tomorrow(now: datetime) -> int:
    """Whole seconds until the next day begins (UTC), at least 1."""
    today = now.astimezone(UTC).date()
    tomorrow = datetime.combine(today + timedelta(days=1), time(), UTC)
    return max(1, ceil((tomorrow - now).total_seconds()))


def _pace(paced_until: datetime, rate: SubmitRate, now: datetime) -> Pace:
    used = (paced_until - now) / rate.interval
    return Pace(
        limit=rate.per_minute,
        remaining=max(0, int(rate.per_minute - used + 1e-9)),  # microseconds round either way
        reset_seconds=ceil((paced_until - now).total_seconds()),
        paced_until=paced_until,
    )
