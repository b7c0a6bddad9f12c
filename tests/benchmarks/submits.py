"""Many submits at once to one account: ``python -m tests.benchmarks.submits``.

Twice twenty at a time: over HTTP on the local stack, whose DynamoDB takes one transaction after another; and twenty
processes on a DynamoDB in memory that answers like AWS's, 10 ms a call and a conflict for every transaction that meets
another on the account. Last, 600 submits by 50 threads for 300 credits, over HTTP.
"""

from __future__ import annotations

import io
import logging
import statistics
import threading
import time
import wave
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import requests
from botocore.exceptions import ClientError

from infra.local.launch import LocalStack
from infra.local.worker import environment_from_outputs
from shared.adapters.aws import AwsClients
from shared.bootstrap import Services
from shared.domain.accounts import Principal
from shared.domain.ids import AccountId, KeyId
from shared.domain.options import TranscriptionOptions
from shared.services.submissions import Submission
from shared.settings import Settings
from tests.property.memory_dynamodb import MemoryDynamoDB
from tests.property.world import INDEXES, TABLES, Clients, MemoryBucket, MemoryBus, World

PARALLEL = 20
SUBMITS = 400
CALL_SECONDS = 0.010  # assumed: a transaction within one region
UPLOAD_SECONDS = 0.030  # of a small object into S3
CREDITS, POOR_SUBMITS, THREADS = 300, 600, 50

Timed = tuple[int | str, float]


def main() -> None:
    """Print latencies and outcomes."""
    logging.disable(logging.CRITICAL)
    with LocalStack("--no-worker") as stack:
        over_http(stack)
        spend_300_credits(stack)
    with_conflicts()


def over_http(stack: LocalStack) -> None:
    """The same submit one after another and twenty at once."""
    submit = submitter(stack, stack.ready["api_key"])
    alone = [submit(number) for number in range(50)]
    started = time.perf_counter()
    with ThreadPoolExecutor(PARALLEL) as pool:
        together = list(pool.map(submit, range(SUBMITS)))
    show("local stack, one after another", alone)
    show(f"local stack, {PARALLEL} at once", together, time.perf_counter() - started)


