"""The event functions: batches, records nobody can read, messages that come twice."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from functions import deliver, dispatch, runtime, sweep
from shared.bootstrap import Services
from shared.domain.jobs import JobState
from tests.integration.conftest import Cloud, Customer
from tests.integration.test_transcribe import submit


def record(body: str, message_id: str = "1", *, receipt: str = "none", count: int = 1) -> dict[str, Any]:
    """An SQS record as Lambda hands it over."""
    return {
        "messageId": message_id,
        "receiptHandle": receipt,
        "body": body,
        "attributes": {"ApproximateReceiveCount": str(count)},
    }


class AMinuteLeft:
    """What Lambda tells a function about its invocation."""

    def get_remaining_time_in_millis(self) -> int:
        return 60_000


def failed(answer: dict[str, Any]) -> list[str]:
    return [item["itemIdentifier"] for item in answer["batchItemFailures"]]


@pytest.fixture
def as_function(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Run in the environment of a function of the template; gives its services."""

    def enter(name: str) -> Services:
        environment = next(each.environment for each in cloud.created.functions if each.logical_id == name)
        for variable, value in environment.items():
            monkeypatch.setenv(variable, value)
        runtime.services.cache_clear()
        return runtime.services()

    yield enter
    runtime.services.cache_clear()


UNREADABLE = ["", "null", "[]", "1", "{}", '{"job_id": 1}', '{"job_id": ""}', "\x00", "{" * 100_000, '{"job_id": null}']


@pytest.mark.parametrize("body", UNREADABLE, ids=lambda text: text[:12])
def test_a_message_nobody_can_read_is_left_for_the_dead_letter_queue(as_function: Any, body: str) -> None:
    as_function("DispatchFunction")
    assert failed(dispatch.handler({"Records": [record(body)]}, None)) == ["1"]
    as_function("DeliverWebhookFunction")
    assert failed(deliver.handler({"Records": [record(body)]}, None)) == ["1"]


def test_one_bad_record_does_not_hold_up_the_others(api: TestClient, funded: Customer, as_function: Any) -> None:
    services: Services = as_function("DispatchFunction")
    job_ids = [submit(api, funded).json()["id"] for _ in range(2)]
    bodies = [json.dumps({"job_id": job_ids[0]}), "nonsense", json.dumps({"job_id": job_ids[1]})]
    records = [record(body, str(number)) for number, body in enumerate(bodies)]
    assert failed(dispatch.handler({"Records": records}, None)) == ["1"]
    states = {services.jobs.get(job_id, funded.account_id).state for job_id in job_ids}
    assert states == {JobState.DISPATCHED}


def test_dispatching_twice_starts_the_same_attempt(api: TestClient, funded: Customer, as_function: Any) -> None:
    services: Services = as_function("DispatchFunction")
    job_id = submit(api, funded).json()["id"]
    event = {"Records": [record(json.dumps({"job_id": job_id}))]}
    for _ in range(2):
        assert dispatch.handler(event, None) == {"batchItemFailures": []}
    attempt = services.jobs.get(job_id, funded.account_id).attempt
    assert attempt is not None
    messages = []
    while message := services.work_queue.receive(0):
        services.work_queue.delete(message.receipt)
        messages.append(json.loads(message.body))
    ours = [message for message in messages if message["job_id"] == job_id]
    assert ours == [{"job_id": job_id, "attempt_id": attempt.attempt_id}] * 2


def test_a_message_for_a_job_that_is_gone_is_done_with(as_function: Any) -> None:
    as_function("DispatchFunction")
    body = json.dumps({"job_id": "550e8400-e29b-41d4-a716-446655440000"})
    assert failed(dispatch.handler({"Records": [record(body)]}, None)) == []


def test_a_sweep_reports_what_it_mended(as_function: Any) -> None:
    as_function("SweepFunction")
    assert isinstance(sweep.handler({}, AMinuteLeft())["repairs"], dict)
