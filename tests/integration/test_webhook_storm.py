"""Hundreds of events through a receiver that fails in every way, with the delivery function killed at random points.

Time is a clock of the test's own, and the queue hides messages by it: two simulated days run in seconds. Records are
real (moto), signatures are checked by the official library. Promised: every event arrives, and what arrives twice
carries the same id. No order is promised: a failed message is overtaken by those after it. What was given up after
eight attempts (0.45^8: one in 600, more when the receiver was down) stands in the log, and a replay brings it.

`make storm` sends 500 events, `make test` 50.
"""

from __future__ import annotations

import json
import os
import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

import pytest
import standardwebhooks

from shared.adapters.dynamodb.deliveries import DeliveryQuery
from shared.adapters.http import HttpFailure
from shared.bootstrap import Services
from shared.domain.deliveries import DeliveryId, DeliveryState
from shared.domain.endpoints import EndpointWish, EventType
from shared.domain.jobs import JobState
from shared.domain.urls import WebUrl
from shared.domain.webhooks import Answer, webhook_id
from shared.services.endpoints import Endpoints
from shared.services.webhooks import FinishedJob, Webhooks
from tests.finished_jobs import put_job
from tests.integration.conftest import Customer

EVENTS = int(os.environ.get("STORM_EVENTS", "50"))
VISIBILITY = timedelta(seconds=360)
START = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


class Killed(BaseException):
    """The process died here. No `except Exception` may catch that."""


@dataclass
class Clock:
    now: datetime = START

    def __call__(self) -> datetime:
        return self.now


@dataclass
class Message:
    body: dict[str, Any]
    visible_at: datetime
    receives: int = 0


@dataclass
class VirtualQueue:
    """SQS by the test's clock: a message is hidden, not taken, and comes back when nobody deletes it."""

    clock: Clock
    messages: list[Message] = field(default_factory=list)

    def send(self, body: Mapping[str, Any]) -> None:
        self.messages.append(Message(body=dict(body), visible_at=self.clock.now))

    def receive(self) -> Message | None:
        """The next message, with the clock moved on to it; None when the queue is empty."""
        if not self.messages:
            return None
        message = min(self.messages, key=lambda each: each.visible_at)
        self.clock.now = max(self.clock.now, message.visible_at)
        message.receives += 1
        message.visible_at = self.clock.now + VISIBILITY
        return message


@dataclass
class Receiver:
    """A customer's server on a bad day. Answers may be lost after the message was taken: that makes duplicates."""

    clock: Clock
    secret: str
    chance: random.Random
    down: tuple[datetime, datetime]
    allow_loopback: bool = True
    taken: Counter[str] = field(default_factory=Counter)
    bodies: dict[str, set[str]] = field(default_factory=dict)
    requests: int = 0
    well: bool = False

    def post(self, _url: WebUrl, body: bytes, headers: Mapping[str, str], *, timeout_seconds: float) -> Answer:
        self.requests += 1
        self.clock.now += timedelta(milliseconds=20)
        if self.down[0] <= self.clock.now < self.down[1] and not self.well:
            raise HttpFailure("Connection refused")
        luck = 1.0 if self.well else self.chance.random()
        if luck < 0.30:
            return Answer(status=500, headers={}, body_start=b"no")
        if luck < 0.35:
            self._take(body, headers)
            raise HttpFailure(f"no answer within {timeout_seconds:g} s")
        if luck < 0.40:
            raise HttpFailure(f"no answer within {timeout_seconds:g} s")
        if luck < 0.45:
            return Answer(status=302, headers={"location": "https://elsewhere.example/"})
        self._take(body, headers)
        return Answer(status=204, headers={})

    def _take(self, body: bytes, headers: Mapping[str, str]) -> None:
        standardwebhooks.Webhook(self.secret).verify(body, dict(headers))
        self.taken[headers["webhook-id"]] += 1
        self.bodies.setdefault(headers["webhook-id"], set()).add(body.decode())


class Mortal:
    """An adapter in whose calls the process may die: before the call, or after it and before its answer is used."""

    def __init__(self, inner: Any, chance: random.Random, rate: float) -> None:
        self._inner = inner
        self._chance = chance
        self._rate = rate

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if not callable(found):
            return found

        def call(*args: Any, **kwargs: Any) -> Any:
            if self._chance.random() < self._rate:
                raise Killed
            answer = found(*args, **kwargs)
            if self._chance.random() < self._rate:
                raise Killed
            return answer

        return call


