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
from dataclasses import dataclass, field
from typing import Any

import boto3

from gpu_jobs.run import Worker, run_job
from shared.adapters.aws import AwsClients
from shared.bootstrap import Services
from shared.domain.ids import AttemptId, JobId
from shared.domain.jobs import Run
from shared.domain.options import TranscriptionOptions
from shared.services.submissions import Submission
from shared.settings import Settings
from tests.integration.crashes import AUDIO, ESTIMATED_SECONDS, REAL_SECONDS, FixedPipeline


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
    return found


def _run(services: Services, counter: Counter, found: dict[str, list[str]], job_id: JobId) -> None:
    """A whole run; what comes after the recording was fetched is its completion."""
    run = Run(job_id=job_id, attempt_id=_attempt_of(services, job_id), run_token="run")
    calls: list[str] = []
    with counter.counting(calls):
        run_job(Worker(services=services, pipeline=FixedPipeline(), stop=threading.Event()), run)
    fetched = max(number for number, call in enumerate(calls) if call in {"HeadObject", "GetObject"})
    found["begin a run"], found["complete"] = calls[: fetched + 1], calls[fetched + 1 :]


def _attempt_of(services: Services, job_id: JobId) -> AttemptId:
    sqs: Any = boto3.client("sqs")
    while messages := sqs.receive_message(QueueUrl=services.settings.work_queue_url).get("Messages"):
        for message in messages:
            body = json.loads(message["Body"])
            if body["job_id"] == job_id:
                return AttemptId(body["attempt_id"])
    raise LookupError(f"no message about {job_id}")


def main() -> None:
    """Print the table."""
    from tests.integration.conftest import template_in_moto

    with template_in_moto() as cloud:
        found = measure(cloud.services("SweepFunction").settings)
    for name, calls in found.items():
        print(f"{name:30} {len(calls)}   {', '.join(calls)}")


if __name__ == "__main__":
    main()
