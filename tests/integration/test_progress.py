"""Events while a job runs, retries of failed ones, and jobs that are gone once delivered."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import requests
import uvicorn
from fastapi.testclient import TestClient

from functions.api.app import create_app
from shared.bootstrap import Services
from shared.domain import job_rules as rules
from shared.domain.errors import InsufficientCredits
from shared.domain.ids import JobId
from shared.domain.jobs import JobState, Outcome
from shared.domain.webhooks import Answer
from shared.services.webhooks import FinishedJob
from tests.finished_jobs import put_job, store
from tests.integration.conftest import Cloud, Customer


@pytest.fixture(scope="module")
def streaming_host(services: Services) -> Iterator[str]:
    """The API on a server of its own, as the streaming host has it."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
        config = uvicorn.Config(create_app(lambda: services), log_level="error", lifespan="off")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]}, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{port}"
        server.should_exit = True
        thread.join()


def test_events_follow_a_job_to_its_end(streaming_host: str, services: Services, customer: Customer) -> None:
    job = put_job(services, customer.account_id, JobState.RUNNING)
    seen: list[tuple[str, Any]] = []
    path = f"{streaming_host}/api/v1/transcribe/{job.job_id}/events/"
    with requests.get(path, headers=customer.headers, timeout=30, stream=True) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        name = ""
        for line in answer.iter_lines(chunk_size=1, decode_unicode=True):
            if line.startswith("event: "):
                name = line.removeprefix("event: ")
            if line.startswith("data: "):
                seen.append((name, json.loads(line.removeprefix("data: "))))
                if len(seen) == 1:
                    job = store(services).replace(replace(job, progress_percent=80))
                if len(seen) == 2:
                    store(services).replace(
                        replace(job, state=JobState.CANCELLED, outcome=Outcome(finished_at=job.created_at))
                    )
    assert [(name, data["progress"]) for name, data in seen] == [("progress", 45), ("progress", 80), ("cancelled", 80)]


def test_a_client_that_has_the_last_event_is_sent_away(api: TestClient, services: Services, customer: Customer) -> None:
    job = put_job(services, customer.account_id)
    path = f"/api/v1/transcribe/{job.job_id}/events/"
    answer = api.get(path, headers=customer.headers)
    assert "event: completed" in answer.text
    last = next(line.removeprefix("id: ") for line in answer.text.splitlines() if line.startswith("id: "))
    assert api.get(path, headers=customer.headers | {"Last-Event-ID": last}).status_code == 204


def test_a_failed_job_is_tried_again_once_without_its_upload(
    api: TestClient, services: Services, funded: Customer
) -> None:
    failed = put_job(services, funded.account_id, JobState.FAILED)
    path = f"/api/v1/transcribe/{failed.job_id}/retry/"
    first = api.post(path, headers=funded.headers)
    assert first.status_code == 202, first.text
    again = api.post(path, headers=funded.headers)
    assert (again.status_code, again.json()["id"]) == (202, first.json()["id"])
    shown = api.get(first.headers["Location"], headers=funded.headers).json()
    assert shown["status"] == "processing"
    retried = store(services).get(first.json()["id"])
    assert retried is not None
    assert services.bucket.get(retried.recording.key) == services.bucket.get(failed.recording.key)
    assert funded.balance().held_millicredits == retried.hold.amount_millicredits > 0
    done = put_job(services, funded.account_id)
    assert api.post(f"/api/v1/transcribe/{done.job_id}/retry/", headers=funded.headers).status_code == 409


def test_a_retry_is_kept_as_long_as_the_first_was_to_be(api: TestClient, services: Services, funded: Customer) -> None:
    failed = put_job(services, funded.account_id, JobState.FAILED)
    failed = store(services).replace(
        replace(failed, expires_at=(failed.created_at + timedelta(days=7)).replace(microsecond=0))
    )
    answer = api.post(f"/api/v1/transcribe/{failed.job_id}/retry/", headers=funded.headers)
    retried = store(services).get(answer.json()["id"])
    assert retried is not None
    assert retried.kept_days == 7
    assert answer.headers["Location"] == f"/api/v1/transcribe/{retried.job_id}/"


