"""Webhook endpoints and their deliveries over the API, against a receiver with a socket of its own."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import standardwebhooks
from fastapi.testclient import TestClient

from functions import deliver, runtime
from shared.adapters.dynamodb.deliveries import DeliveryQuery
from shared.bootstrap import Services
from shared.domain import job_rules as rules
from shared.domain.deliveries import Delivery, DeliveryId
from shared.domain.endpoints import DisabledReason, EndpointWish
from shared.domain.errors import Conflict
from shared.domain.jobs import Job, JobState
from shared.domain.transcripts import Segment, Transcript
from shared.services.webhooks import EARLY_HIDE_SECONDS, FinishedJob
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


@dataclass(frozen=True)
class Subscriber:
    """A customer with a receiver, and the function that delivers to it."""

    api: TestClient
    customer: Customer
    receiver: Receiver
    services: Services

    def call(self, method: str, path: str, **more: Any) -> Any:
        """The API's answer."""
        return self.api.request(method, f"/api/v1/{path}", headers=self.customer.headers, **more)

    def get(self, path: str) -> Any:
        """What the API has there."""
        answer = self.call("GET", path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def add(self, **more: Any) -> dict[str, Any]:
        """An endpoint at the receiver."""
        answer = self.call("POST", "webhooks/", json={"url": self.receiver.url} | more)
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()
        return made

    def finish(self, state: JobState = JobState.COMPLETED, **more: Any) -> Job:
        """A job of the customer's that has ended, and the event that says so."""
        job = put_job(self.services, self.customer.account_id, state, **more)
        self.publish(job)
        return job

    def publish(self, job: Job) -> None:
        """The event of the job's end, as EventBridge puts it into the queue."""
        detail = {"job_id": job.job_id, "account_id": job.account_id, "status": job.status}
        self.services.deliveries_queue.send({"detail-type": f"transcription.{job.status}", "detail": detail})

    def run_deliveries(self) -> list[str]:
        """Give the queue's messages to the function, as Lambda does, until none is left to be seen.

        The bodies of those that it was done with.
        """
        queue, done = self.services.deliveries_queue, []
        while (message := queue.receive(0)) is not None:
            record = {"messageId": message.message_id, "receiptHandle": message.receipt, "body": message.body}
            if not deliver.handler({"Records": [record]}, None)["batchItemFailures"]:
                queue.delete(message.receipt)
                done.append(message.body)
        return done

    def deliveries(self, endpoint: dict[str, Any]) -> Any:
        """The endpoint's log."""
        return self.get(f"webhooks/{endpoint['id']}/deliveries/")["deliveries"]


@pytest.fixture
def subscriber(api: TestClient, customer: Customer, receiver: Receiver, delivering: Services) -> Subscriber:
    return Subscriber(api, customer, receiver, delivering)


def test_a_finished_job_reaches_its_own_url_and_every_endpoint_signed(subscriber: Subscriber) -> None:
    made = subscriber.add()
    job = subscriber.finish(webhook_url=subscriber.receiver.url)
    subscriber.run_deliveries()
    assert len(subscriber.receiver.received) == 2
    expected = subscriber.get(f"transcribe/{job.job_id}/")
    own = subscriber.get("webhooks/job/")["secrets"][0]["secret"]
    bodies = []
    for secret in (made["secrets"][0]["secret"], own):
        for index in range(2):
            try:
                bodies.append(subscriber.receiver.verify(secret, index))
            except standardwebhooks.webhooks.WebhookVerificationError:
                continue
    assert bodies == [expected, expected]


def test_an_event_seen_twice_is_one_delivery_per_receiver(subscriber: Subscriber) -> None:
    made = subscriber.add()
    job = subscriber.finish()
    subscriber.publish(job)
    subscriber.run_deliveries()
    assert len(subscriber.receiver.received) == 1
    log = subscriber.deliveries(made)
    assert [(each["state"], each["attempts"][0]["status"], each["attempts"][0]["answer"]) for each in log] == [
        ("delivered", 200, "thanks")
    ]
    assert subscriber.get(f"transcribe/{job.job_id}/deliveries/")["deliveries"] == log


def test_an_endpoint_gets_only_the_events_it_wants(subscriber: Subscriber) -> None:
    subscriber.add(events=["transcription.failed"])
    subscriber.add(enabled=False)
    subscriber.finish()
    failed = subscriber.finish(JobState.FAILED)
    subscriber.run_deliveries()
    assert [json.loads(body)["id"] for _, body in subscriber.receiver.received] == [failed.job_id]


def test_rotation_signs_with_both_secrets_for_a_day(subscriber: Subscriber) -> None:
    made = subscriber.add()
    rotated = subscriber.call("POST", f"webhooks/{made['id']}/rotate-secret/").json()
    assert [secret["expires_at"] is None for secret in rotated["secrets"]] == [True, False]
    again = subscriber.call("POST", f"webhooks/{made['id']}/rotate-secret/")
    assert (again.status_code, again.json()["error"]) == (409, "conflict")
    answer = subscriber.call("POST", f"webhooks/{made['id']}/test/")
    assert answer.status_code == 202
    subscriber.run_deliveries()
    headers, _ = subscriber.receiver.received[0]
    assert len(headers["webhook-signature"].split()) == 2
    for secret in rotated["secrets"]:
        assert subscriber.receiver.verify(secret["secret"])["test"] is True


def test_a_receiver_that_is_gone_is_disabled_and_what_was_on_its_way_is_dropped(subscriber: Subscriber) -> None:
    made = subscriber.add()
    subscriber.receiver.status = 410
    first, second = (put_job(subscriber.services, subscriber.customer.account_id) for _ in range(2))
    for job in (first, second):
        subscriber.services.webhooks.fan_out(
            FinishedJob(job_id=job.job_id, account_id=job.account_id, status=job.status)
        )
    subscriber.run_deliveries()
    shown = subscriber.get(f"webhooks/{made['id']}/")
    assert (shown["enabled"], shown["disabled_reason"]) == (False, "gone")
    log = subscriber.deliveries(made)
    assert sorted(each["state"] for each in log) == ["dropped", "failed"]
    enabled = subscriber.call("PATCH", f"webhooks/{made['id']}/", json={"enabled": True}).json()
    assert (enabled["enabled"], enabled["failing_since"]) == (True, None)


def _disabled_as_failing(subscriber: Subscriber) -> tuple[dict[str, Any], DeliveryId]:
    """An endpoint whose sixth day of failures ends with one delivery on its way."""
    made = subscriber.add()
    store = subscriber.services.endpoints._ports.endpoints
    endpoint = subscriber.services.endpoints.get(subscriber.customer.account_id, made["id"])
    now = datetime.now(UTC)
    store.replace(replace(endpoint, failing_since=now - timedelta(days=6), last_failed_at=now - timedelta(days=1)))
    subscriber.receiver.status = 503
    job = subscriber.finish()
    subscriber.run_deliveries()
    (delivery,) = subscriber.services.endpoints.deliveries(
        DeliveryQuery(account_id=job.account_id, job_id=job.job_id), 1
    ).deliveries
    return made, delivery.delivery_id


def _make_due(subscriber: Subscriber, delivery_id: DeliveryId) -> None:
    log = subscriber.services.webhooks._ports.deliveries
    waiting = log.get(delivery_id)
    assert waiting is not None
    log.replace(replace(waiting, next_attempt_at=waiting.created_at))


def test_what_was_on_its_way_when_failures_disabled_an_endpoint_is_tried_to_its_end(subscriber: Subscriber) -> None:
    made, delivery_id = _disabled_as_failing(subscriber)
    shown = subscriber.get(f"webhooks/{made['id']}/")
    assert (shown["enabled"], shown["disabled_reason"]) == (False, "failing")
    subscriber.receiver.status = 200
    _make_due(subscriber, delivery_id)
    assert subscriber.services.webhooks.attempt(delivery_id) is None
    assert [each["state"] for each in subscriber.deliveries(made)] == ["delivered"]
    assert subscriber.get(f"webhooks/{made['id']}/") == shown
    subscriber.finish()
    subscriber.run_deliveries()
    assert len(subscriber.deliveries(made)) == 1  # nothing new is sent there


def test_what_was_on_its_way_when_its_owner_disabled_an_endpoint_is_dropped(subscriber: Subscriber) -> None:
    made = subscriber.add()
    subscriber.receiver.status = 503
    subscriber.finish()
    subscriber.run_deliveries()
    assert subscriber.call("PATCH", f"webhooks/{made['id']}/", json={"enabled": False}).status_code == 200
    (delivery,) = subscriber.deliveries(made)
    _make_due(subscriber, delivery["id"])
    assert subscriber.services.webhooks.attempt(delivery["id"]) is None
    assert [each["state"] for each in subscriber.deliveries(made)] == ["dropped"]


def test_a_replay_carries_the_same_id(subscriber: Subscriber) -> None:
    made = subscriber.add()
    for _ in range(3):
        subscriber.finish()
    subscriber.run_deliveries()
    log = subscriber.get(f"webhooks/{made['id']}/deliveries/?limit=2")
    assert len(log["deliveries"]) == 2
    rest = subscriber.get(f"webhooks/{made['id']}/deliveries/?limit=2&cursor={log['next_cursor']}")
    assert (len(rest["deliveries"]), rest["next_cursor"]) == (1, None)
    one = log["deliveries"][0]["id"]
    assert subscriber.call("POST", f"webhook-deliveries/{one}/replay/").status_code == 202
    span = {"since": "2020-01-01T00:00:00Z", "until": "2099-01-01T00:00:00Z"}
    done = subscriber.call("POST", f"webhooks/{made['id']}/replay/", json=span).json()
    assert done == {"replayed": 3, "next_cursor": None}
    subscriber.run_deliveries()
    ids = [headers["webhook-id"] for headers, _ in subscriber.receiver.received]
    assert (len(ids), len(set(ids))) == (7, 3)


def test_a_redirect_and_an_error_are_tried_again_later(subscriber: Subscriber) -> None:
    made = subscriber.add()
    subscriber.receiver.status, subscriber.receiver.headers = 302, {"Location": "http://169.254.169.254/"}
    subscriber.finish()
    subscriber.run_deliveries()
    log = subscriber.deliveries(made)
    assert (log[0]["state"], log[0]["attempts"][0]["status"]) == ("pending", 302)
    assert log[0]["next_attempt_at"] is not None
    assert len(subscriber.receiver.received) == 1
    shown = subscriber.get(f"webhooks/{made['id']}/")
    assert shown["failing_since"] is not None


def test_a_result_over_a_megabyte_is_sent_as_a_link(subscriber: Subscriber) -> None:
    made = subscriber.add()
    long = Segment(start_seconds=0.0, end_seconds=9.0, text="word " * 250_000, speaker_id="SPEAKER_00")
    job = subscriber.finish(transcript=_with_segment(long))
    subscriber.run_deliveries()
    message = subscriber.receiver.verify(made["secrets"][0]["secret"])
    assert "transcript" not in message
    assert message["id"] == job.job_id
    assert f"/exports/{job.account_id}/{job.job_id}/" in message["result_url"]


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


def test_an_account_has_a_limited_number_of_endpoints(subscriber: Subscriber) -> None:
    made = [subscriber.add() for _ in range(20)]
    answer = subscriber.call("POST", "webhooks/", json={"url": subscriber.receiver.url})
    assert (answer.status_code, answer.json()["error"]) == (409, "conflict")
    assert "20" in answer.json()["message"]
    assert subscriber.call("DELETE", f"webhooks/{made[0]['id']}/").status_code == 204
    assert subscriber.call("DELETE", f"webhooks/{made[0]['id']}/").status_code == 404
    subscriber.add()


@pytest.mark.parametrize("cursor", ["x", "%00", "e30", "W10", "eyJhIjoxfQ", "A" * 5000])
def test_a_made_up_cursor_is_refused(subscriber: Subscriber, cursor: str) -> None:
    made = subscriber.add()
    answer = subscriber.call("GET", f"webhooks/{made['id']}/deliveries/?cursor={cursor}")
    assert (answer.status_code, answer.json()["field"]) == (400, "cursor")


def test_deliveries_of_a_deleted_job_stop(subscriber: Subscriber) -> None:
    made = subscriber.add()
    subscriber.receiver.status = 500
    job = subscriber.finish()
    subscriber.run_deliveries()
    assert len(subscriber.receiver.received) == 1
    assert subscriber.call("DELETE", f"transcribe/{job.job_id}/").status_code == 200

    webhooks = subscriber.services.webhooks
    (delivery,) = webhooks._deliveries_of(job)
    _make_due(subscriber, delivery.delivery_id)
    assert webhooks.attempt(delivery.delivery_id) is None
    subscriber.publish(job)  # the event once more, late
    subscriber.run_deliveries()

    assert len(subscriber.receiver.received) == 1
    shown = subscriber.deliveries(made)
    assert [each["state"] for each in shown] == ["dropped"]


@pytest.mark.parametrize("state", [JobState.RUNNING, JobState.COMPLETED])
@pytest.mark.parametrize("replayed", [False, True])
def test_deliveries_of_a_job_that_was_deleted_and_made_again_say_nothing_of_the_new_one(
    subscriber: Subscriber, state: JobState, replayed: bool
) -> None:
    subscriber.add()
    subscriber.receiver.status = 500
    webhooks, jobs = subscriber.services.webhooks, subscriber.services.jobs._ports.store
    job = subscriber.finish()
    subscriber.run_deliveries()
    (delivery,) = webhooks._deliveries_of(job)
    assert len(subscriber.receiver.received) == 1
    jobs.delete(job)
    outcome = job.outcome if state.is_final else None
    jobs.replace(
        replace(job, state=state, outcome=outcome, created_at=datetime.now(UTC) + timedelta(hours=2), revision=0)
    )

    delivery_id = delivery.delivery_id
    if replayed:
        delivery_id = subscriber.call("POST", f"webhook-deliveries/{delivery_id}/replay/").json()["id"]
    _make_due(subscriber, delivery_id)
    assert webhooks.attempt(delivery_id) is None

    assert len(subscriber.receiver.received) == 1
    assert subscriber.get(f"webhook-deliveries/{delivery_id}/")["state"] == "dropped"


def test_the_message_of_a_delivery_may_come_again_when_its_job_has_been_made_again(subscriber: Subscriber) -> None:
    subscriber.add()
    webhooks, jobs = subscriber.services.webhooks, subscriber.services.jobs._ports.store
    job = subscriber.finish()
    subscriber.run_deliveries()
    (delivery,) = webhooks._deliveries_of(job)
    jobs.delete(job)
    again = replace(job, state=JobState.QUEUED, outcome=None, created_at=datetime.now(UTC) + timedelta(hours=2))
    again = jobs.replace(replace(again, delete_when_delivered=True, revision=0))

    assert webhooks.attempt(delivery.delivery_id) is None

    assert jobs.get(job.job_id) == again


def test_a_job_kept_for_no_days_waits_for_an_endpoint_that_failures_disabled_meanwhile(subscriber: Subscriber) -> None:
    made = subscriber.add()
    webhooks, jobs = subscriber.services.webhooks, subscriber.services.jobs._ports.store
    subscriber.receiver.status = 503
    job = put_job(subscriber.services, subscriber.customer.account_id, webhook_url=subscriber.receiver.url)
    job = jobs.replace(rules.published(replace(job, delete_when_delivered=True)))
    own, to_endpoint = webhooks._deliveries_of(job)
    subscriber.publish(job)
    subscriber.run_deliveries()
    store = subscriber.services.endpoints._ports.endpoints
    endpoint = subscriber.services.endpoints.get(subscriber.customer.account_id, made["id"])
    store.replace(replace(endpoint, disabled_reason=DisabledReason.FAILING))

    subscriber.receiver.status = 200
    _make_due(subscriber, own.delivery_id)
    assert webhooks.attempt(own.delivery_id) is None
    assert jobs.get(job.job_id) == job, "its result is still on its way to the endpoint"

    _make_due(subscriber, to_endpoint.delivery_id)
    assert webhooks.attempt(to_endpoint.delivery_id) is None
    assert [each["state"] for each in subscriber.deliveries(made)] == ["delivered"]
    left = jobs.get(job.job_id)
    assert left is not None
    assert left.expires_at < job.expires_at


class LosesAnswers:
    """A DynamoDB client whose every PutItem reaches the table twice, as when botocore missed the first answer."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def put_item(self, **put: Any) -> Any:
        self._client.put_item(**put)
        return self._client.put_item(**put)


@pytest.fixture
def answers_lost(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    """The API loses the answer to each of its writes to the webhook tables."""
    ports = services.endpoints._ports
    for store in (ports.endpoints, ports.deliveries):
        monkeypatch.setattr(store, "_client", LosesAnswers(store._client))


@pytest.mark.usefixtures("answers_lost")
def test_a_change_whose_answer_was_lost_is_no_conflict(subscriber: Subscriber) -> None:
    made = subscriber.add()
    changed = subscriber.call("PATCH", f"webhooks/{made['id']}/", json={"description": "new"})
    assert (changed.status_code, changed.json()["description"]) == (200, "new")
    rotated = subscriber.call("POST", f"webhooks/{made['id']}/rotate-secret/")
    assert rotated.status_code == 200, rotated.text
    assert [secret["secret"] for secret in rotated.json()["secrets"]][1:] == [made["secrets"][0]["secret"]]


@pytest.mark.usefixtures("answers_lost")
def test_a_test_message_and_its_replay_go_out_although_an_answer_was_lost(subscriber: Subscriber) -> None:
    made = subscriber.add()
    tested = subscriber.call("POST", f"webhooks/{made['id']}/test/")
    assert tested.status_code == 202, tested.text
    replayed = subscriber.call("POST", f"webhook-deliveries/{tested.json()['id']}/replay/")
    assert replayed.status_code == 202, replayed.text
    subscriber.run_deliveries()
    assert len(subscriber.receiver.received) == 2


def test_a_change_that_somebody_else_made_meanwhile_stays_a_conflict(subscriber: Subscriber) -> None:
    made = subscriber.add()
    seen = subscriber.services.endpoints.get(subscriber.customer.account_id, made["id"])
    assert subscriber.call("PATCH", f"webhooks/{made['id']}/", json={"description": "theirs"}).status_code == 200
    wish = EndpointWish(url=seen.url, events=seen.events, description="ours")
    with pytest.raises(Conflict):
        subscriber.services.endpoints.update(seen, wish)


@pytest.mark.parametrize("dies_at", ["the message", "the delivery"])
def test_a_death_while_a_message_is_made_leaves_no_delivery_that_nobody_sends(
    subscriber: Subscriber, monkeypatch: pytest.MonkeyPatch, dies_at: str
) -> None:
    made, owner = subscriber.add(), subscriber.services.endpoints
    endpoint = owner.get(subscriber.customer.account_id, made["id"])
    with monkeypatch.context() as dying:
        if dies_at == "the message":
            dying.setattr(owner._ports.queue, "send", _die)
        else:
            dying.setattr(owner._ports.deliveries, "replace", _die)
        with pytest.raises(KeyboardInterrupt):
            owner.test(endpoint)
    assert subscriber.deliveries(made) == []
    subscriber.run_deliveries()
    assert subscriber.receiver.received == []


def test_a_message_that_is_faster_than_its_delivery_waits_for_it(
    subscriber: Subscriber, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, owner = subscriber.add(), subscriber.services.endpoints
    endpoint = owner.get(subscriber.customer.account_id, made["id"])
    webhooks, store = subscriber.services.webhooks, owner._ports.deliveries
    write, early, done = store.replace, [], []

    def be_slow(delivery: Delivery) -> Delivery:
        monkeypatch.setattr(store, "replace", write)
        done.extend(subscriber.run_deliveries())
        early.append(webhooks.attempt(delivery.delivery_id, announced_at=datetime.now(UTC)))
        return write(delivery)

    monkeypatch.setattr(store, "replace", be_slow)
    delivery = owner.test(endpoint)

    assert early == [EARLY_HIDE_SECONDS]
    assert not any(delivery.delivery_id in body for body in done), "its message is hidden, not deleted"
    assert webhooks.attempt(delivery.delivery_id, announced_at=datetime.now(UTC)) is None
    assert [each["state"] for each in subscriber.deliveries(made)] == ["delivered"]


def test_a_message_whose_delivery_was_never_written_goes_after_a_minute(subscriber: Subscriber) -> None:
    webhooks, announced_at = subscriber.services.webhooks, datetime.now(UTC) - timedelta(seconds=61)
    assert webhooks.attempt(DeliveryId("dlv_never"), announced_at=announced_at) is None
    assert webhooks.attempt(DeliveryId("dlv_never")) is None


@pytest.mark.parametrize("announced_at", ["", "soon", 5, "2026-11-23T12:00:00"])
def test_an_announcement_without_a_time_is_left_for_the_dead_letters(subscriber: Subscriber, announced_at: Any) -> None:
    body = json.dumps({"delivery_id": "dlv_never", "announced_at": announced_at})
    record = {"messageId": "1", "receiptHandle": "receipt", "body": body}
    assert deliver.handler({"Records": [record]}, None)["batchItemFailures"] == [{"itemIdentifier": "1"}]


def _die(*_: Any) -> None:
    raise KeyboardInterrupt
