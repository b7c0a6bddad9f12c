"""What moves events on AWS without code of ours: SQS event source mappings and scheduled rules."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import threading
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from infra.local import schedules
from infra.local.aws import ACCOUNT_ID, REGION, Invocation
from infra.local.completion import client
from infra.local.stack import EventSource, ScheduledRule
from infra.local.stack_log import StackLog

InvokeByArn = Callable[[str, bytes], Awaitable[Invocation]]

_LONG_POLL_SECONDS: Final = 20
_LARGEST_RECEIVE: Final = 10


class QueuePollers:
    """Reads queues for functions as Lambda's event source mappings do, on threads of their own.

    A message is deleted when its function succeeded; otherwise it comes back after the queue's visibility timeout, and
    the queue's redrive policy moves it to its dead-letter queue in the end.
    """

    def __init__(self, endpoint_url: str, invoke: InvokeByArn, log: StackLog) -> None:
        self._sqs: Any = None
        self._endpoint_url, self._invoke, self._log = endpoint_url, invoke, log
        self._loop = asyncio.get_running_loop()
        self._stopping = threading.Event()

    def start(self, sources: Sequence[tuple[EventSource, int]]) -> None:
        """Poll each source with so many threads: a message is only taken when a child can have it."""
        if sources and self._sqs is None:
            self._sqs = client("sqs", self._endpoint_url)
        for source, count in sources:
            url = self._sqs.get_queue_url(QueueName=source.queue_arn.rpartition(":")[2])["QueueUrl"]
            for _ in range(count):
                threading.Thread(target=self._poll, args=(source, url), name="poller", daemon=True).start()

    def stop(self) -> None:
        """Take no more messages."""
        self._stopping.set()

    def _poll(self, source: EventSource, url: str) -> None:
        while not self._stopping.is_set():
            try:
                messages = self._receive(source, url)
                if self._stopping.is_set():
                    self._give_back(url, messages)
                elif messages:
                    self._deliver(source, url, messages)
            except Exception as error:  # noqa: BLE001 - a poller outlives whatever one batch did
                if self._stopping.is_set():
                    return
                self._log.notice(f"polling {source.queue_arn}: {error!r}")
                time.sleep(1)

    def _receive(self, source: EventSource, url: str) -> list[dict[str, Any]]:
        """A batch: what is there, topped up until it is full or the batching window is over."""
        received: list[dict[str, Any]] = []
        window_ends = 0.0
        while len(received) < source.batch_size:
            wait = _LONG_POLL_SECONDS if not received else max(0.0, window_ends - time.monotonic())
            more = self._sqs.receive_message(
                QueueUrl=url,
                MaxNumberOfMessages=min(_LARGEST_RECEIVE, source.batch_size - len(received)),
                WaitTimeSeconds=int(wait),
                MessageSystemAttributeNames=["All"],
                MessageAttributeNames=["All"],
            ).get("Messages", [])
            if not received:
                window_ends = time.monotonic() + source.batch_window_seconds
            received += more
            if not more or time.monotonic() >= window_ends:
                break
        return received

    def _give_back(self, url: str, messages: list[dict[str, Any]]) -> None:
        """Messages that came when nobody was there for them any more."""
        for message in messages:
            self._sqs.change_message_visibility(
                QueueUrl=url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0
            )

    def _deliver(self, source: EventSource, url: str, messages: list[dict[str, Any]]) -> None:
        event = {"Records": [_record(message, source.queue_arn) for message in messages]}
        running = self._invoke(source.function_arn, json.dumps(event).encode())
        invocation = asyncio.run_coroutine_threadsafe(_awaited(running), self._loop).result()
        failed = _failed(invocation, messages, reports=source.reports_item_failures)
        done = [message for message in messages if message["MessageId"] not in failed]
        if done:
            self._sqs.delete_message_batch(
                QueueUrl=url,
                Entries=[
                    {"Id": str(index), "ReceiptHandle": message["ReceiptHandle"]} for index, message in enumerate(done)
                ],
            )


async def _awaited(running: Awaitable[Invocation]) -> Invocation:
    return await running


def _record(message: dict[str, Any], queue_arn: str) -> dict[str, Any]:
    return {
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message["Body"],
        "attributes": message.get("Attributes", {}),
        "messageAttributes": {
            name: {
                "stringValue": value.get("StringValue"),
                "stringListValues": [],
                "binaryListValues": [],
                "dataType": value["DataType"],
            }
            for name, value in message.get("MessageAttributes", {}).items()
        },
        "md5OfBody": message["MD5OfBody"],
        "eventSource": "aws:sqs",
        "eventSourceARN": queue_arn,
        "awsRegion": REGION,
    }


def _failed(invocation: Invocation, messages: Sequence[dict[str, Any]], *, reports: bool) -> set[str]:
    """Ids of the messages to leave. As on Lambda, an answer that names an unknown message fails the whole batch."""
    everything = {message["MessageId"] for message in messages}
    if invocation.error:
        return everything
    if not reports:
        return set()
    try:
        answer = json.loads(invocation.payload or b"null") or {}
        named = {failure["itemIdentifier"] for failure in answer.get("batchItemFailures") or []}
    except (ValueError, TypeError, KeyError, AttributeError):
        return everything
    return named if everything.issuperset(named) else everything


class ScheduledRules:
    """Fires scheduled rules. ``every_seconds`` replaces each rule's own schedule, for tests and the impatient."""

    def __init__(
        self, endpoint_url: str, invoke: InvokeByArn, log: StackLog, *, every_seconds: float | None = None
    ) -> None:
        self._endpoint_url, self._invoke, self._log = endpoint_url, invoke, log
        self._every_seconds = every_seconds
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, rules: Sequence[ScheduledRule]) -> None:
        """Begin the wait for each rule's first time. Raises UnreadableSchedule."""
        self._tasks += [asyncio.create_task(self._run(rule, schedules.parse(rule.expression))) for rule in rules]

    def stop(self) -> None:
        """Fire no more."""
        for task in self._tasks:
            task.cancel()

    async def _run(self, rule: ScheduledRule, schedule: schedules.Rate | schedules.Cron) -> None:
        while True:
            now = dt.datetime.now(dt.UTC)
            due = schedule.next_after(now)
            await asyncio.sleep(self._every_seconds or (due - now).total_seconds())
            for arn, constant in rule.targets:
                try:
                    await self._fire(rule, arn, constant)
                except Exception as error:  # noqa: BLE001 - the next tick comes whatever this one did
                    self._log.notice(f"{rule.arn} → {arn}: {error!r}")

    async def _fire(self, rule: ScheduledRule, arn: str, constant: str | None) -> None:
        event = constant if constant is not None else json.dumps(_scheduled_event(rule.arn))
        if ":lambda:" in arn:
            await self._invoke(arn, event.encode())
        elif ":sqs:" in arn:
            sqs = client("sqs", self._endpoint_url)
            url = sqs.get_queue_url(QueueName=arn.rpartition(":")[2])["QueueUrl"]
            await asyncio.to_thread(sqs.send_message, QueueUrl=url, MessageBody=event)
        else:
            raise NotImplementedError(f"a schedule cannot reach {arn} locally")


def _scheduled_event(rule_arn: str) -> dict[str, Any]:
    return {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": "Scheduled Event",
        "source": "aws.events",
        "account": ACCOUNT_ID,
        "time": dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "region": REGION,
        "resources": [rule_arn],
        "detail": {},
    }