def test_a_refused_retry_leaves_the_recording_of_one_that_was_faster(
    api: TestClient, services: Services, customer: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = put_job(services, customer.account_id, JobState.FAILED)
    path = f"/api/v1/transcribe/{failed.job_id}/retry/"
    submit = services.submissions.submit
    won: list[str] = []

    def slowly(*args: Any, **kwargs: Any) -> Any:
        """Between copy and submission another retry goes through, and this one is refused."""
        monkeypatch.setattr(services.submissions, "submit", submit)
        customer.grant(1_000)
        won.append(api.post(path, headers=customer.headers).json()["id"])
        raise InsufficientCredits(available_millicredits=0, required_millicredits=1)

    monkeypatch.setattr(services.submissions, "submit", slowly)
    assert api.post(path, headers=customer.headers).status_code == 402
    retried = store(services).get(JobId(won[0]))
    assert retried is not None
    assert services.bucket.get(retried.recording.key) == b"RIFF"
    assert len(services.bucket.find(f"audio/{customer.account_id}/{retried.job_id}")) == 1


def test_a_retry_that_was_deleted_is_not_answered_as_if_it_were_there(
    api: TestClient, services: Services, funded: Customer
) -> None:
    failed = put_job(services, funded.account_id, JobState.FAILED)
    path = f"/api/v1/transcribe/{failed.job_id}/retry/"
    new_id = api.post(path, headers=funded.headers).json()["id"]
    api.delete(f"/api/v1/transcribe/{new_id}/", headers=funded.headers)
    assert api.post(path, headers=funded.headers).status_code == 409

    deleted = services.jobs.look_up(JobId(new_id))
    assert deleted is not None
    assert services.jobs.expire(deleted) == "forgotten"
    again = api.post(path, headers=funded.headers)
    assert (again.status_code, again.json()["id"]) == (202, new_id)
    assert services.credits.verify(funded.account_id).entries == 4, "the grant, two holds, one release"


def test_a_retry_without_credits_leaves_nothing_behind(api: TestClient, services: Services, customer: Customer) -> None:
    failed = put_job(services, customer.account_id, JobState.FAILED)
    before = services.bucket.find(f"audio/{customer.account_id}/")
    answer = api.post(f"/api/v1/transcribe/{failed.job_id}/retry/", headers=customer.headers)
    assert (answer.status_code, answer.json()["error"]) == (402, "insufficient_credits")
    assert services.bucket.find(f"audio/{customer.account_id}/") == before


@pytest.mark.parametrize("noted", [True, False])
def test_a_job_kept_for_no_days_goes_once_its_webhook_took_the_result(
    services: Services, customer: Customer, cloud: Cloud, noted: bool
) -> None:
    delivering = cloud.services("DeliverWebhookFunction")
    job = put_job(services, customer.account_id, webhook_url="https://receiver.example/hook")
    # The webhook may have the result before the bus's answer is noted: then the event is told once more, first.
    job = replace(job, delete_when_delivered=True, owes_event=not noted)
    job = store(services).replace(replace(job, sweep_at=job.created_at) if job.owes_event else rules.published(job))
    delivering.webhooks._ports = replace(delivering.webhooks._ports, client=_Taker())  # type: ignore[arg-type]
    delivering.webhooks.fan_out(FinishedJob(job_id=job.job_id, account_id=job.account_id, status=job.status))
    (delivery,) = delivering.webhooks._deliveries_of(job)
    assert delivering.webhooks.attempt(delivery.delivery_id) is None
    sweeping = cloud.services("SweepFunction")
    now = sweeping.jobs._ports.now
    sweeping.jobs._ports = replace(sweeping.jobs._ports, now=lambda: now() + timedelta(seconds=1))
    rounds = [sweeping.jobs.repair(job.job_id) for _ in range(1 if noted else 2)]
    assert rounds == ["deleted"] if noted else ["published", "deleted"]
    assert services.bucket.find(f"results/{customer.account_id}/") == []


def test_a_job_kept_for_no_days_goes_although_who_delivered_it_died_right_after(
    services: Services, customer: Customer, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    delivering = cloud.services("DeliverWebhookFunction")
    job = put_job(services, customer.account_id, webhook_url="https://receiver.example/hook")
    job = store(services).replace(rules.published(replace(job, delete_when_delivered=True)))
    webhooks = delivering.webhooks
    webhooks._ports = replace(webhooks._ports, client=_Taker())  # type: ignore[arg-type]
    webhooks.fan_out(FinishedJob(job_id=job.job_id, account_id=job.account_id, status=job.status))
    (delivery,) = webhooks._deliveries_of(job)
    with monkeypatch.context() as dying:
        dying.setattr(webhooks, "_let_go", lambda _: None)
        assert webhooks.attempt(delivery.delivery_id) is None
    assert services.jobs.get(job.job_id, job.account_id).sweep_at == job.sweep_at

    assert webhooks.attempt(delivery.delivery_id) is None  # its message comes again

    left = services.jobs.get(job.job_id, job.account_id)
    assert left.sweep_at is not None
    assert job.sweep_at is not None
    assert left.sweep_at < job.sweep_at


def test_a_drop_kept_for_no_days_stays_until_its_results_are_in_the_folder(
    services: Services, customer: Customer, cloud: Cloud
) -> None:
    delivering = cloud.services("DeliverWebhookFunction")
    job = put_job(services, customer.account_id, webhook_url="https://receiver.example/hook")
    job = store(services).replace(rules.published(replace(job, delete_when_delivered=True, drop_key="drop/a/a.wav")))
    delivering.webhooks._ports = replace(delivering.webhooks._ports, client=_Taker())  # type: ignore[arg-type]
    delivering.webhooks.fan_out(FinishedJob(job_id=job.job_id, account_id=job.account_id, status=job.status))
    (delivery,) = delivering.webhooks._deliveries_of(job)

    assert delivering.webhooks.attempt(delivery.delivery_id) is None

    assert services.jobs.get(job.job_id, job.account_id).sweep_at == job.sweep_at


class _Taker:
    allow_loopback = True

    def post(self, *_: Any, **__: Any) -> Answer:
        return Answer(status=200, headers={})
