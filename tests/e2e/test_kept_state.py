"""``make local STATE=dir``, stopped in the midst of a job and started again: the same key gets both results."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import requests

from infra.local.launch import LocalStack
from tests.infra.repository import ROOT
from tests.recordings import asset

DEADLINE_SECONDS = 120


def _headers(ready: dict[str, Any]) -> dict[str, str]:
    return {"Authorization": f"Bearer {ready['api_key']}"}


def _submit(ready: dict[str, Any]) -> str:
    with asset("beckett.wav").open("rb") as file:
        answer = requests.post(
            f"{ready['base_url']}/api/v1/transcribe/", headers=_headers(ready), files={"file": file}, timeout=30
        )
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def _get(ready: dict[str, Any], job_id: str) -> dict[str, Any]:
    url = f"{ready['base_url']}/api/v1/transcribe/{job_id}/"
    answer: dict[str, Any] = requests.get(url, headers=_headers(ready), timeout=30).json()
    return answer


def _wait_for_end(ready: dict[str, Any], job_id: str) -> dict[str, Any]:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while (job := _get(ready, job_id))["status"] == "processing":
        assert time.monotonic() < deadline, job
        time.sleep(0.1)
    return job


def test_a_stack_stopped_in_the_midst_of_a_job_goes_on_where_it_was(tmp_path: Path) -> None:
    flags = ("--state", str(tmp_path / "state"), "--parameter", "LeaseSeconds=5", "--schedule-seconds", "1")
    with LocalStack(*flags) as stack:
        before = stack.ready
        done = _submit(before)
        first = _wait_for_end(before, done)
        under_way = _submit(before)

    with LocalStack(*flags) as stack:
        after = stack.ready
        assert after["api_key"] == before["api_key"]
        assert after["account_id"] == before["account_id"]
        assert _get(after, done) == first
        second = _wait_for_end(after, under_way)
        assert second["status"] == "completed"
        assert second["transcript"] == first["transcript"]
        verify = [
            sys.executable,
            "-m",
            "infra.admin",
            "--ready-file",
            str(stack.ready_file),
            "ledger",
            "verify",
            "--all",
        ]
        subprocess.run(verify, cwd=ROOT, check=True, timeout=60)
        balance = requests.get(f"{after['base_url']}/api/v1/account/", headers=_headers(after), timeout=30).json()
        assert balance["held"] == 0
        assert balance["balance"] == pytest.approx(10_000 - first["credits_used"] - second["credits_used"])
