"""When a receiver counts as failing, and when it is disabled for it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import pytest

from shared.domain.endpoints import (
    DisabledReason,
    Endpoint,
    EndpointId,
    EventType,
    Secret,
    after_failure,
    after_success,
)
from shared.domain.ids import AccountId

START = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
ENDPOINT = Endpoint(
    account_id=AccountId("account"),
    endpoint_id=EndpointId("whe_1"),
    url="https://receiver.example/hook",
    events=frozenset(EventType),
    secrets=(Secret(text="secret"),),
    created_at=START,
)


def _failed(hours: Iterable[int], endpoint: Endpoint = ENDPOINT) -> Endpoint:
    for hour in hours:
        endpoint = after_failure(endpoint, START + timedelta(hours=hour), gone=False)
    return endpoint


def test_an_endpoint_that_fails_for_five_days_is_disabled() -> None:
    assert _failed(range(0, 120, 24)).is_enabled
    failing = _failed(range(0, 121, 24))
    assert failing.disabled_reason is DisabledReason.FAILING
    assert failing.failing_since == START


def test_two_failures_with_nothing_sent_between_them_are_no_days_of_failing() -> None:
    failing = _failed([0, 30 * 24])
    assert failing.is_enabled
    assert failing.failing_since == START + timedelta(days=30)


def test_the_longest_time_between_two_attempts_does_not_start_the_count_again() -> None:
    assert _failed([0, 24, 48]).failing_since == START


def test_a_success_starts_the_count_again() -> None:
    well = after_success(_failed([0, 24, 48, 72]))
    assert well.failing_since is None
    assert _failed([96, 120, 144], well).is_enabled


def test_an_endpoint_that_fails_often_is_written_once_an_hour() -> None:
    failing = _failed([0])
    assert after_failure(failing, START + timedelta(minutes=59), gone=False) == failing
    assert after_failure(failing, START + timedelta(minutes=60), gone=False) != failing


def test_an_endpoint_that_is_gone_is_disabled_at_once() -> None:
    assert after_failure(ENDPOINT, START, gone=True).disabled_reason is DisabledReason.GONE


@pytest.mark.parametrize("hours", [200, 2000])
def test_the_record_of_a_disabled_endpoint_stays_as_it_was(hours: int) -> None:
    failing = _failed(range(0, 121, 24))
    assert _failed([hours], failing) == failing
    assert after_success(failing) == failing
