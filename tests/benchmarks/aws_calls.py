"""Which AWS calls each operation makes: ``python -m tests.benchmarks.aws_calls``.

Counted by botocore's own events on the template in an in-process moto, so nothing can hide from it. tests/integration/
test_call_budgets.py holds the same figures to their budgets.
"""

from __future__ import annotations

import io
import json
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import boto3

from gpu_jobs.run import Worker, run_job
from shared.adapters.aws import AwsClients
from shared.bootstrap import Services
from shared.domain.deliveries import DeliveryId
from shared.domain.ids import AttemptId, JobId
from shared.domain.options import TranscriptionOptions
from shared.services.submissions import Submission
from shared.services.webhooks import FinishedJob
from shared.settings import Settings
from tests.integration.crashes import AUDIO, ESTIMATED_SECONDS, REAL_SECONDS, FixedPipeline
from tests.receivers import OK, answering, receiver


@dataclass
class Counter:
    """The calls of the clients it listens to, in order."""

    calls: list[str] = field(default_factory=list)

    def listen(self, aws: AwsClients) -> None:
        """Count every call of these clients."""
        for client in (aws.dynamodb, aws.s3, aws.sqs, aws.events):
            client.meta.events.register("before-call.*.*", self._count)

    def _count(self, model: Any, **_: Any) -> None:
        self.calls.append(model.name)

    @contextmanager
    def counting(self, into: list[str]) -> Iterator[None]:
        """Put the calls made inside the block into ``into``."""
        start = len(self.calls)
        yield
        into += self.calls[start:]


def measure(settings: Settings) -> dict[str, list[str]]:
    """The calls of each operation, by its name."""
    with receiver(answering(OK)) as customer:
        return _measure(replace(settings, allow_loopback_webhooks=True), customer.url)


def _measure(settings: Settings, webhook_url: str) -> dict[str, list[str]]:
    aws, counter = AwsClients(), Counter()
    counter.listen(aws)
    services = Services(settings, aws)
    found: dict[str, list[str]] = {}
    account_id = services.accounts.create("Ada").account_id
    services.credits.grant(account_id, 1_000_000, entry_id="grant")
    _, secret = services.keys.create(account_id, "test")

    def submit(name: str, process: Services, idempotency_key: str | None = None) -> JobId:
        with counter.counting(found.setdefault(name, [])):
            principal = process.keys.authenticate(f"Bearer {secret}")
            submission = Submission(
                principal=principal,
                options=TranscriptionOptions(),
                filename="talk.wav",
                content_type="audio/wav",
                size_bytes=len(AUDIO),
                duration_seconds=REAL_SECONDS if name != "submit, estimate too short" else ESTIMATED_SECONDS,
                content_sha256=uuid.uuid4().hex,
                webhook_url=webhook_url,
            )
            done = process.submissions.submit(submission, io.BytesIO(AUDIO), idempotency_key=idempotency_key)
        found[name] = [call for call in found[name] if call not in {"PutObject", "CreateMultipartUpload"}]
        return JobId(str(done.answer.body["id"]))

    submit("submit, cold process", Services(settings, aws))
    services.keys.authenticate(f"Bearer {secret}")
    services.credits.balance(account_id)
    submit("submit with Idempotency-Key", services, str(uuid.uuid4()))
    job_id = submit("submit", services)
    with counter.counting(found.setdefault("poll", [])):
        services.keys.authenticate(f"Bearer {secret}")
        services.results.view(services.jobs.get(job_id, account_id), segments=False)
    with counter.counting(found.setdefault("dispatch", [])):
        services.jobs.dispatch(job_id)
    _run(services, counter, found, job_id)
    with counter.counting(found.setdefault("poll, completed", [])):
        services.results.view(services.jobs.get(job_id, account_id), segments=True)
    _deliver(services, counter, found, FinishedJob(job_id=job_id, account_id=account_id, status="completed"))
    return found


def _deliver(services: Services, counter: Counter, found: dict[str, list[str]], event: FinishedJob) -> None:
    """The event becomes a delivery, and the delivery is attempted once."""
    with counter.counting(found.setdefault("webhook", [])):
        services.webhooks.fan_out(event)
    delivery_id = DeliveryId(_message_with(services.settings.deliveries_queue_url, "delivery_id")["delivery_id"])
    with counter.counting(found["webhook"]):
        services.webhooks.attempt(delivery_id)


def _run(services: Services, counter: Counter, found: dict[str, list[str]], job_id: JobId) -> None:
    """A whole run; what comes after the recording was fetched is its completion."""
    worker = Worker(services=services, pipeline=FixedPipeline(), stop=threading.Event())
    calls: list[str] = []
    with counter.counting(calls):
        run_job(worker, job_id, _attempt_of(services, job_id))
    fetched = max(number for number, call in enumerate(calls) if call in {"HeadObject", "GetObject"})
    found["begin a run"], found["complete"] = calls[: fetched + 1], calls[fetched + 1 :]


def _attempt_of(services: Services, job_id: JobId) -> AttemptId:
    url = services.settings.work_queue_url
    assert url is not None
    return AttemptId(_message_with(url, "job_id", job_id)["attempt_id"])


def _message_with(queue_url: str, name: str, value: str | None = None) -> dict[str, str]:
    """The first message that has this, received by a client that nobody counts."""
    sqs: Any = boto3.client("sqs")
    while messages := sqs.receive_message(QueueUrl=queue_url).get("Messages"):
        for message in messages:
            body: dict[str, str] = json.loads(message["Body"])
            if name in body and value in {None, body[name]}:
                return body
    raise LookupError(f"no message with {name} {value or ''}")


def main() -> None:
    """Print the table."""
    from tests.integration.conftest import template_in_moto

    with template_in_moto() as cloud:
        found = measure(cloud.services("SweepFunction").settings)
    for name, calls in found.items():
        print(f"{name:30} {len(calls)}   {', '.join(calls)}")


if __name__ == "__main__":
    main()
