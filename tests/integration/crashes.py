"""A job from submit to its end on services whose AWS calls may fail, and everything that repairs it."""

from __future__ import annotations

import contextlib
import io
import json
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3

from gpu_jobs.rebuild import with_summary, with_turns
from gpu_jobs.run import Worker, run_job
from shared.adapters.aws import AwsClients
from shared.adapters.failures import AWS_FAILURES
from shared.bootstrap import Services
from shared.domain.accounts import Principal
from shared.domain.errors import RequestError
from shared.domain.idempotency import LEASE as CLAIM_LEASE
from shared.domain.ids import AttemptId, JobId
from shared.domain.jobs import Job
from shared.domain.options import TranscriptionOptions
from shared.domain.transcripts import Engines, Segment, Summary, Transcript
from shared.services.submissions import Submission, Submitted
from shared.settings import Settings
from tests.pipelines import Asked, StandIn
from tests.property.world import Faults, Faulty, Killed

AUDIO = b"four minutes of talk"
ESTIMATED_SECONDS = 60.0
REAL_SECONDS = 240.0  # longer than estimated: the hold is extended on the way
CRASH_POINTS = (
    ("api", "get_item", "the key"),
    ("api", "update_item", "note that the key was used"),
    ("api", "put_item", "claim the Idempotency-Key"),
    ("api", "get_item", "the balance"),
    ("api", "upload_fileobj", "the recording"),
    ("api", "transact_write_items", "job, hold, balance, usage, answer"),
    ("api", "send_message", "to the jobs queue"),
    ("dispatch", "get_item", "the job"),
    ("dispatch", "put_item", "claim the job for an attempt"),
    ("dispatch", "send_message", "to the work queue"),
    ("worker", "get_item", "the job"),
    ("worker", "put_item", "take the attempt"),
    ("worker", "download_file", "the recording"),
    ("worker", "transact_write_items", "job, second hold, balance, usage: it is longer than estimated"),
    ("worker", "put_object", "the result"),
    ("worker", "transact_write_items", "job, settlement, balance, usage, what answers this recording"),
    ("worker", "put_events", "the job has ended"),
    ("worker", "put_item", "the event is out"),
)  # every AWS call of a story that nothing befalls, in order: by whom, which, what for
CLIENTS = ("dynamodb", "s3", "sqs", "events")


class FixedPipeline(StandIn):
    """A speech engine that always hears the same."""

    def hear(self, asked: Asked) -> Transcript:
        """Always the same words."""
        assert asked.path.read_bytes() == AUDIO
        asked.on_measured(REAL_SECONDS)
        asked.on_progress("transcribing", REAL_SECONDS, REAL_SECONDS)
        return Transcript(
            duration_seconds=REAL_SECONDS,
            language="en",
            engines=Engines(transcriber="fixed"),
            segments=(Segment(start_seconds=0.0, end_seconds=REAL_SECONDS, text="A secret sentence."),),
            compute_seconds={"transcribing": 2.0},
        )

    def diarize_again(self, path: Path, base: Transcript, options: TranscriptionOptions, *_: Any) -> Transcript:
        """Always the same speaker."""
        assert path.stat().st_size
        return with_turns(base, (), options, "fixed:speakers", {"diarizing": 1.0})

    def summarize_again(self, base: Transcript, *_: Any) -> Transcript:
        """Always the same summary."""
        return with_summary(base, Summary(text="A secret."), "fixed:summary", {"summarizing": 1.0})


class FaultyAws(AwsClients):
    """boto3's clients, behind ``faults``."""

    def __init__(self, faults: Faults) -> None:
        for name in CLIENTS:
            self.__dict__[name] = Faulty(getattr(_shared_clients(), name), faults)


_clients: list[AwsClients] = []


def _shared_clients() -> AwsClients:
    """boto3 clients cost tenths of a second each; a process of ours has none of its own state in them."""
    if not _clients:
        _clients.append(AwsClients())
    return _clients[0]


@contextlib.contextmanager
def fresh_clients() -> Iterator[None]:
    """Around a moto of one's own: clients made in another one talk to nobody."""
    _clients.clear()
    yield
    _clients.clear()


