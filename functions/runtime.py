"""What functions have in common: the services, built once per process, and the way to take messages off a queue."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from shared import logs
from shared.bootstrap import Services, bootstrap
from shared.settings import Settings

logger = logging.getLogger(__name__)

# Services of the API's requests.
_OFTEN = ("keys", "submissions", "results")
_SELDOM = ("accounts", "usage", "uploads", "repeats", "transcriptions", "exports", "endpoints")


@cache
def services() -> Services:
    """The services of this process. Raises SettingsError naming everything the environment lacks."""
    return bootstrap(Settings.from_environment(os.environ))


def cors_origins() -> list[str]:
    """Whose pages may call the API from a browser (ALLOWED_ORIGINS, with commas between them)."""
    return [origin for origin in os.environ.get("ALLOWED_ORIGINS", "").split(",") if origin]


def is_for_snapshot() -> bool:
    """True where Lambda starts this process to keep a snapshot of it (SnapStart): nobody waits for that."""
    return os.environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") == "snap-start"


def warm_up(services: Services) -> None:
    """Make what every request needs: botocore reads megabytes of service descriptions for each client.

    In a cold start somebody is waiting, and most requests are polls, which need DynamoDB only. What is made before a
    snapshot costs no request anything: so everything is.
    """
    everything = is_for_snapshot()
    services.make_clients(everything=everything)
    for name in (*_OFTEN, *(_SELDOM if everything else ())):
        getattr(services, name)


# ---- Queue-driven functions ----------------------------------------------------------------------------------------


class UnreadableMessage(Exception):
    """The message is not one of ours. It is left on the queue, whose redrive policy brings it to the DLQ."""


class LeaveOnQueue(Exception):
    """Not done, as planned: the message shall be received again."""


def handle_records(event: Mapping[str, Any], act: Callable[[Mapping[str, Any]], None]) -> dict[str, Any]:
    """Give each SQS record to ``act``; the answer names those to leave on the queue (ReportBatchItemFailures).

    One record's trouble never touches the others. Ten lines instead of Powertools' batch processor, which costs 60 ms
    of cold start for the same answer.
    """
    left = []
    for record in event["Records"]:
        message_id = record["messageId"]
        with logs.context(message_id=message_id):
            try:
                act(record)
            except LeaveOnQueue:
                left.append(message_id)
            except UnreadableMessage as problem:
                logger.error("message_unreadable", extra={"reason": str(problem)})  # noqa: TRY400 - no trace needed
                left.append(message_id)
            except Exception:
                logger.exception("message_failed")
                left.append(message_id)
    return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in left]}


def read_json_object(text: str) -> dict[str, Any]:
    """The JSON object in ``text``. Raises UnreadableMessage."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UnreadableMessage("no JSON") from error
    if not isinstance(value, dict):
        raise UnreadableMessage("no JSON object")
    return value


def read_text(values: Mapping[str, Any], name: str) -> str:
    """The non-empty text under ``name``. Raises UnreadableMessage."""
    value = values.get(name)
    if not isinstance(value, str) or not value:
        raise UnreadableMessage(f"{name} is missing or no text")
    return value
