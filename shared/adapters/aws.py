"""AWS clients, made once per process and only when first used (each costs tens of milliseconds of cold start)."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar, cast

import boto3
from botocore.config import Config

from shared.adapters.dynamodb.transactions import retry_conflicts

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_sqs import SQSClient


Client = TypeVar("Client")

_MAKING = threading.RLock()  # boto3's own session must not make two clients at the same time


class AwsClients:
    """The clients of one process, each made by its first call: a poll shall not wait for the clients of a submit.

    Endpoints and credentials come from botocore's own environment.
    """

    def make(self, *, everything: bool) -> None:
        """Make DynamoDB's now, or those of every ordinary request."""
        for client in (self.dynamodb, self.s3, self.sqs, self.events) if everything else (self.dynamodb,):
            _ = client.meta

    @cached_property
    def dynamodb(self) -> DynamoDBClient:
        """DynamoDB: answers in milliseconds or not at all, so it is given up on quickly and tried again."""
        config = _config(connect_timeout=2, read_timeout=5)
        return _on_first_use(lambda: retry_conflicts(boto3.client("dynamodb", config=config)))

    @cached_property
    def s3(self) -> S3Client:
        """S3 with version 4 signatures (presigned URLs need them)."""
        config = _config(connect_timeout=3, read_timeout=60, signature_version="s3v4")
        # Said aloud, "virtual" makes presigned URLs name the region: the global host redirects for a new bucket's
        # first hours, and a signature does not survive that. Endpoints that are bare addresses keep paths anyway.
        return _on_first_use(
            lambda: boto3.client("s3", config=config.merge(Config(s3={"addressing_style": "virtual"})))
        )

    @cached_property
    def sqs(self) -> SQSClient:
        """SQS; the read time-out is above the 20 s of a long poll."""
        return _on_first_use(lambda: boto3.client("sqs", config=_config(connect_timeout=3, read_timeout=30)))

    @cached_property
    def events(self) -> EventBridgeClient:
        """EventBridge."""
        return _on_first_use(lambda: boto3.client("events", config=_config(connect_timeout=3, read_timeout=10)))

    @cached_property
    def logs(self) -> Any:
        """CloudWatch Logs, for machines that nobody else takes lines from. Given up on quickly: it is only logs."""
        config = _config(connect_timeout=2, read_timeout=5).merge(Config(retries={"total_max_attempts": 1}))
        return _on_first_use(lambda: boto3.client("logs", config=config))

    @cached_property
    def secrets(self) -> SecretsManagerClient:
        """Secrets Manager."""
        return _on_first_use(lambda: boto3.client("secretsmanager", config=_config(connect_timeout=3, read_timeout=10)))


class _OnFirstUse:
    """Stands in for a client until something is asked of it."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make

    def __getattr__(self, name: str) -> Any:
        # Only what is not here yet comes this way: each name once.
        with _MAKING:
            if "_client" not in self.__dict__:
                self._client = self._make()
        value = getattr(self._client, name)
        self.__dict__[name] = value
        return value


def _on_first_use(make: Callable[[], Client]) -> Client:
    return cast("Client", _OnFirstUse(make))


def _config(*, connect_timeout: int, read_timeout: int, signature_version: str = "v4") -> Config:
    return Config(
        connect_timeout=connect_timeout,
        read_timeout=read_timeout,
        retries={"mode": "standard", "max_attempts": 4},
        signature_version=signature_version,
        max_pool_connections=50,
    )
