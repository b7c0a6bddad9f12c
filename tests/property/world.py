"""A whole service on clients that can fail, with a clock of its own: what the ledger's tests walk through.

``Faults`` decides what happens to the n-th AWS call from now; the clients may be the in-memory ones of this folder or
boto3's on moto. A killed process is a fresh ``Process``: nothing but the tables survives it.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from botocore.exceptions import ClientError, ConnectionClosedError

from shared.adapters.dynamodb.accounts import AccountStore, KeyStore
from shared.adapters.dynamodb.credits import LedgerStore
from shared.adapters.dynamodb.jobs import JobStore
from shared.adapters.dynamodb.requests import RequestStore
from shared.adapters.dynamodb.usage import UsageStore
from shared.adapters.eventbridge import EventBus
from shared.adapters.queue_runner import QueueRunner
from shared.adapters.s3 import Bucket
from shared.adapters.s3_uploads import UploadBucket
from shared.adapters.sqs import Queue
from shared.domain.ids import AccountId
from shared.domain.options import Model
from shared.domain.pricing import PriceTable
from shared.services.accounts import Accounts
from shared.services.credits import Credits
from shared.services.holds import Holds
from shared.services.jobs import JobPolicy, JobPorts, Jobs
from shared.services.keys import KeyPorts, Keys
from shared.services.requests import Requests
from shared.services.submissions import Submissions
from shared.services.sweeps import Sweeps
from tests.property.memory_dynamodb import MemoryDynamoDB

START = datetime(2026, 11, 23, 12, tzinfo=UTC)
LEASE = timedelta(seconds=120)
PRICES = PriceTable(
    version="t",
    models_per_minute_millicredits={Model.LARGE_V3: 1_000, Model.TURBO: 500},
    diarization_per_minute_millicredits=200,
    summary_per_minute_millicredits=100,
    minimum_millicredits=100,
    step_millicredits=100,
)
TABLES = {
    "accounts": ("account_id",),
    "api-keys": ("key_hash",),
    "ledger": ("account_id", "entry_id"),
    "usage": ("account_id", "day_and_key"),
    "requests": ("record_id",),
    "jobs": ("job_id",),
}
INDEXES = {
    "api-keys/by_account": ("account_id", "created_at"),
    "ledger/by_sequence": ("account_id", "sequence"),
    "jobs/by_account": ("account_id", "created_at"),
    "jobs/by_sweep": ("sweep_shard", "sweep_at"),
}


class Killed(BaseException):
    """The process is gone; no code of ours may catch this."""


class Fault(StrEnum):
    """What may befall one AWS call."""

    KILLED_BEFORE = "killed before"
    KILLED_AFTER = "killed after"
    FAILED_BEFORE = "failed before"  # it never got there, and every retry of botocore failed too
    FAILED_AFTER = "failed after"  # it was done, and no answer ever came back
    SENT_TWICE = "sent twice"  # it was done, the answer was lost, botocore sent it again


class Faults:
    """Counts AWS calls and lets the planned fault happen to one of them."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self._at: int | None = None
        self._fault = Fault.FAILED_BEFORE

    def plan(self, fault: Fault, at: int) -> None:
        """Let ``fault`` happen to the ``at``-th call from now (0: the next)."""
        self._at, self._fault = len(self.calls) + at, fault

    def clear(self) -> None:
        """No fault any more."""
        self._at = None

    def call(self, name: str, operation: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """Make a call, or let it come to grief."""
        number = len(self.calls)
        self.calls.append(name)
        if number != self._at:
            return operation(*arguments, **named)
        self._at = None
        if self._fault is Fault.KILLED_BEFORE:
            raise Killed(name)
        if self._fault is Fault.FAILED_BEFORE:
            raise ConnectionClosedError(endpoint_url="https://aws.test")
        with contextlib.suppress(ClientError):  # a refusal is an answer that never comes back, too
            operation(*(_copy_stream(argument) for argument in arguments), **named)
        if self._fault is Fault.KILLED_AFTER:
            raise Killed(name)
        if self._fault is Fault.FAILED_AFTER:
            raise ConnectionClosedError(endpoint_url="https://aws.test")
        return operation(*arguments, **named)


def _copy_stream(argument: Any) -> Any:
    """A body of its own for each time it is sent: boto3 reads it to the end and closes it."""
    return io.BytesIO(argument.getvalue()) if isinstance(argument, io.BytesIO) else argument


class Faulty:
    """A client whose calls go through ``faults``."""

    def __init__(self, client: Any, faults: Faults) -> None:
        self._client = client
        self._faults = faults

    def __getattr__(self, name: str) -> Any:
        operation = getattr(self._client, name)
        if name in {"get_paginator", "exceptions", "meta"}:
            return operation
        return lambda *arguments, **named: self._faults.call(name, operation, *arguments, **named)


class MemoryBucket:
    """S3 in a dictionary."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}

    def upload_fileobj(self, body: Any, _bucket: str, key: str, **_: Any) -> None:
        """Upload a stream."""
        self.objects[key] = body.read()

    def put_object(self, *, Key: str, Body: bytes, **_: Any) -> None:  # noqa: N803 - the API's own names
        """PutObject."""
        self.objects[Key] = Body

    def get_object(self, *, Key: str, **_: Any) -> dict[str, Any]:  # noqa: N803 - the API's own names
        """GetObject."""
        if Key not in self.objects:
            raise ClientError({"Error": {"Code": "NoSuchKey", "Message": ""}}, "GetObject")
        return {"Body": io.BytesIO(self.objects[Key])}

    def download_file(self, _bucket: str, key: str, path: str) -> None:
        """Download to a file."""
        if key not in self.objects:
            raise ClientError({"Error": {"Code": "404", "Message": ""}}, "HeadObject")
        with open(path, "wb") as file:
            file.write(self.objects[key])

    def delete_object(self, *, Key: str, **_: Any) -> None:  # noqa: N803 - the API's own names
        """DeleteObject."""
        self.objects.pop(Key, None)


@dataclass
class MemoryQueues:
    """SQS in lists; a message stays until it is deleted, so that it may come again."""

    messages: dict[str, deque[dict[str, Any]]] = field(default_factory=dict)

    def send_message(self, *, QueueUrl: str, MessageBody: str) -> None:  # noqa: N803 - the API's own names
        """SendMessage."""
        self.messages.setdefault(QueueUrl, deque()).append(json.loads(MessageBody))


@dataclass
class MemoryBus:
    """EventBridge in a list."""

    events: list[dict[str, Any]] = field(default_factory=list)

    def put_events(self, *, Entries: list[dict[str, Any]]) -> dict[str, Any]:  # noqa: N803 - the API's own names
        """PutEvents."""
        self.events += [json.loads(entry["Detail"]) for entry in Entries]
        return {"FailedEntryCount": 0, "Entries": [{}]}


@dataclass(kw_only=True)
class Clients:
    """The AWS clients a process is built on."""

    dynamodb: Any
    s3: Any
    sqs: Any
    events: Any


@dataclass(kw_only=True)
class Names:
    """What the resources are called."""

    tables: dict[str, str] = field(default_factory=lambda: {name: name for name in TABLES})
    bucket: str = "bucket"
    jobs_queue: str = "jobs"
    work_queue: str = "work"
    bus: str = "bus"


class World:
    """Everything outside our processes: the clock, the clients, the faults."""

    def __init__(self, clients: Clients | None = None, names: Names | None = None) -> None:
        self.now = START
        self.faults = Faults()
        self.queues = MemoryQueues()
        self.clients = clients or Clients(
            dynamodb=MemoryDynamoDB(TABLES, INDEXES), s3=MemoryBucket(), sqs=self.queues, events=MemoryBus()
        )
        self.names = names or Names()
        self.submits_per_minute = 1_000_000
        self._ids = itertools.count(1)

    def new_id(self) -> str:
        """The next id: a run can be repeated exactly."""
        return str(uuid.UUID(int=next(self._ids)))

    def process(self) -> Process:
        """A fresh process, with nothing in its memory."""
        return Process(self)

    def messages(self, queue: str) -> list[dict[str, Any]]:
        """What was ever sent to a queue of the in-memory kind."""
        return list(self.queues.messages.get(queue, ()))


class Process:
    """Our services, wired as bootstrap does, on the world's clients and clock."""

    def __init__(self, world: World, faults: Faults | None = None) -> None:
        self.world = world
        faults, clients, names = faults or world.faults, world.clients, world.names
        dynamodb, s3, sqs, events = (
            Faulty(client, faults) for client in (clients.dynamodb, clients.s3, clients.sqs, clients.events)
        )

        def now() -> datetime:
            return world.now

        tables = names.tables
        any_dynamodb: Any = dynamodb
        any_sqs: Any = sqs
        any_s3: Any = s3
        any_events: Any = events
        self.credits = Credits(LedgerStore(any_dynamodb, tables["accounts"], tables["ledger"]), now)
        self.requests = RequestStore(any_dynamodb, tables["requests"])
        self.usage = UsageStore(any_dynamodb, tables["usage"])
        self.accounts = Accounts(AccountStore(any_dynamodb, tables["accounts"]), now, world.new_id)
        self.keys = Keys(
            KeyPorts(
                store=KeyStore(any_dynamodb, tables["api-keys"]),
                requests=Requests(self.requests, now, world.new_id),
                now=now,
                new_id=world.new_id,
                random_token=lambda: world.new_id().replace("-", "") + "0123456789a",
                monotonic=lambda: world.now.timestamp(),  # noqa: PLW0108 - `now` changes
            )
        )
        self.bucket = Bucket(any_s3, names.bucket)
        ports = JobPorts(
            store=JobStore(any_dynamodb, tables["jobs"]),
            bucket=self.bucket,
            uploads=UploadBucket(any_s3, names.bucket),
            queue=Queue(any_sqs, names.jobs_queue),
            bus=EventBus(any_events, names.bus),
            runner=QueueRunner(Queue(any_sqs, names.work_queue)),
            now=now,
            new_id=world.new_id,
        )
        holds = Holds(credits=self.credits, store=ports.store, usage=self.usage, requests=self.requests, now=now)
        policy = JobPolicy(
            prices=PRICES, lease=LEASE, retention=timedelta(days=365), submits_per_minute=world.submits_per_minute
        )
        self.store = ports.store
        self.jobs = Jobs(ports, holds, policy)
        self.submissions = Submissions(ports, holds, policy, self.jobs)
        self.sweeps = Sweeps(self.jobs)

    def check_ledger(self, account_id: AccountId, spent_millicredits: int, open_holds: dict[str, int]) -> None:
        """Assert that the ledger adds up, and that exactly these holds are open."""
        verified = self.credits.verify(account_id)
        assert verified.open_holds == open_holds
        days = self.usage.between(account_id, START.date(), START.date() + timedelta(days=400))
        assert sum(day.spent_millicredits for day in days) == spent_millicredits
        assert sum(day.held_millicredits for day in days) == sum(open_holds.values())
