"""Webhooks: an event becomes one delivery per receiver; each delivery is prepared → sent → concluded, until it ends."""

from __future__ import annotations

import contextlib
import json
import logging
import random
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from shared.adapters.dynamodb.deliveries import DeliveryMoved, DeliveryStore
from shared.adapters.dynamodb.endpoints import EndpointMoved, EndpointStore
from shared.adapters.eventbridge import EventBus
from shared.adapters.http import HttpClient, HttpFailure
from shared.adapters.sqs import Queue
from shared.domain import deliveries as steps
from shared.domain import webhooks as rules
from shared.domain.deliveries import Attempt, Delivery, DeliveryId, DeliveryState
from shared.domain.endpoints import JOB_ENDPOINT_ID, Endpoint, EndpointId, EventType, Secret, make_secret, sign
from shared.domain.errors import NotFound
from shared.domain.ids import AccountId, JobId
from shared.domain.jobs import Job
from shared.domain.urls import UnsafeUrl, parse_webhook_url
from shared.domain.webhooks import Answer, Delivered, Failed, Refused, Verdict
from shared.services.endpoint_health import EndpointHealth
from shared.services.jobs import Jobs
from shared.services.results import Results

MAX_BODY_BYTES = 1_000_000
USER_AGENT = "AudioToText-Webhooks/1"
WRITE_GRACE = timedelta(minutes=1)  # a request ends after 29 s: by then a delivery is written, or never will be
EARLY_HIDE_SECONDS = 5

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedJob:
    """What the bus says of a job that ended."""

    job_id: JobId
    account_id: AccountId
    status: str


class NotYetFinished(Exception):
    """The job the event speaks of has not ended: the event is false, or older than what it speaks of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookPorts:
    """Everything outside that a delivery touches."""

    endpoints: EndpointStore
    deliveries: DeliveryStore
    queue: Queue
    bus: EventBus
    client: HttpClient
    now: Callable[[], datetime]
    random_bytes: Callable[[], bytes]
    chance: Callable[[], float] = field(default=random.random)


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What one attempt sends. ``endpoint`` is None for a job's own webhook_url."""

    url: str
    body: bytes
    secrets: tuple[Secret, ...]
    endpoint: Endpoint | None


