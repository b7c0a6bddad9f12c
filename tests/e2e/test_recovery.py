"""A worker may be killed at any moment: the job still finishes, and is charged once."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from infra.local.launch import LocalStack
from shared.bootstrap import Services
from shared.domain.amounts import to_credits
from tests.recordings import asset

KILLS = (0.0, 0.15, 0.4, 0.8, 1.5)  # seconds after the submit
DEADLINE_SECONDS = 120


@pytest.fixture(scope="module")
def stack() -> Iterator[LocalStack]:
    """A stack with a short lease, so that a dead worker is noticed within seconds."""
    with LocalStack("--parameter", "LeaseSeconds=5", "--schedule-seconds", "1") as stack:
        yield stack


def worker_pids(stack: LocalStack) -> list[int]:
    """The worker processes that run now, restarted ones too."""
    pids = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes()
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue  # it has just ended
        if parent == stack.ready["pid"] and b"gpu_jobs.worker" in command:
            pids.append(int(folder.name))
    return pids


def submit(ready: dict[str, Any]) -> str:
    with asset("beckett.wav").open("rb") as file:
        answer = requests.post(
            f"{ready['base_url']}/api/v1/transcribe/",
            headers={"Authorization": f"Bearer {ready['api_key']}"},
            files={"file": file},
            data={"word_timestamps": "true"},
            timeout=30,
        )
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def wait_for_end(ready: dict[str, Any], job_id: str) -> dict[str, Any]:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline:
        answer = requests.get(
            f"{ready['base_url']}/api/v1/transcribe/{job_id}/",
            headers={"Authorization": f"Bearer {ready['api_key']}"},
            timeout=30,
        )
        body: dict[str, Any] = answer.json()
        if body["status"] != "processing":
            return body
        time.sleep(0.1)
    raise AssertionError(f"job {job_id} did not end")


def test_a_worker_killed_at_any_moment_costs_no_job_and_no_credit(stack: LocalStack, services: Services) -> None:
    account_id = stack.ready["account_id"]
    before = services.credits.balance(account_id)

    charged = 0.0
    for seconds in KILLS:
        job_id = submit(stack.ready)
        time.sleep(seconds)
        for pid in worker_pids(stack):
            os.kill(pid, signal.SIGKILL)
        ended = wait_for_end(stack.ready, job_id)
        assert ended["status"] == "completed", ended
        assert "transcript" in ended
        charged += ended["credits_used"]

    after = services.credits.balance(account_id)
    assert after.held_millicredits == 0
    assert to_credits(before.available_millicredits - after.available_millicredits) == pytest.approx(charged)
    assert services.credits.verify(account_id).entries == after.sequence