@dataclass
class Story:
    """One customer, one recording, and processes that come and go around them."""

    settings: Settings
    faults: Faults = field(default_factory=Faults)
    now: datetime = datetime(2026, 11, 23, 12, tzinfo=UTC)

    def __post_init__(self) -> None:
        self.services = self.process()
        self.account_id = self.services.accounts.create("Ada").account_id
        self.services.credits.grant(self.account_id, 100_000, entry_id="grant")
        _, self.secret = self.services.keys.create(self.account_id, "test")
        self.idempotency_key = str(uuid.uuid4())
        self.sqs: Any = boto3.client("sqs")
        self.calls_before = len(self.faults.calls)

    def process(self) -> Services:
        """A fresh process."""
        return Services(self.settings, FaultyAws(self.faults), lambda: self.now)

    def observer(self) -> Services:
        """A process that nothing befalls and whose calls do not count."""
        return Services(self.settings, FaultyAws(Faults()), lambda: self.now)

    def calls(self) -> list[str]:
        """The AWS calls made since the account was ready."""
        return self.faults.calls[self.calls_before :]

    def tell(self) -> Job:
        """The whole story: submitted until answered, then carried on until nothing is owed."""
        self.services = self.process()
        job_id = self.submit_until_answered()
        for _ in range(12):
            self.deliver_messages()
            job = self.observer().jobs.look_up(job_id)
            assert job is not None
            if job.state.is_final and not job.owes_event:
                return job
            self.now += self.settings.lease + timedelta(seconds=1)
            self.guarded(lambda: self.services.sweeps.run())  # noqa: PLW0108 - `services` changes
        raise AssertionError(f"the job never ended: {job}")

    def submit_until_answered(self) -> JobId:
        """What a careful client does: the same request with the same Idempotency-Key until there is an answer."""
        for _ in range(5):
            try:
                principal = self.services.keys.authenticate(f"Bearer {self.secret}")
                return JobId(str(self.submit(principal).answer.body["id"]))
            except Killed:
                self.services = self.process()
            except (RequestError, *AWS_FAILURES):
                pass
            self.now += CLAIM_LEASE + timedelta(seconds=1)
        raise AssertionError("the submission was never answered")

    def submit(self, principal: Principal) -> Submitted:
        """Send the request once."""
        submission = Submission(
            principal=principal,
            options=TranscriptionOptions(),
            filename="talk.wav",
            content_type="audio/wav",
            size_bytes=len(AUDIO),
            duration_seconds=ESTIMATED_SECONDS,
            content_sha256="hash of the talk",
        )
        return self.services.submissions.submit(submission, io.BytesIO(AUDIO), idempotency_key=self.idempotency_key)

    def deliver_messages(self) -> None:
        """Give every message to its receiver; one whose receiver died stays and comes again."""
        for _ in range(6):
            handled = self._deliver(self.settings.jobs_queue_url, self._dispatch)
            handled |= self._deliver(str(self.settings.work_queue_url), self._run)
            if not handled:
                return

    def guarded(self, action: Any) -> bool:
        """Do something a process may die of; whether it was done."""
        try:
            action()
        except Killed:
            self.services = self.process()
            return False
        except AWS_FAILURES:
            return False
        return True

    def _deliver(self, queue_url: str, receive: Any) -> bool:
        answer = self.sqs.receive_message(QueueUrl=queue_url, VisibilityTimeout=0, MaxNumberOfMessages=10)
        for message in answer.get("Messages", []):
            if self.guarded(lambda message=message: receive(message)):
                self.sqs.delete_message(QueueUrl=queue_url, ReceiptHandle=message["ReceiptHandle"])
        return bool(answer.get("Messages"))

    def _dispatch(self, message: dict[str, Any]) -> None:
        self.services.jobs.dispatch(JobId(json.loads(message["Body"])["job_id"]))

    def _run(self, message: dict[str, Any]) -> None:
        body = json.loads(message["Body"])
        worker = Worker(services=self.services, pipeline=FixedPipeline(), stop=threading.Event())
        run_job(worker, JobId(body["job_id"]), AttemptId(body["attempt_id"]))