class Webhooks:
    """Brings results to those who asked for them."""

    def __init__(self, ports: WebhookPorts, jobs: Jobs, results: Results) -> None:
        self._ports = ports
        self._jobs = jobs
        self._results = results
        self._health = EndpointHealth(ports.endpoints, ports.bus, ports.now)

    # ---- one event, many receivers -----------------------------------------------------------------------------------

    def fan_out(self, event: FinishedJob) -> int:
        """Make a delivery for each receiver of the event and queue it; how many there are.

        The event seen again finds its deliveries made, and queues those that are still pending once more: the process
        that made them may have died before it could. Raises NotYetFinished.
        """
        try:
            job = self._jobs.get(event.job_id, event.account_id)
        except NotFound:
            logger.info("webhook_dropped", extra={"job_id": event.job_id, "reason": "job deleted"})
            return 0
        if not job.state.is_final:
            raise NotYetFinished(event.job_id)
        _log_end(job)
        count = 0
        for delivery in self._deliveries_of(job):
            count += 1
            try:
                stored = self._ports.deliveries.replace(delivery)
            except DeliveryMoved as moved:
                stored = moved.current or delivery
            if stored.state is DeliveryState.PENDING:
                self.enqueue(stored.delivery_id)
        return count

    def enqueue(self, delivery_id: DeliveryId) -> None:
        """Have the delivery attempted soon."""
        self._ports.queue.send({"delivery_id": delivery_id})

    def announce(self, delivery_id: DeliveryId) -> None:
        """Have a delivery attempted soon that is about to be written.

        The message comes first, so that a death in between leaves a message that goes after WRITE_GRACE, and no
        delivery that nobody sends.
        """
        self._ports.queue.send({"delivery_id": delivery_id, "announced_at": self._ports.now().isoformat()})

    def _deliveries_of(self, job: Job) -> Iterator[Delivery]:
        """Of a job's end: to its own URL, and to each endpoint that wants it."""
        event, endpoints = _event_of(job), self._ports.endpoints.of_account(job.account_id)
        return self._deliveries_to([each for each in endpoints if each.wants(event)], job)

    def _deliveries_to(self, endpoints: Iterable[Endpoint], job: Job) -> Iterator[Delivery]:
        receivers: list[tuple[EndpointId, str | None]] = []
        if job.webhook_url is not None:
            receivers.append((JOB_ENDPOINT_ID, job.webhook_url))
        receivers += [(endpoint.endpoint_id, None) for endpoint in endpoints]
        message_id, now = rules.webhook_id(job), self._ports.now()
        for endpoint_id, url in receivers:
            yield Delivery(
                delivery_id=steps.delivery_id(message_id, endpoint_id, url),
                account_id=job.account_id,
                endpoint_id=endpoint_id,
                message_id=message_id,
                event_type=_event_of(job),
                created_at=now,
                next_attempt_at=now,
                job_id=job.job_id,
                url=url,
            )

    # ---- one delivery ------------------------------------------------------------------------------------------------

    def attempt(self, delivery_id: DeliveryId, announced_at: datetime | None = None) -> int | None:
        """Try the delivery if its time has come. One that was announced a moment ago may not have been written yet.

        Returns the seconds to hide its message for; None when it is done with: delivered, refused, given up, dropped.
        """
        delivery = self._ports.deliveries.get(delivery_id)
        if delivery is None:
            is_early = announced_at is not None and self._ports.now() - announced_at < WRITE_GRACE
            return EARLY_HIDE_SECONDS if is_early else None
        if delivery.state is not DeliveryState.PENDING:
            self._finish(delivery)  # who tried it last may have died right after
            return None
        wait_seconds = (delivery.next_attempt_at - self._ports.now()).total_seconds()
        if wait_seconds > 0:
            return rules.hide_seconds(wait_seconds)
        message = self.prepare(delivery)
        if message is None:
            with contextlib.suppress(DeliveryMoved):
                self._ports.deliveries.replace(steps.dropped(delivery))
            logger.info("webhook_dropped", extra={"delivery_id": delivery_id, "job_id": delivery.job_id})
            return None
        attempt, verdict = self.send(delivery, message)
        return self._conclude(delivery, message, attempt, verdict)

    def prepare(self, delivery: Delivery) -> Message | None:
        """What to send and where to; None when the receiver or the job is gone."""
        endpoint = self._health.get(delivery.account_id, delivery.endpoint_id)
        if delivery.url is not None:  # a job's own
            endpoint = endpoint or self.job_endpoint(delivery.account_id)
        elif endpoint is None or not endpoint.is_tried:
            return None
        body = self._body(delivery)
        if body is None:
            return None
        return Message(
            url=delivery.url or endpoint.url,
            body=body,
            secrets=endpoint.secrets,
            endpoint=endpoint if delivery.url is None else None,
        )

    def send(self, delivery: Delivery, message: Message) -> tuple[Attempt, Verdict]:
        """One attempt. Every way it can end is a verdict."""
        at, started = self._ports.now(), time.perf_counter()
        try:
            # Checked again: the rules may have become stricter since the URL was handed in.
            url = parse_webhook_url(message.url, allow_loopback=self._ports.client.allow_loopback)
            headers = {
                "Content-Type": "application/json",
                "User-Agent": USER_AGENT,
                "webhook-id": delivery.message_id,
                "webhook-timestamp": str(int(at.timestamp())),
                "webhook-signature": sign(message.secrets, delivery.message_id, at, message.body),
            }
            answer = self._ports.client.post(url, message.body, headers, timeout_seconds=rules.SEND_TIMEOUT_SECONDS)
        except UnsafeUrl as error:
            return _no_answer(at, started, f"unsafe URL: {error}")
        except HttpFailure as failure:
            return _no_answer(at, started, str(failure))
        return _answered(at, started, answer), rules.classify(answer, self._ports.now())

    def job_endpoint(self, account_id: AccountId) -> Endpoint:
        """The account's stand-in for its jobs' own URLs, with the secret that signs what they get; made when needed."""
        while True:
            found = self._ports.endpoints.get(account_id, JOB_ENDPOINT_ID)
            if found is not None:
                return found
            endpoint = Endpoint(
                account_id=account_id,
                endpoint_id=JOB_ENDPOINT_ID,
                url="",
                events=frozenset(EventType),
                secrets=(Secret(text=make_secret(self._ports.random_bytes())),),
                created_at=self._ports.now(),
            )
            with contextlib.suppress(EndpointMoved):  # somebody else made it
                return self._ports.endpoints.replace(endpoint)

    # ---- inside ------------------------------------------------------------------------------------------------------

    def _body(self, delivery: Delivery) -> bytes | None:
        """The contract's GET result, or where it can be fetched when it is large; None when the job is gone."""
        if delivery.payload is not None:
            return delivery.payload.encode()
        job = self._job_of(delivery)
        if job is None:
            return None
        try:
            view = self._results.view(job, segments=False)
        except NotFound:
            return None
        body = json.dumps(view, ensure_ascii=False, separators=(",", ":")).encode()
        if len(body) <= MAX_BODY_BYTES:
            return body
        short = {name: value for name, value in view.items() if name != "transcript"}
        short["result_url"] = self._results.link(job, body)
        return json.dumps(short, ensure_ascii=False, separators=(",", ":")).encode()

    def _conclude(self, delivery: Delivery, message: Message, attempt: Attempt, verdict: Verdict) -> int | None:
        after = self._next(delivery, attempt, verdict)
        try:
            after = self._ports.deliveries.replace(after)
        except DeliveryMoved as moved:
            if moved.current is None:
                return None
            after = moved.current  # another process tried at the same moment; what it wrote counts
        if message.endpoint is not None:
            self._health.note(message.endpoint, verdict)
        _log_attempt(after, attempt)
        if after.state is DeliveryState.DELIVERED:
            self._let_go(after)
        if after.state is not DeliveryState.PENDING:
            return None
        return rules.hide_seconds((after.next_attempt_at - self._ports.now()).total_seconds())

    def _finish(self, delivery: Delivery) -> None:
        """Do what follows a delivery's end, if it has not been done."""
        if delivery.state is DeliveryState.DELIVERED:
            self._let_go(delivery)
        elif delivery.state is DeliveryState.FAILED:
            self._health.get(delivery.account_id, delivery.endpoint_id)  # tells it, if that is owed

    def _let_go(self, delivery: Delivery) -> None:
        """Delete a job with a retention of 0 days once everybody has its result."""
        job = self._job_of(delivery)
        if job is None or not job.delete_when_delivered or job.drop_key is not None:
            return  # a drop's results go to the folder, too, in their own time; it keeps its day
        if self._is_with_everybody(job):
            self._jobs.let_go(job)

    def _is_with_everybody(self, job: Job) -> bool:
        """True when all have the job's result, and it is not on its way to an endpoint disabled for failing either."""
        event, endpoints = _event_of(job), self._ports.endpoints.of_account(job.account_id)
        wanted = {each.delivery_id for each in self._deliveries_to([e for e in endpoints if e.wants(event)], job)}
        for each in self._deliveries_to([e for e in endpoints if e.is_tried_with(event)], job):
            stored = self._ports.deliveries.get(each.delivery_id)
            state = None if stored is None else stored.state
            if state is DeliveryState.PENDING or (each.delivery_id in wanted and state is not DeliveryState.DELIVERED):
                return False
        return True

    def _job_of(self, delivery: Delivery) -> Job | None:
        """The job whose end is told; None when there is none, it is gone, or it was made again under its id since."""
        if delivery.job_id is None:
            return None
        try:
            job = self._jobs.get(delivery.job_id, delivery.account_id)
        except NotFound:
            return None
        return job if rules.webhook_id(job) == delivery.message_id else None

    def _next(self, delivery: Delivery, attempt: Attempt, verdict: Verdict) -> Delivery:
        match verdict:
            case Delivered():
                return steps.delivered(delivery, attempt)
            case Refused():
                return steps.failed(delivery, attempt)
            case Failed(retry_after_seconds=wish):
                delay = rules.next_delay_seconds(len(delivery.attempts) + 1, wish, self._ports.chance())
                if delay is None:
                    return steps.failed(delivery, attempt)
                return steps.postponed(delivery, attempt, self._ports.now() + timedelta(seconds=delay))


