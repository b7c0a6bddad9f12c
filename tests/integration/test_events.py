"""Events on the bus are what docs/events.md says they are: rules that others wrote depend on it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from shared.bootstrap import Services
from shared.domain.endpoints import EndpointWish, EventType
from shared.domain.jobs import JobState
from shared.domain.webhooks import Answer, Failed, Refused
from shared.services.endpoint_health import EndpointHealth
from shared.services.webhooks import Webhooks
from tests.finished_jobs import put_job
from tests.integration.conftest import Customer

PAGE = (Path(__file__).parents[2] / "docs" / "events.md").read_text("utf-8")
TYPES: dict[str, Any] = {"integer": int, "text": str, "text or null": (str, type(None))}


class Bus:
    """Keeps what is published."""

    def __init__(self) -> None:
        self.events: list[tuple[str, Mapping[str, Any]]] = []

    def publish(self, detail_type: str, detail: Mapping[str, Any]) -> None:
        """Keep it."""
        self.events.append((detail_type, detail))


def _check(detail_type: str, detail: Mapping[str, Any]) -> None:
    """Raise AssertionError unless the page describes every field of the event, and no other, with its type."""
    section = next(part for part in PAGE.split("\n## ") if detail_type in part.splitlines()[0])
    rows = re.findall(r"^\| `(\w+)` \| ([a-z ]+) \|", section, re.MULTILINE)
    assert [name for name, _ in rows] == list(detail)
    for name, kind in rows:
        assert isinstance(detail[name], TYPES[kind]), name
    assert detail["version"] == 1


@pytest.mark.parametrize("state", [JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED])
def test_the_end_of_a_job_is_told_as_documented(
    services: Services, customer: Customer, state: JobState, monkeypatch: pytest.MonkeyPatch
) -> None:
    bus = Bus()
    monkeypatch.setattr(services.jobs, "_ports", replace(services.jobs._ports, bus=bus))  # type: ignore[arg-type]
    job = put_job(services, customer.account_id, state)
    services.jobs.publish(replace(job, owes_event=True))
    ((detail_type, detail),) = bus.events
    assert detail_type == f"transcription.{state}"
    assert datetime.fromisoformat(detail["finished_at"]).tzinfo == UTC
    _check(detail_type, detail)


def health_of(services: Services, bus: Bus) -> EndpointHealth:
    """Endpoints' health, told to ``bus``."""
    ports = services.endpoints._ports
    return EndpointHealth(ports.endpoints, bus, ports.now)  # type: ignore[arg-type]


@pytest.mark.parametrize("reason", ["gone", "failing"])
def test_the_end_of_an_endpoint_is_told_as_documented(services: Services, customer: Customer, reason: str) -> None:
    bus = Bus()
    wish = EndpointWish(url="https://example.com/hook", events=frozenset(EventType))
    endpoint = services.endpoints.create(customer.account_id, wish)
    now = datetime.now(UTC)
    failing = replace(endpoint, failing_since=now - timedelta(days=6), last_failed_at=now - timedelta(days=1))
    endpoint = services.endpoints._ports.endpoints.replace(failing)
    health_of(services, bus).note(endpoint, Refused(status=410) if reason == "gone" else Failed(reason="status 500"))
    ((detail_type, detail),) = bus.events
    _check(detail_type, detail)
    assert detail["reason"] == reason
    assert not services.endpoints.get(customer.account_id, endpoint.endpoint_id).is_enabled


def test_an_endpoint_that_its_owner_changed_meanwhile_is_not_told_as_disabled(
    services: Services, customer: Customer
) -> None:
    bus = Bus()
    wish = EndpointWish(url="https://example.com/hook", events=frozenset(EventType))
    seen = services.endpoints.create(customer.account_id, wish)
    services.endpoints.update(seen, replace(wish, url="https://example.com/new"))
    health_of(services, bus).note(seen, Refused(status=410))
    assert bus.events == []
    assert services.endpoints.get(customer.account_id, seen.endpoint_id).is_enabled


def test_the_end_of_an_endpoint_is_told_once_although_who_disabled_it_died_right_after(
    services: Services, customer: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    wish = EndpointWish(url="https://example.com/hook", events=frozenset(EventType))
    endpoint = services.endpoints.create(customer.account_id, wish)
    delivery = services.endpoints.test(endpoint)
    bus = Bus()
    ports = replace(services.webhooks._ports, bus=bus, client=_Gone())  # type: ignore[arg-type]
    webhooks = Webhooks(ports, services.jobs, services.results)
    with monkeypatch.context() as dying:
        dying.setattr(bus, "publish", _die)
        with pytest.raises(KeyboardInterrupt):
            webhooks.attempt(delivery.delivery_id)
    assert not services.endpoints.get(customer.account_id, endpoint.endpoint_id).is_enabled
    for _ in range(2):  # its message comes again, and once more
        assert webhooks.attempt(delivery.delivery_id) is None
    assert [(name, detail["reason"]) for name, detail in bus.events] == [("webhook.endpoint.disabled", "gone")]


class _Gone:
    """A receiver that wants no more."""

    allow_loopback = True

    def post(self, *_: Any, **__: Any) -> Answer:
        return Answer(status=410, headers={})


def _die(*_: Any) -> None:
    raise KeyboardInterrupt
