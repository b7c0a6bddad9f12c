"""Logs: JSON lines with the same fields from every process, whatever hosts it, and metrics inside some of them.

A job's lines carry ``job_id``, those of a run also ``attempt_id``, and both the ``request_id`` of the request that
submitted it: one query over all log groups finds everything about a job.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import uuid
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from typing import Any

from aws_lambda_powertools.logging.formatter import LambdaPowertoolsFormatter

from shared import metrics

SEND_SECONDS = 5  # a line on its way to CloudWatch waits this long for others
_QUIET = ("boto3", "botocore", "mangum", "s3transfer", "urllib3")  # one line of ours per request is enough

_context: ContextVar[Mapping[str, Any]] = ContextVar("log_context")


class _Formatter(LambdaPowertoolsFormatter):
    """Lines that can always be written: half a character (a lone surrogate), which no encoding has, becomes a "?"."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        return super().format(record).encode(errors="replace").decode()


def configure(service: str) -> None:
    """Log JSON lines of ``service`` to standard output, in place of whatever handlers the process came with.

    Outside AWS nobody carries them to CloudWatch: there they also go to the group that WORKER_LOG_GROUP names.

    Only the formatter of Powertools: with its Logger each module would need one, and most of shared/ may not know it.
    """
    namespace = metrics.namespace(os.environ.get("STAGE", "dev"))
    formatter = _Formatter(service=service)

    def add(record: logging.LogRecord) -> bool:
        for name, value in {**_context.get({}), **metrics.embedded(record, namespace)}.items():
            if not hasattr(record, name):
                setattr(record, name, value)
        return True

    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stdout)]
    if group := os.environ.get("WORKER_LOG_GROUP"):
        handlers.append(_to_cloudwatch(group, service))
    for handler in handlers:
        handler.setFormatter(formatter)
        handler.addFilter(add)
    logging.basicConfig(handlers=handlers, level=os.environ.get("LOG_LEVEL") or "INFO", force=True)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)


@contextlib.contextmanager
def context(**keys: Any) -> Iterator[None]:
    """Add ``keys`` that are not None to every line logged inside the block, in threads started with its context too."""
    given = {name: value for name, value in keys.items() if value is not None}
    token = _context.set({**_context.get({}), **given})
    try:
        yield
    finally:
        _context.reset(token)


def flush() -> None:
    """Send the lines that wait: before a machine goes, or is put to sleep."""
    for handler in logging.getLogger().handlers:
        handler.flush()


def _to_cloudwatch(group: str, service: str) -> logging.Handler:
    """Losing CloudWatch costs lines, never a job: they are sent from a thread, which warns and goes on."""
    from watchtower import CloudWatchLogHandler

    from shared.adapters.aws import AwsClients

    return CloudWatchLogHandler(
        boto3_client=AwsClients().logs,
        log_group_name=group,
        log_stream_name=f"{service}/{uuid.uuid4()}",
        create_log_group=False,  # the stack's own, with its retention
        send_interval=SEND_SECONDS,
    )
