"""The course of the day: a storm while jobs come in, a calm in which they end, and time for the last deliveries."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from infra.local.launch import LocalStack
from infra.local.worker import environment_from_outputs
from shared.bootstrap import Services, bootstrap
from shared.domain.deliveries import DeliveryState
from shared.domain.ids import AccountId
from shared.settings import Settings
from tests.rehearsal.cloud import FOLDER_VARIABLE
from tests.rehearsal.customers import Customers, Door, Order, Places, make_orders
from tests.rehearsal.killer import Killer
from tests.rehearsal.receiver import MoodyReceiver
from tests.rehearsal.weather import Weather

QUEUES = ("Jobs", "Work", "Deliveries", "Ingest")
QUICK_QUEUES = ("Jobs", "Work")  # give a message up after five or ten tries
POISON = ("not JSON", "[]", "{}", '{"detail": {"job_id": 5}}')
JUMPS_SECONDS = (4.0, 30.0, 90.0, 400.0)
JUMP_EVERY_SECONDS = 12.0
STUCK_SECONDS = 240.0  # without one more job ended: nothing will come
NIGHT_SECONDS = 300.0
LONGEST_VISIBILITY_SECONDS = 721.0  # the ingest queue's, and a second


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How large a rehearsal is."""

    jobs: int
    workers: int
    seed: int
    poisoned: tuple[str, ...] = QUEUES  # which queues get unreadable messages


@dataclass(kw_only=True)
class Day:
    """A stack on a bad day and everything one needs to judge it."""

    size: Size
    stack: LocalStack
    weather: Weather
    services: Services
    receiver: MoodyReceiver
    customers: Customers
    orders: list[Order]
    endpoint_secret: str
    storm_seconds: float = 0.0
    ended_seconds: float = 0.0
    night_seconds: float = 0.0

    @property
    def account_id(self) -> AccountId:
        """Whose jobs they are."""
        return AccountId(self.stack.ready["account_id"])

    def states(self) -> Counter[str]:
        """How many jobs there are, by state."""
        table = self.services.settings.jobs_table
        pages = (
            self.stack.client("dynamodb")
            .get_paginator("scan")
            .paginate(TableName=table, ProjectionExpression="#state", ExpressionAttributeNames={"#state": "state"})
        )
        return Counter(item["state"]["S"] for page in pages for item in page["Items"])

    def output(self, name: str) -> str:
        """One output of the template."""
        return str(self.stack.ready["outputs"][name])

    def queue_url(self, name: str) -> str:
        """A queue of the template by its name there, without 'Queue'; ``…DeadLetter`` for what was given up."""
        dead = name.endswith("DeadLetter")
        queue_name = (
            f"audiototext-{self.output('Stage')}-{name.removesuffix('DeadLetter').lower()}{'-dlq' if dead else ''}"
        )
        return str(self.stack.client("sqs").get_queue_url(QueueName=queue_name)["QueueUrl"])

    def waiting(self, name: str) -> int:
        """How many messages are in a queue, hidden ones included."""
        wanted = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        wanted.append("ApproximateNumberOfMessagesDelayed")
        found = self.stack.client("sqs").get_queue_attributes(QueueUrl=self.queue_url(name), AttributeNames=wanted)
        return sum(int(found["Attributes"][each]) for each in wanted)

    def pending_deliveries(self) -> int:
        """How many deliveries have not ended."""
        pages = (
            self.stack.client("dynamodb")
            .get_paginator("scan")
            .paginate(
                TableName=self.services.settings.webhook_deliveries_table,
                FilterExpression="#state = :pending",
                ExpressionAttributeNames={"#state": "state"},
                ExpressionAttributeValues={":pending": {"S": DeliveryState.PENDING.value}},
            )
        )
        return sum(page["Count"] for page in pages)


class BadStack(LocalStack):
    """The local stack of tests.rehearsal.cloud."""

    program = "tests.rehearsal.cloud"

    def __init__(self, size: Size, weather: Weather) -> None:
        self.environment = {FOLDER_VARIABLE: str(weather.folder)}
        super().__init__(
            *("--code", str(weather.folder), "--worker-module", "tests.rehearsal.worker"),
            *("--workers", str(size.workers), "--schedule-seconds", "2"),
            *("--parameter", "LeaseSeconds=5", "--parameter", "SubmitsPerMinute=100000"),
        )


@contextlib.contextmanager
def open_day(size: Size, folder: Path) -> Iterator[Day]:
    """The stack, up in bad weather, with a receiver registered and the orders made."""
    weather = Weather.make(folder, seed=size.seed)
    with MoodyReceiver(weather) as receiver, BadStack(size, weather) as stack:
        orders = make_orders(size.jobs, weather.chance("customers"))
        receiver.recordings.update({order.file_name: order.recording for order in orders if order.door is Door.URL})
        yield Day(
            size=size,
            stack=stack,
            weather=weather,
            services=_services(stack),
            receiver=receiver,
            customers=Customers(_places(stack, receiver)),
            orders=orders,
            endpoint_secret=_register(stack, receiver.url("endpoint")),
        )


