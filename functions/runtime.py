"""What every function does at its start: JSON logs, and the services, built once per process."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from functools import cache
from typing import Any

from aws_lambda_powertools.logging.formatter import LambdaPowertoolsFormatter

from shared.bootstrap import Services, bootstrap
from shared.settings import Settings

logger = logging.getLogger(__name__)

_QUIET = ("boto3", "botocore", "mangum", "s3transfer", "urllib3")  # one line of ours per request is enough

_log_context: ContextVar[Mapping[str, Any]] = ContextVar("log_context")


@cache
def services() -> Services:
    """The services of this process. Raises SettingsError naming everything the environment lacks."""
    return bootstrap(Settings.from_environment(os.environ))


def warm_up(services: Services) -> None:
    """Make what every request needs: botocore reads megabytes of service descriptions for each client.

    In a cold start somebody is waiting, and most requests are polls, which need DynamoDB only. Before a snapshot nobody
    waits, and what is made then costs no request anything: so everything is.
    """
    services.make_clients(everything=os.environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") == "snap-start")
    for name in ("keys", "submissions", "results"):
        getattr(services, name)


def configure_logging() -> None:
    """Log JSON lines to standard output, in place of whatever handlers the process came with.

    Only the formatter of Powertools: with its Logger each module would need one, and shared/ may not know it.
    """
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(LambdaPowertoolsFormatter(service=os.environ.get("POWERTOOLS_SERVICE_NAME", "audiototext")))
    handler.addFilter(_add_context)
    logging.basicConfig(handlers=[handler], level=os.environ.get("LOG_LEVEL") or "INFO", force=True)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)


@contextlib.contextmanager
def log_context(**keys: Any) -> Iterator[None]:
    """Add ``keys`` to every line logged inside the block, in threads started with its context too."""
    token = _log_context.set({**_log_context.get({}), **keys})
    try:
        yield
    finally:
        _log_context.reset(token)


def _add_context(record: logging.LogRecord) -> bool:
    for name, value in _log_context.get({}).items():
        if not hasattr(record, name):
            setattr(record, name, value)
    return True


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
        with log_context(message_id=message_id):
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
