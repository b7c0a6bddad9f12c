"""DeliverWebhookFunction: finished jobs become deliveries, and deliveries are attempted until they end."""

from __future__ import annotations

from functions import startup  # isort: skip - before everything else

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from functions import runtime
from functions.times import read_time
from functions.tracing import traced
from shared import logs
from shared.domain.deliveries import DeliveryId
from shared.domain.ids import AccountId, JobId
from shared.services.webhooks import FinishedJob

logs.configure("deliver")


@traced
def handler(event: Mapping[str, Any], _context: object) -> dict[str, Any]:
    """One batch of the deliveries queue: EventBridge events of jobs that ended, and deliveries of our own."""
    return runtime.handle_records(event, _deliver)


def _deliver(record: Mapping[str, Any]) -> None:
    body = runtime.read_json_object(record["body"])
    services = runtime.services()
    if "delivery_id" not in body:
        finished = read_event(body)
        with logs.context(job_id=finished.job_id):
            services.webhooks.fan_out(finished)
        return
    delivery_id = DeliveryId(runtime.read_text(body, "delivery_id"))
    hide_seconds = services.webhooks.attempt(delivery_id, read_announced_at(body))
    if hide_seconds is not None:
        services.deliveries_queue.extend(record["receiptHandle"], hide_seconds)
        raise runtime.LeaveOnQueue


def read_announced_at(body: Mapping[str, Any]) -> datetime | None:
    """When the delivery was announced; None for one that was written before its message. Raises UnreadableMessage."""
    if "announced_at" not in body:
        return None
    text = runtime.read_text(body, "announced_at")
    try:
        return read_time(text)
    except ValueError as error:
        raise runtime.UnreadableMessage("announced_at is no time with a zone") from error


def read_event(body: Mapping[str, Any]) -> FinishedJob:
    """What the event says. Raises UnreadableMessage."""
    detail = body.get("detail")
    if not isinstance(detail, dict):
        raise runtime.UnreadableMessage("the event has no detail")
    return FinishedJob(
        job_id=JobId(runtime.read_text(detail, "job_id")),
        account_id=AccountId(runtime.read_text(detail, "account_id")),
        status=runtime.read_text(detail, "status"),
    )


startup.finished()