def _places(stack: LocalStack, receiver: MoodyReceiver) -> Places:
    s3, folder = stack.client("s3"), f"drop/{stack.ready['account_id']}/"

    def drop(name: str, body: bytes) -> None:
        s3.put_object(Bucket=stack.ready["bucket"], Key=folder + name, Body=body)

    return Places(
        base_url=stack.ready["base_url"],
        api_key=stack.ready["api_key"],
        webhook_url=receiver.url("job"),
        source_url=receiver.url("recordings"),
        drop=drop,
    )


def _services(stack: LocalStack) -> Services:
    """The product's services on the stack's tables, without faults: to look behind the counter."""
    os.environ.update(
        AWS_ENDPOINT_URL=stack.ready["aws_endpoint"],
        AWS_DEFAULT_REGION=stack.ready["region"],
        AWS_ACCESS_KEY_ID=stack.ready["access_key_id"],
        AWS_SECRET_ACCESS_KEY=stack.ready["secret_access_key"],
    )
    return bootstrap(Settings.from_environment(environment_from_outputs(stack.ready["outputs"])))


def _register(stack: LocalStack, url: str) -> str:
    """Add the endpoint for all events; its secret."""
    with requests.Session() as session:
        session.trust_env = False
        answer = session.post(
            f"{stack.ready['base_url']}/api/v1/webhooks/",
            headers={"Authorization": f"Bearer {stack.ready['api_key']}"},
            json={"url": url},
            timeout=60,
        )
    answer.raise_for_status()
    return str(answer.json()["secrets"][0]["secret"])


def spend(day: Day, say: Callable[[str], None]) -> None:
    """Let the day pass. Nothing is judged here."""
    began = time.monotonic()
    _put_poison_in(day)
    day.weather.break_loose()
    with Killer(day.stack.ready["pid"], day.weather), _jumping(day):
        day.customers.send(day.orders)
        say(f"{len(day.orders)} orders sent after {time.monotonic() - began:.0f} s")
        _wait_for_ends(day, say, until_ended=0.95)
    day.storm_seconds = time.monotonic() - began
    day.weather.calm_down()
    say(f"the storm is over after {day.storm_seconds:.0f} s; {dict(day.states())}")
    _wait_for_ends(day, say, until_ended=1.0, jump_seconds=60.0)
    day.ended_seconds = time.monotonic() - began
    say(f"the last job ended after {day.ended_seconds:.0f} s")
    _sleep_it_off(day)
    day.night_seconds = time.monotonic() - began - day.ended_seconds


def _put_poison_in(day: Day) -> None:
    sqs = day.stack.client("sqs")
    for name in day.size.poisoned:
        for body in POISON:
            sqs.send_message(QueueUrl=day.queue_url(name), MessageBody=body)


@contextlib.contextmanager
def _jumping(day: Day) -> Iterator[None]:
    """Clocks jump forward now and then: leases run out under workers that are alive."""
    chance, done = day.weather.chance("clock"), threading.Event()

    def jump() -> None:
        while not done.wait(chance.uniform(0.5, 1.5) * JUMP_EVERY_SECONDS):
            day.weather.jump(chance.choice(JUMPS_SECONDS))
            day.weather.count("clock: jumped forward")

    thread = threading.Thread(target=jump, name="clock", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _wait_for_ends(day: Day, say: Callable[[str], None], *, until_ended: float, jump_seconds: float = 0.0) -> None:
    """Until so many of the jobs have ended, or none has for long."""
    ended, since = -1, time.monotonic()
    while True:
        states = day.states()
        now_ended = sum(states[each] for each in ("completed", "failed", "cancelled"))
        if now_ended >= until_ended * len(day.orders):
            return
        if now_ended > ended:
            ended, since = now_ended, time.monotonic()
        elif time.monotonic() - since > STUCK_SECONDS:
            say(f"no job has ended for {STUCK_SECONDS:.0f} s: {dict(states)}")
            return
        time.sleep(3.0)
        if jump_seconds:
            day.weather.jump(jump_seconds)


def _sleep_it_off(day: Day) -> None:
    """Jump from one visibility to the next until poison is where it belongs and every delivery has ended."""

    def at_rest() -> bool:
        empty = all(day.waiting(name) == 0 for name in QUEUES)
        if empty and day.pending_deliveries() == 0:
            return True
        day.weather.jump(LONGEST_VISIBILITY_SECONDS)
        time.sleep(1.2)
        return False

    _until(at_rest, seconds=NIGHT_SECONDS)


def _until(condition: Callable[[], bool], *, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True


def listed_jobs(day: Day) -> list[dict[str, Any]]:
    """Every job of the account, as its owner sees them."""
    found: list[dict[str, Any]] = []
    with requests.Session() as session:
        session.trust_env = False
        session.headers["Authorization"] = f"Bearer {day.stack.ready['api_key']}"
        cursor = ""
        while True:
            answer = session.get(
                f"{day.stack.ready['base_url']}/api/v1/transcribe/",
                params={"limit": "100"} | ({"cursor": cursor} if cursor else {}),
                timeout=60,
            ).json()
            found += answer["transcriptions"]
            cursor = answer.get("next_cursor") or ""
            if not cursor:
                return found
