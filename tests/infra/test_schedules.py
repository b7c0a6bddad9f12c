"""Schedule expressions fire when EventBridge's would."""

from __future__ import annotations

import datetime as dt

import pytest

from infra.local import schedules


def _at(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("expression", "after", "next_time"),
    [
        ("rate(1 minute)", "2026-01-01T00:00:30", "2026-01-01T00:01:30"),
        ("rate(5 minutes)", "2026-01-01T00:00:00", "2026-01-01T00:05:00"),
        ("rate(1 hour)", "2026-01-01T00:00:00", "2026-01-01T01:00:00"),
        ("rate(7 days)", "2026-01-01T00:00:00", "2026-01-08T00:00:00"),
        ("cron(0 10 * * ? *)", "2026-01-01T10:00:00", "2026-01-02T10:00:00"),
        ("cron(15 12 * * ? *)", "2026-01-01T10:00:00", "2026-01-01T12:15:00"),
        ("cron(0 18 ? * MON-FRI *)", "2026-11-20T18:00:00", "2026-11-23T18:00:00"),  # from a Friday to Monday
        ("cron(0 8 1 * ? *)", "2026-01-01T08:00:00", "2026-02-01T08:00:00"),
        ("cron(0/15 * * * ? *)", "2026-01-01T10:14:59", "2026-01-01T10:15:00"),
        ("cron(0 0 29 FEB ? *)", "2026-03-01T00:00:00", "2028-02-29T00:00:00"),
        ("cron(0,30 0-1 ? * 1 2027)", "2026-01-01T00:00:00", "2027-01-03T00:00:00"),  # 1 is Sunday
    ],
)
def test_a_schedule_fires_next(expression: str, after: str, next_time: str) -> None:
    assert schedules.parse(expression).next_after(_at(after)) == _at(next_time)


@pytest.mark.parametrize(
    "expression",
    [
        *(
            "",
            "every minute",
            "rate(0 minutes)",
            "rate(1 minutes)",
            "rate(2 minute)",
            "rate(1.5 hours)",
            "rate(1 week)",
        ),
        *("cron(0 10 * * *)", "cron(0 10 * * * *)", "cron(60 10 * * ? *)", "cron(0 10 L * ? *)", "cron(0 0/0 * * ? *)"),
        "cron(0 10 ? * 2#1 *)",
    ],
)
def test_what_eventbridge_refuses_or_we_do_not_know_is_refused(expression: str) -> None:
    with pytest.raises(schedules.UnreadableSchedule):
        schedules.parse(expression)


def test_a_schedule_that_is_over_says_so() -> None:
    with pytest.raises(schedules.UnreadableSchedule):
        schedules.parse("cron(0 0 1 1 ? 2020)").next_after(_at("2026-01-01T00:00:00"))
