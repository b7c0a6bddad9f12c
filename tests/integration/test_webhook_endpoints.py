"""Webhook endpoints and their deliveries over the API, against a receiver with a socket of its own."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import standardwebhooks
from fastapi.testclient import TestClient

from functions import deliver, runtime
from shared.bootstrap import Services
from shared.domain.jobs import JobState
from shared.domain.transcripts import Segment, Transcript
from shared.services.webhooks import FinishedJob
from tests.finished_jobs import TRANSCRIPT, put_job
from tests.integration.conftest import Cloud, Customer


@dataclass
class Receiver:
    """A customer's server: keeps what it got and answers what it is told to."""

    url: str = ""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    answer: bytes = b"thanks"
    received: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    def verify(self, secret: str, index: int = -1) -> Any:
        """The message, checked by the official library."""
        headers, body = self.received[index]
        return standardwebhooks.Webhook(secret).verify(body, headers)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    state = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            state.received.append(({name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(state.status)
            for name, value in state.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(state.answer)

        def log_message(self, *_: object) -> None:
            """Silence."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_port}/hook"
    yield state
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def delivering(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Services:
    """The delivery function's services, with its queue empty."""
    services = cloud.services("DeliverWebhookFunction")
    monkeypatch.setattr(runtime, "services", lambda: services)
    while (message := services.deliveries_queue.receive(0)) is not None:
        services.deliveries_queue.delete(message.receipt)
    return services


@pytest.fixture
def run_deliveries(delivering: Services) -> Callable[[], int]:
    """Gives the queue's messages to the function, as Lambda does, until none is left to be seen; how many it took."""

    def run() -> int:
        count = 0
        while (message := delivering.deliveries_queue.receive(0)) is not None:
            count += 1
            record = {"messageId": message.message_id, "receiptHandle": message.receipt, "body": message.body}
            if not deliver.handler({"Records": [record]}, None)["batchItemFailures"]:
                delivering.deliveries_queue.delete(message.receipt)
        return count

    return run


def _publish(services: Services, job: Any) -> None:
    detail = {"job_id": job.job_id, "account_id": job.account_id, "status": job.status}
    services.deliveries_queue.send({"detail-type": f"transcription.{job.status}", "detail": detail})


def _add(api: TestClient, customer: Customer, receiver: Receiver, **more: Any) -> dict[str, Any]:
    answer = api.post("/api/v1/webhooks/", json={"url": receiver.url} | more, headers=customer.headers)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def test_a_finished_job_reaches_its_own_url_and_every_endpoint_signed(
    api: TestClient,
    customer: Customer,
    receiver: Receiver,
    delivering: Services,
    run_deliveries: Callable[[], int],
) -> None:
    made = _add(api, customer, receiver)
    job = put_job(delivering, customer.account_id, webhook_url=receiver.url)
    _publish(delivering, job)
    run_deliveries()
    assert len(receiver.received) == 2
    expected = api.get(f"/api/v1/transcribe/{job.job_id}/", headers=customer.headers).json()
    own = api.get("/api/v1/webhooks/job/", headers=customer.headers).json()["secrets"][0]["secret"]
    bodies = []
    for secret in (made["secrets"][0]["secret"], own):
        for index in range(2):
            try:
                bodies.append(receiver.verify(secret, index))
            except standardwebhooks.webhooks.WebhookVerificationError:
                continue
    assert bodies == [expected, expected]


def test_an_event_seen_twice_is_one_delivery_per_receiver(
    api: TestClient,
    customer: Customer,
    receiver: Receiver,
    delivering: Services,
    run_deliveries: Callable[[], int],
) -> None:
    made = _add(api, customer, receiver)
    job = put_job(delivering, customer.account_id)
    for _ in range(2):
        _publish(delivering, job)
    run_deliveries()
    assert len(receiver.received) == 1
    log = api.get(f"/api/v1/webhooks/{made['id']}/deliveries/", headers=customer.headers).json()["deliveries"]
    assert [(each["state"], each["attempts"][0]["status"], each["attempts"][0]["answer"]) for each in log] == [
        ("delivered", 200, "thanks")
    ]
    assert api.get(f"/api/v1/transcribe/{job.job_id}/deliveries/", headers=customer.headers).json()["deliveries"] == log


def test_an_endpoint_gets_only_the_events_it_wants(
    api: TestClient,
    customer: Customer,
    receiver: Receiver,
    delivering: Services,
    run_deliveries: Callable[[], int],
) -> None:
    _add(api, customer, receiver, events=["transcription.failed"])
    _add(api, customer, receiver, enabled=False)
    _publish(delivering, put_job(delivering, customer.account_id))
    failed = put_job(delivering, customer.account_id, JobState.FAILED)
    _publish(delivering, failed)
    run_deliveries()
    assert [json.loads(body)["id"] for _, body in receiver.received] == [failed.job_id]


def test_rotation_signs_with_both_secrets_for_a_day(
    api: TestClient,
    customer: Customer,
    receiver: Receiver,
    run_deliveries: Callable[[], int],
) -> None:
    made = _add(api, customer, receiver)
    rotated = api.post(f"/api/v1/webhooks/{made['id']}/rotate-secret/", headers=customer.headers).json()
    assert [secret["expires_at"] is None for secret in rotated["secrets"]] == [True, False]
    again = api.post(f"/api/v1/webhooks/{made['id']}/rotate-secret/", headers=customer.headers)
    assert (again.status_code, again.json()["error"]) == (409, "conflict")
    answer = api.post(f"/api/v1/webhooks/{made['id']}/test/", headers=customer.headers)
    assert answer.status_code == 202
    run_deliveries()
    headers, _ = receiver.received[0]
    assert len(headers["webhook-signature"].split()) == 2
    for secret in rotated["secrets"]:
        assert receiver.verify(secret["secret"])["test"] is True


def test_a_receiver_that_is_gone_is_disabled_and_what_was_on_its_way_is_dropped(
    api: TestClient,
    customer: Customer,
    receiver: Receiver,
    delivering: Services,
    run_deliveries: Callable[[], int],
) -> None:
    made = _add(api, customer, receiver)
    receiver.status = 410
    first, second = (put_job(delivering, customer.account_id) for _ in range(2))
    for job in (first, second):
        delivering.webhooks.fan_out(FinishedJob(job_id=job.job_id, account_id=job.account_id, status=job.status))
    run_deliveries()
    shown = api.get(f"/api/v1/webhooks/{made['id']}/", headers=customer.headers).json()
    assert (shown["enabled"], shown["disabled_reason"]) == (False, "gone")
    log = api.get(f"/api/v1/webhooks/{made['id']}/deliveries/", headers=customer.headers).json()["deliveries"]
    assert sorted(each["state"] for each in log) == ["dropped", "failed"]
    enabled = api.patch(f"/api/v1/webhooks/{made['id']}/", json={"enabled": True}, headers=customer.headers).json()
    assert (enabled["enabled"], enabled["failing_since"]) == (True, None)


def test_a_replay_carries_the_same_id(
    api: TestClient,
    customer: Customer,
    receiver: Receiver,
    delivering: Services,
    run_deliveries: Callable[[], int],
) -> None:
    made = _add(api, customer, receiver)
    jobs = [put_job(delivering, customer.account_id) for _ in range(3)]
    for job in jobs:
        _publish(delivering, job)
    run_deliveries()
    log = api.get(f"/api/v1/webhooks/{made['id']}/deliveries/?limit=2", headers=customer.headers).json()
    assert len(log["deliveries"]) == 2
    rest = api.get(
        f"/api/v1/webhooks/{made['id']}/deliveries/?limit=2&cursor={log['next_cursor']}", headers=customer.headers
    ).json()
    assert (len(rest["deliveries"]), rest["next_cursor"]) == (1, None)
    one = log["deliveries"][0]["id"]
    assert api.post(f"/api/v1/webhook-deliveries/{one}/replay/", headers=customer.headers).status_code == 202
    span = {"since": "2020-01-01T00:00:00Z", "until": "2099-01-01T00:00:00Z"}
    done = api.post(f"/api/v1/webhooks/{made['id']}/replay/", json=span, headers=customer.headers).json()
    assert done == {"replayed": 3, "next_cursor": None}
    run_deliveries()
    ids = [headers["webhook-id"] for headers, _ in receiver.received]
    assert (len(ids), len(set(ids))) == (7, 3)


def test_a_redirect_and_an_error_are_tried_again_later(
    api: TestClient,
    customer: Customer,
    receiver: Receiver,
    delivering: Services,
    run_deliveries: Callable[[], int],
) -> None:
    made = _add(api, customer, receiver)
    receiver.status, receiver.headers = 302, {"Location": "http://169.254.169.254/"}
    _publish(delivering, put_job(delivering, customer.account_id))
    run_deliveries()
    log = api.get(f"/api/v1/webhooks/{made['id']}/deliveries/", headers=customer.headers).json()["deliveries"]
    assert (log[0]["state"], log[0]["attempts"][0]["status"]) == ("pending", 302)
    assert log[0]["next_attempt_at"] is not None
    assert len(receiver.received) == 1
    shown = api.get(f"/api/v1/webhooks/{made['id']}/", headers=customer.headers).json()
    assert shown["failing_since"] is not None


def test_a_result_over_a_megabyte_is_sent_as_a_link(
    api: TestClient,
    customer: Customer,
    receiver: Receiver,
    delivering: Services,
    run_deliveries: Callable[[], int],
) -> None:
    made = _add(api, customer, receiver)
    long = Segment(start_seconds=0.0, end_seconds=9.0, text="word " * 250_000, speaker_id="SPEAKER_00")
    job = put_job(delivering, customer.account_id, transcript=_with_segment(long))
    _publish(delivering, job)
    run_deliveries()
    message = receiver.verify(made["secrets"][0]["secret"])
    assert "transcript" not in message
    assert message["id"] == job.job_id
    assert f"/exports/{customer.account_id}/{job.job_id}/" in message["result_url"]


def _with_segment(segment: Segment) -> Transcript:
    return replace(TRANSCRIPT, segments=(segment,))


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"url": "https://10.0.0.1/"}, "url"),
        ({"url": "ftp://example.com/"}, "url"),
        ({}, "url"),
        ({"url": "https://example.com/", "secret": "whsec_short"}, "secret"),
        ({"url": "https://example.com/", "secret": "secret"}, "secret"),
        ({"url": "https://example.com/", "secret": "whsec_" + "A" * 300}, "secret"),
        ({"url": "https://example.com/", "events": ["nonsense"]}, None),
        ({"url": "https://example.com/", "events": []}, "events"),
        ({"url": "https://example.com/", "surprise": 1}, "surprise"),
    ],
)
def test_a_malformed_endpoint_is_refused(
    api: TestClient, customer: Customer, body: dict[str, Any], field: str | None
) -> None:
    answer = api.post("/api/v1/webhooks/", json=body, headers=customer.headers)
    assert answer.status_code == 400, answer.text
    assert field is None or answer.json()["field"] == field