def with_conflicts() -> None:
    """Twenty processes on one account of a DynamoDB that conflicts."""
    world = World()
    dynamodb = ConflictingDynamoDB()
    world.clients = Clients(dynamodb=dynamodb, s3=SlowBucket(), sqs=world.queues, events=MemoryBus())
    first = world.process()
    account_id = first.accounts.create("Ada").account_id
    first.credits.grant(account_id, 10**9, entry_id="grant")
    processes = [world.process() for _ in range(PARALLEL)]

    def submit(number: int) -> Timed:
        started = time.perf_counter()
        try:
            processes[number % PARALLEL].submissions.submit(one_credit(account_id), io.BytesIO(b"x"))
        except Exception as error:  # noqa: BLE001 - counted and shown
            return type(error).__name__, time.perf_counter() - started
        return 202, time.perf_counter() - started

    show("conflicting DynamoDB, one after another", [submit(0) for _ in range(50)])
    started, before = time.perf_counter(), dynamodb.conflicts
    with ThreadPoolExecutor(PARALLEL) as pool:
        # One process serves one request at a time, as Lambda has it.
        rounds = list(pool.map(lambda n: [submit(n) for _ in range(SUBMITS // PARALLEL)], range(PARALLEL)))
    wall = time.perf_counter() - started
    show(f"conflicting DynamoDB, {PARALLEL} at once", [timed for each in rounds for timed in each], wall)
    print(f"  {(dynamodb.conflicts - before) / SUBMITS:.1f} transactions a submit lost to another one")
    entries = first.credits.verify(account_id).entries
    print(f"  the ledger verifies: {entries} entries")


def spend_300_credits(stack: LocalStack) -> None:
    """Fifty threads send 600 one-credit recordings for an account with 300 credits."""
    settings = Settings.from_environment(environment_from_outputs(stack.ready["outputs"]))
    aws = AwsClients()
    for name in ("dynamodb", "s3", "sqs", "events"):
        aws.__dict__[name] = stack.client(name)
    services = Services(settings, aws)
    account_id = services.accounts.create("Poor").account_id
    services.credits.grant(account_id, CREDITS * 1_000, entry_id="grant")
    services.accounts.set_submit_rate(account_id, 10_000)
    submit = submitter(stack, services.keys.create(account_id, "key")[1], seconds=60)
    started = time.perf_counter()
    with ThreadPoolExecutor(THREADS) as pool:
        answers = Counter(status for status, _ in pool.map(submit, range(POOR_SUBMITS)))
    wall = time.perf_counter() - started
    balance = services.credits.balance(account_id)
    print(f"{POOR_SUBMITS} submits by {THREADS} threads for {CREDITS} credits: {dict(answers)} in {wall:.0f} s")
    print(f"  available {balance.available_millicredits}, held {balance.held_millicredits} milli-credits; ", end="")
    print(f"the ledger verifies: {services.credits.verify(account_id).entries} entries")
    assert answers == {202: CREDITS, 402: POOR_SUBMITS - CREDITS}


def submitter(stack: LocalStack, api_key: str, seconds: int = 1) -> Callable[[int], Timed]:
    """Sends a recording of so many seconds; its status and how long it took."""
    url, headers = f"{stack.ready['base_url']}/api/v1/transcribe/", {"Authorization": f"Bearer {api_key}"}
    body = silence(seconds)

    def submit(_: int) -> Timed:
        started = time.perf_counter()
        answer = requests.post(url, headers=headers, files={"file": ("a.wav", body)}, timeout=60)
        return answer.status_code, time.perf_counter() - started

    return submit


def one_credit(account_id: AccountId) -> Submission:
    """A recording of a minute."""
    return Submission(
        principal=Principal(account_id=account_id, key_id=KeyId("key")),
        options=TranscriptionOptions(),
        filename="a.wav",
        content_type="audio/wav",
        size_bytes=1,
        duration_seconds=60.0,
    )


class SlowBucket(MemoryBucket):
    """The in-memory bucket, as far away as S3."""

    def upload_fileobj(self, *arguments: Any, **named: Any) -> None:
        """Upload a stream."""
        time.sleep(UPLOAD_SECONDS)
        super().upload_fileobj(*arguments, **named)


class ConflictingDynamoDB:
    """The in-memory DynamoDB with AWS's latency, which cancels a transaction that meets another on one of its items."""

    def __init__(self) -> None:
        self._inner = MemoryDynamoDB(TABLES, INDEXES)
        self._lock = threading.Lock()
        self._busy: set[str] = set()
        self.conflicts = 0

    def __getattr__(self, name: str) -> Any:
        operation = getattr(self._inner, name)
        if name == "get_paginator":
            return operation

        def call(**named: Any) -> Any:
            time.sleep(CALL_SECONDS / 2)
            with self._lock:
                return operation(**named)

        return call

    def transact_write_items(self, *, TransactItems: list[dict[str, Any]]) -> Any:  # noqa: N803 - the API's own names
        """TransactWriteItems."""
        items = [_item_name(write) for write in TransactItems]
        with self._in_flight(items):
            time.sleep(CALL_SECONDS)
            with self._lock:
                return self._inner.transact_write_items(TransactItems=TransactItems)

    @contextmanager
    def _in_flight(self, items: list[str]) -> Iterator[None]:
        with self._lock:
            met = self._busy & set(items)
            self._busy |= set() if met else set(items)
            self.conflicts += bool(met)
        if met:
            time.sleep(CALL_SECONDS / 2)
            reasons = [{"Code": "TransactionConflict" if item in met else "None"} for item in items]
            response: Any = {"Error": {"Code": "TransactionCanceledException"}, "CancellationReasons": reasons}
            raise ClientError(response, "TransactWriteItems")
        try:
            yield
        finally:
            with self._lock:
                self._busy -= set(items)


def _item_name(write: dict[str, Any]) -> str:
    ((_, arguments),) = write.items()
    found = arguments.get("Key") or {name: arguments["Item"][name] for name in TABLES[arguments["TableName"]]}
    return f"{arguments['TableName']} {sorted(found.items())}"


def show(name: str, timed: list[Timed], wall: float | None = None) -> None:
    """A line of the table."""
    seconds = [taken for _, taken in timed]
    rate = "" if wall is None else f"  {len(timed) / wall:.0f}/s"
    answers = dict(Counter(status for status, _ in timed))
    print(f"{name:42} p50 {_ms(seconds, 50)}  p99 {_ms(seconds, 99)}{rate}  {answers}")


def _ms(seconds: list[float], percentile: int) -> str:
    return f"{1000 * statistics.quantiles(seconds, n=100)[percentile - 1]:6.0f} ms"


def silence(seconds: int) -> bytes:
    """A recording of so many seconds."""
    file = io.BytesIO()
    with wave.open(file, "wb") as recording:
        recording.setnchannels(1)
        recording.setsampwidth(1)
        recording.setframerate(8_000)
        recording.writeframes(bytes([128]) * 8_000 * seconds)
    return file.getvalue()


if __name__ == "__main__":
    main()
