"""One query finds everything about a job: its lines carry the same ids, whoever wrote them, and its metrics."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import requests

from infra.local.launch import LocalStack
from tests.media import wav
from tests.receivers import OK, answering, receiver

DEADLINE_SECONDS = 90
SERVICES = {"api", "dispatch", "worker", "deliver"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What was logged about one job, and the ids that should find it."""

    lines: list[dict[str, Any]]
    shipped: list[dict[str, Any]]  # what the worker sent to its log group
    job_id: str
    request_id: str


@pytest.fixture(scope="module")
def told() -> Iterator[Told]:
    """The lines of a job from its submission to its webhook."""
    with receiver(answering(OK)) as customer, LocalStack() as stack:
        answer = requests.post(
            f"{stack.ready['base_url']}/api/v1/transcribe/",
            headers={"Authorization": f"Bearer {stack.ready['api_key']}"},
            files={"file": ("a.wav", wav(1), "audio/wav")},
            data={"webhook_url": customer.url},
            timeout=30,
        )
        assert answer.status_code == 202, answer.text
        customer.wait_for_request(DEADLINE_SECONDS)
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not {"webhook_attempted", "run_ended"} <= {line["message"] for line in read(stack)}:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        shipped = wait_for_shipment(stack)
        yield Told(
            lines=read(stack),
            shipped=shipped,
            job_id=answer.json()["id"],
            request_id=answer.headers["X-Request-Id"],
        )


def read(stack: LocalStack) -> list[dict[str, Any]]:
    """The stack's log as CloudWatch would have it: the lines that are JSON."""
    found = []
    for line in stack.log.splitlines():
        text = line.partition("] ")[2]
        if text.startswith("{"):
            found.append(json.loads(text))
    return found


def wait_for_shipment(stack: LocalStack) -> list[dict[str, Any]]:
    """The worker's lines in its log group, once the end of a run is among them."""
    logs, group = stack.client("logs"), stack.ready["outputs"]["WorkerLogGroup"]
    deadline = time.monotonic() + DEADLINE_SECONDS
    while True:
        events = logs.filter_log_events(logGroupName=group)["events"]
        lines = [json.loads(event["message"]) for event in events]
        if any(line["message"] == "run_ended" for line in lines):
            return lines
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_a_jobs_id_finds_its_lines_in_every_process_that_had_to_do_with_it(told: Told) -> None:
    ours = [line for line in told.lines if line.get("job_id") == told.job_id]
    assert {line["service"] for line in ours} == SERVICES
    messages = [line["message"] for line in ours]
    for message in ("request", "job_dispatched", "run_begun", "run_ended", "job_ended", "webhook_attempted"):
        assert message in messages


def test_the_id_of_the_request_finds_the_job_in_every_process_up_to_its_end(told: Told) -> None:
    ours = [line for line in told.lines if line.get("request_id") == told.request_id]
    assert {line["service"] for line in ours} == SERVICES
    assert {"request", "job_dispatched", "run_begun", "run_ended", "job_ended"} <= {line["message"] for line in ours}


def test_the_id_of_the_attempt_finds_its_run_on_both_sides(told: Told) -> None:
    (dispatched,) = [line for line in told.lines if line["message"] == "job_dispatched"]
    ours = [line for line in told.lines if line.get("attempt_id") == dispatched["attempt_id"]]
    assert {"dispatch", "worker", "deliver"} <= {line["service"] for line in ours}


def test_the_worker_sends_its_lines_to_the_stacks_log_group(told: Told) -> None:
    ours = [line["message"] for line in told.shipped if line.get("job_id") == told.job_id]
    assert ours[0] == "run_begun"
    assert ours[-1] == "run_ended"


def test_every_line_of_the_job_names_it_so_that_nothing_is_told_of_a_job_unknown(told: Told) -> None:
    about = {"job_dispatched", "run_begun", "run_ended", "job_ended", "webhook_attempted", "job_repaired"}
    assert all(line.get("job_id") for line in told.lines if line["message"] in about)


def test_the_metrics_of_a_job_are_in_its_lines(told: Told) -> None:
    values: dict[str, Any] = {}
    for line in told.lines:
        for directive in line.get("_aws", {}).get("CloudWatchMetrics", []):
            assert directive["Namespace"] == "audiototext/dev"
            (metric,), (dimensions,) = directive["Metrics"], directive["Dimensions"]
            values[" ".join([metric["Name"], *(line[name] for name in dimensions)])] = line[metric["Name"]]
    assert values["JobsEnded completed"] == values["WebhookAttempts delivered"] == 1
    assert values["AudioSeconds"] == pytest.approx(1.0, abs=0.1)
    assert values["MillicreditsUsed"] > 0
    assert values["RealTimeFactor"] > 0
    assert 0 < values["QueueSeconds"] < DEADLINE_SECONDS
