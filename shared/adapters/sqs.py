"""Queues: small JSON messages that carry ids only."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message in hand. ``message_id`` stays the same when it is received again, ``receipt`` does not."""

    message_id: str
    receipt: str
    body: str


class Queue:
    """One SQS queue."""

    def __init__(self, client: SQSClient, url: str) -> None:
        self._client = client
        self.url = url

    def send(self, body: Mapping[str, Any]) -> None:
        """Put a message in."""
        self._client.send_message(QueueUrl=self.url, MessageBody=json.dumps(body))

    def receive(self, wait_seconds: int) -> Message | None:
        """The next message, waiting up to ``wait_seconds`` for one."""
        answer = self._client.receive_message(QueueUrl=self.url, MaxNumberOfMessages=1, WaitTimeSeconds=wait_seconds)
        for message in answer.get("Messages", []):
            return Message(message_id=message["MessageId"], receipt=message["ReceiptHandle"], body=message["Body"])
        return None

    def extend(self, receipt: str, seconds: int) -> None:
        """Keep the message hidden for ``seconds`` from now."""
        self._client.change_message_visibility(QueueUrl=self.url, ReceiptHandle=receipt, VisibilityTimeout=seconds)

    def delete(self, receipt: str) -> None:
        """The message is done with."""
        self._client.delete_message(QueueUrl=self.url, ReceiptHandle=receipt)