def _event_of(job: Job) -> EventType:
    return EventType(f"transcription.{job.status}")


def _no_answer(at: datetime, started: float, problem: str) -> tuple[Attempt, Failed]:
    return Attempt(at=at, duration_milliseconds=_since(started), problem=problem), Failed(reason=problem)


def _answered(at: datetime, started: float, answer: Answer) -> Attempt:
    text = answer.body_start.decode("utf-8", "replace")[: steps.EXCERPT_CHARS]
    return Attempt(at=at, duration_milliseconds=_since(started), status=answer.status, answer=text)


def _since(started: float) -> int:
    return round((time.perf_counter() - started) * 1000)


def _log_attempt(delivery: Delivery, attempt: Attempt) -> None:
    extra = {
        "delivery_id": delivery.delivery_id,
        "job_id": delivery.job_id,
        "account_id": delivery.account_id,
        "attempt": len(delivery.attempts),
        "state": delivery.state.value,
        "status": attempt.status,
        "problem": attempt.problem,
    }
    logger.info("webhook_attempted", extra={name: value for name, value in extra.items() if value is not None})


def _log_end(job: Job) -> None:
    """The one place that hears of every job's end, whatever runner it had: metrics are made of this line."""
    assert job.outcome is not None
    audio_seconds = job.outcome.duration_seconds or 0.0
    turnaround_seconds = max(0.001, (job.outcome.finished_at - job.created_at).total_seconds())
    extra = {
        **job.ids,
        "status": job.status,
        "audio_seconds": audio_seconds,
        "turnaround_seconds": turnaround_seconds,
        "used_millicredits": job.outcome.used_millicredits,
        "runs": job.attempt.runs if job.attempt else 0,
    }
    if job.status == "completed":
        extra["real_time_factor"] = round(turnaround_seconds / audio_seconds, 4) if audio_seconds else None
    logger.info("job_ended", extra={name: value for name, value in extra.items() if value is not None})