def test_an_account_has_a_limited_number_of_endpoints(api: TestClient, customer: Customer, receiver: Receiver) -> None:
    made = [_add(api, customer, receiver) for _ in range(20)]
    answer = api.post("/api/v1/webhooks/", json={"url": receiver.url}, headers=customer.headers)
    assert (answer.status_code, answer.json()["error"]) == (409, "conflict")
    assert "20" in answer.json()["message"]
    assert api.delete(f"/api/v1/webhooks/{made[0]['id']}/", headers=customer.headers).status_code == 204
    assert api.delete(f"/api/v1/webhooks/{made[0]['id']}/", headers=customer.headers).status_code == 404
    _add(api, customer, receiver)


@pytest.mark.parametrize("cursor", ["x", "%00", "e30", "W10", "eyJhIjoxfQ", "A" * 5000])
def test_a_made_up_cursor_is_refused(api: TestClient, customer: Customer, receiver: Receiver, cursor: str) -> None:
    made = _add(api, customer, receiver)
    answer = api.get(f"/api/v1/webhooks/{made['id']}/deliveries/?cursor={cursor}", headers=customer.headers)
    assert (answer.status_code, answer.json()["field"]) == (400, "cursor")


def test_deliveries_of_a_deleted_job_stop(
    api: TestClient,
    customer: Customer,
    receiver: Receiver,
    delivering: Services,
    run_deliveries: Callable[[], int],
) -> None:
    made = _add(api, customer, receiver)
    receiver.status = 500
    job = put_job(delivering, customer.account_id)
    _publish(delivering, job)
    run_deliveries()
    assert len(receiver.received) == 1
    assert api.delete(f"/api/v1/transcribe/{job.job_id}/", headers=customer.headers).status_code == 200

    (delivery,) = delivering.webhooks._deliveries_of(job)
    log = delivering.webhooks._ports.deliveries
    waiting = log.get(delivery.delivery_id)
    assert waiting is not None
    log.replace(replace(waiting, next_attempt_at=waiting.created_at))  # its time has come
    assert delivering.webhooks.attempt(delivery.delivery_id) is None
    _publish(delivering, job)  # the event once more, late
    run_deliveries()

    assert len(receiver.received) == 1
    shown = api.get(f"/api/v1/webhooks/{made['id']}/deliveries/", headers=customer.headers).json()["deliveries"]
    assert [each["state"] for each in shown] == ["dropped"]