@pytest.mark.parametrize("death_rate", [0.0, 0.02], ids=["alive", "killed at random"])
def test_every_event_arrives_through_a_storm(
    services: Services, customer: Customer, death_rate: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, chance = Clock(), random.Random(20261123)

    class TestTime(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return clock.now.astimezone(tz)

    # The official library refuses timestamps that are not of now, and it asks the real clock.
    monkeypatch.setattr("standardwebhooks.webhooks.datetime", TestTime)
    queue = VirtualQueue(clock)
    ports = replace(services.endpoints._ports, now=clock, queue=queue, chance=chance.random)  # type: ignore[arg-type]
    owner = Endpoints(ports, Webhooks(ports, services.jobs, services.results), services.endpoints._new_id)
    wish = EndpointWish(url="https://receiver.example/hook", events=frozenset(EventType))
    endpoint = owner.create(customer.account_id, wish)
    down = (START + timedelta(minutes=2), START + timedelta(minutes=50))
    receiver = Receiver(clock, endpoint.secrets[0].text, chance, down)
    webhooks = _mortal_webhooks(services, ports, receiver, chance, death_rate)

    states = [JobState.FAILED, JobState.CANCELLED, JobState.FAILED, JobState.FAILED, JobState.COMPLETED]
    jobs = [put_job(services, customer.account_id, states[index % 5], created_at=START) for index in range(EVENTS)]
    for job in jobs:
        queue.send({"detail": {"job_id": job.job_id, "account_id": job.account_id, "status": job.status}})
    deaths, longest = _drive(queue, webhooks)

    ids = [each.delivery_id for job in jobs for each in services.webhooks._deliveries_of(job)]
    states_after = Counter(_state(ports.deliveries, each) for each in ids)
    assert states_after.keys() <= {DeliveryState.DELIVERED, DeliveryState.FAILED}
    assert states_after[DeliveryState.FAILED] < EVENTS / 20
    # What was given up is not lost: the owner sends it once more when the receiver is well.
    receiver.well = True
    whole = DeliveryQuery(account_id=customer.account_id, endpoint_id=endpoint.endpoint_id)
    replayed = owner.replay_range(whole, only_failed=True)
    assert replayed.count == states_after[DeliveryState.FAILED]
    more_deaths, _ = _drive(queue, webhooks)

    expected = {webhook_id(job) for job in jobs}
    assert set(receiver.taken) == expected
    assert all(len(bodies) == 1 for bodies in receiver.bodies.values())
    assert (deaths + more_deaths > EVENTS / 5) == (death_rate > 0)
    assert longest < 100  # the redrive policy's maxReceiveCount
    duplicates = sum(receiver.taken.values()) - EVENTS
    print(  # noqa: T201 - shown with -s: the figures of this storm
        f"{receiver.requests} requests, {duplicates} duplicates, {deaths} deaths, {longest} receives at most, "
        f"{replayed.count} given up and replayed, {clock.now - START} of simulated time"
    )


def _mortal_webhooks(
    services: Services, ports: Any, receiver: Receiver, chance: random.Random, death_rate: float
) -> Webhooks:
    def mortal(inner: Any) -> Any:
        return Mortal(inner, chance, death_rate)

    dying = replace(
        ports,
        endpoints=mortal(ports.endpoints),
        deliveries=mortal(ports.deliveries),
        queue=mortal(ports.queue),
        client=mortal(receiver),
    )
    return Webhooks(dying, services.jobs, services.results)


def _drive(queue: VirtualQueue, webhooks: Webhooks) -> tuple[int, int]:
    """What Lambda and functions.deliver do with each message; how often the process died, most receives of one."""
    deaths = longest = 0
    while (message := queue.receive()) is not None:
        longest = max(longest, message.receives)
        try:
            hide_seconds = _handle(webhooks, message.body)
        except Killed:
            deaths += 1
            continue
        if hide_seconds is None:
            queue.messages.remove(message)
        else:
            message.visible_at = queue.clock.now + timedelta(seconds=hide_seconds)
    return deaths, longest


def _handle(webhooks: Webhooks, body: dict[str, Any]) -> int | None:
    if "delivery_id" in body:
        return webhooks.attempt(DeliveryId(body["delivery_id"]))
    detail: dict[str, Any] = json.loads(json.dumps(body["detail"]))
    webhooks.fan_out(FinishedJob(**detail))
    return None


def _state(log: Any, delivery_id: DeliveryId) -> DeliveryState:
    found = log.get(delivery_id)
    assert found is not None
    state: DeliveryState = found.state
    return state
