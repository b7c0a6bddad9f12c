"""The schedule of attempts and the meaning of answers."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.webhooks import (
    ATTEMPT_DELAYS_SECONDS,
    MAX_WISH_SECONDS,
    Answer,
    Delivered,
    Failed,
    Refused,
    classify,
    hide_seconds,
    next_delay_seconds,
    parse_retry_after,
)

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def test_the_attempts_come_after_the_delays_of_the_schedule() -> None:
    delays = [next_delay_seconds(made, None, 0.5) for made in range(9)]
    assert delays == [0, 5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, None]


@given(st.integers(1, 7), st.none() | st.floats(0, 1e9), st.floats(0, 0.999_999))
def test_a_delay_is_within_its_jitter_or_as_long_as_the_receiver_asks_within_a_day(
    made: int, wish: float | None, chance: float
) -> None:
    delay = next_delay_seconds(made, wish, chance)
    assert delay is not None
    scheduled = ATTEMPT_DELAYS_SECONDS[made]
    assert scheduled * 0.8 <= delay <= max(scheduled * 1.2, min(wish or 0.0, MAX_WISH_SECONDS))
    assert delay >= min(wish or 0.0, MAX_WISH_SECONDS)


@given(st.floats(-1e9, 1e9))
def test_a_message_is_hidden_for_as_long_as_sqs_can_and_never_for_nothing(wait_seconds: float) -> None:
    assert 1 <= hide_seconds(wait_seconds) < 12 * 3600


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_any_2xx_is_success(status: int) -> None:
    assert classify(Answer(status=status, headers={}), NOW) == Delivered(status=status)


def test_gone_is_final() -> None:
    assert classify(Answer(status=410, headers={"retry-after": "5"}), NOW) == Refused(status=410)


@pytest.mark.parametrize("status", [100, 301, 302, 307, 400, 401, 404, 408, 418, 429, 500, 503, 599])
def test_everything_else_is_tried_again(status: int) -> None:
    verdict = classify(Answer(status=status, headers={}), NOW)
    assert verdict == Failed(reason=f"status {status}", retry_after_seconds=None)


def test_the_receivers_wish_is_honoured() -> None:
    verdict = classify(Answer(status=503, headers={"retry-after": "120"}), NOW)
    assert verdict == Failed(reason="status 503", retry_after_seconds=120.0)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (None, None),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("٣", None),
        (" 30 ", 30.0),
        ("9" * 400, 999_999_999.0),
        ("Mon, 23 Nov 2026 12:01:00 GMT", 60.0),
        ("Mon, 23 Nov 2026 11:00:00 GMT", 0.0),
        ("Mon, 23 Nov 2026 12:01:00", 60.0),
        ("Mon, 99 Nov 2026 12:01:00 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date_or_nothing(text: str | None, seconds: float | None) -> None:
    assert parse_retry_after(text, NOW) == seconds
