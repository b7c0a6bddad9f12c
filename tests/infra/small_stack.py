"""The small stack of fixtures/template.yaml, and how tests hear what its functions saw."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from infra.local.launch import LocalStack

FIXTURES = Path(__file__).with_name("fixtures")
PATIENCE_SECONDS = 30.0  # a limit for a broken stack, not a measurement


class SmallStack(LocalStack):
    """Started with the fixtures' functions. ``reports`` collects what they send to the SeenQueue."""

    def __init__(self, *arguments: str, template: Path = FIXTURES / "template.yaml") -> None:
        super().__init__("--template", str(template), "--code", str(FIXTURES), *arguments)
        self.reports: list[dict[str, Any]] = []

    @property
    def base_url(self) -> str:
        """Of the HTTP API."""
        return str(self.ready["base_url"])

    def output_of(self, name: str) -> str:
        """One output of the template."""
        return str(self.ready["outputs"][name])

    def wait_for_report(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The first report, past or to come, that is ``wanted``."""
        sqs, url = self.client("sqs"), self.output_of("SeenQueueUrl")
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            for report in self.reports:
                if wanted(report):
                    return report
            if time.monotonic() > deadline:
                raise AssertionError(f"no such report among {len(self.reports)}; log:\n{self.log[-2000:]}")
            for message in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1).get(
                "Messages", []
            ):
                self.reports.append(json.loads(message["Body"]))
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])

    def invoke(self, logical_id: str, event: dict[str, Any]) -> tuple[Any, str | None]:
        """A function's answer and its error kind, through Lambda's own API."""
        answer = self.client("lambda").invoke(
            FunctionName=self.ready["functions"][logical_id], Payload=json.dumps(event).encode()
        )
        return json.loads(answer["Payload"].read()), answer.get("FunctionError")


def token() -> str:
    """Something no other test uses."""
    return uuid.uuid4().hex


def wait_until(condition: Callable[[], bool]) -> bool:
    """Whether ``condition`` came true within the patience of a test."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
