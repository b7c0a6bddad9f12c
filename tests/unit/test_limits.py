"""How fast an account may submit."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.errors import RateLimited
from shared.domain.limits import SubmitRate, admit, pace, seconds_until_tomorrow

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
SLOW, FAST = SubmitRate(per_minute=2), SubmitRate(per_minute=1_000)


def test_all_of_a_minute_may_come_at_once_and_then_one_per_interval() -> None:
    until = None
    for left in (1, 0):
        taken = admit(until, SLOW, NOW)
        assert taken.remaining == left
        until = taken.paced_until
    with pytest.raises(RateLimited) as caught:
        admit(until, SLOW, NOW)
    assert caught.value.retry_after_seconds == 30
    assert admit(until, SLOW, NOW + timedelta(seconds=30)).remaining == 0


@pytest.mark.parametrize(
    ("before", "after", "remaining"), [(SLOW, FAST, 500), (FAST, SLOW, 1), (SLOW, SLOW, 1), (FAST, FAST, 500)]
)
def test_a_changed_rate_carries_the_used_fraction_of_the_bucket_over(
    before: SubmitRate, after: SubmitRate, remaining: int
) -> None:
    until = None
    for _ in range(before.per_minute // 2):  # half of the bucket
        until = admit(until, before, NOW).paced_until
    now_at = pace(until, after, NOW)
    assert (now_at.limit, now_at.remaining, now_at.reset_seconds) == (after.per_minute, remaining, 30)


@given(st.integers(1, 600), st.lists(st.floats(0, 30), max_size=60))
def test_never_more_than_the_bucket_and_what_was_earned_back(per_minute: int, waits: list[float]) -> None:
    rate, until, now, taken = SubmitRate(per_minute=per_minute), None, NOW, 0
    for wait in waits:
        now += timedelta(seconds=wait)
        try:
            until = admit(until, rate, now).paced_until
            taken += 1
        except RateLimited as refused:
            later = now + timedelta(seconds=refused.retry_after_seconds)
            admit(until, rate, later)  # who waits as told is let in
    assert taken <= per_minute + (now - NOW).total_seconds() * per_minute / 60 + 1e-6


@pytest.mark.parametrize(
    ("at", "seconds"),
    [("2026-11-23T00:00:00+00:00", 86_400), ("2026-11-23T23:59:59.9+00:00", 1), ("2026-11-23T23:30:00-01:00", 84_600)],
)
def test_tomorrow_begins_at_midnight_utc(at: str, seconds: int) -> None:
    assert seconds_until_tomorrow(datetime.fromisoformat(at)) == seconds
