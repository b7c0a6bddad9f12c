"""IngestFunction: what arrives in the drop folder becomes jobs, and what comes of them goes back there.

Two kinds of messages come through its queue: S3's announcements of objects, and the bus's events of finished jobs.
"""

from __future__ import annotations

from functions import startup  # isort: skip - before everything else

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from functools import cache
from typing import Any
from urllib.parse import unquote_plus

from functions import runtime
from functions.api.asked import clean_filename, clean_media_type, json_texts, parse_asked
from functions.api.recordings import measure_stored
from functions.times import read_time
from functions.tracing import traced
from shared import logs
from shared.adapters.s3_uploads import StoredObject
from shared.bootstrap import Services
from shared.domain.accounts import Principal
from shared.domain.drops import drop_job_id, read_key
from shared.domain.errors import InvalidRequest
from shared.domain.ids import AccountId, JobId
from shared.domain.job_keys import recording_key
from shared.services.drops import DropEnd, Drops
from shared.services.submissions import Submission

logs.configure("ingest")

BUSY_SECONDS = 20  # until an announcement is looked at again that came at a bad moment; longer each time, up to
MAX_BUSY_SECONDS = 900  # so that the queue's receives last for most of a day of an account over its rate


@traced
def handler(event: Mapping[str, Any], _context: object) -> dict[str, Any]:
    """One batch of the ingest queue."""
    return runtime.handle_records(event, _ingest)


def _ingest(record: Mapping[str, Any]) -> None:
    body = runtime.read_json_object(record["body"])
    services, drops = runtime.services(), _drops()
    if body.get("Event") == "s3:TestEvent":
        return  # S3 tries the queue when the notification is set up
    if "detail-type" in body:
        detail = body.get("detail")
        if not isinstance(detail, dict):
            raise runtime.UnreadableMessage("the event has no detail")
        account_id, job_id = runtime.read_text(detail, "account_id"), runtime.read_text(detail, "job_id")
        with logs.context(job_id=job_id):
            drops.deliver(AccountId(account_id), JobId(job_id))
        return
    wait_seconds = 0
    for key, at in announced(body):
        end = drops.take(read_key(key), at)
        if end is DropEnd.WAITING:
            wait_seconds = max(wait_seconds, services.settings.drop_grace_seconds)
        elif end is DropEnd.LATER:
            wait_seconds = max(wait_seconds, busy_seconds(record))
    if wait_seconds:
        services.ingest_queue.extend(record["receiptHandle"], wait_seconds)
        raise runtime.LeaveOnQueue


def busy_seconds(record: Mapping[str, Any]) -> int:
    """How long a message waits that came at a bad moment, by how often it has been received."""
    receives = int(record.get("attributes", {}).get("ApproximateReceiveCount", 1))
    return min(BUSY_SECONDS * receives, MAX_BUSY_SECONDS)


def announced(body: Mapping[str, Any]) -> Iterator[tuple[str, datetime]]:
    """The keys an S3 event names, with its time. Raises UnreadableMessage."""
    records = body.get("Records")
    if not isinstance(records, list):
        raise runtime.UnreadableMessage("neither an S3 event nor one of ours")
    for record in records:
        try:
            key = unquote_plus(record["s3"]["object"]["key"])
            at = read_time(record["eventTime"])
        except (KeyError, TypeError, ValueError) as error:
            raise runtime.UnreadableMessage("an S3 event without key or time") from error
        yield key, at


@cache
def _drops() -> Drops:
    services = runtime.services()
    return make_drops(services)


def make_drops(services: Services) -> Drops:
    """The drop folder of these services."""

    def make_submission(principal: Principal, options: dict[str, Any], stored: StoredObject) -> Submission:
        if "" in options:
            raise InvalidRequest(f"The options cannot be read: {options['']}")
        asked = parse_asked(
            json_texts(options),
            also=frozenset(),
            allow_loopback=services.settings.allow_loopback_webhooks,
            most_days=services.submissions.most_days,
        )
        if asked.warnings:
            raise InvalidRequest(f"The options have a mistake: {asked.warnings[0]}")  # nobody reads warnings here
        if asked.dry_run or asked.reuse:
            raise InvalidRequest("The options 'dry_run' and 'reuse' are not possible in the drop folder.")
        job_id = drop_job_id(stored.key, stored.etag)
        return Submission(
            principal=principal,
            options=asked.options,
            filename=clean_filename(stored.key),
            content_type=clean_media_type(stored.content_type),
            size_bytes=stored.size_bytes,
            duration_seconds=measure_stored(services.upload_bucket, stored.key, stored.size_bytes),
            webhook_url=asked.webhook_url,
            max_millicredits=asked.max_millicredits,
            retention_days=asked.retention_days,
            stored_key=recording_key(principal.account_id, job_id),
            job_id=job_id,
            drop_key=stored.key,
        )

    return Drops(services.drop_ports, make_submission, timedelta(seconds=services.settings.drop_grace_seconds))


startup.finished()
