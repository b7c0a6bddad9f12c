"""``make local STATE=dir``, stopped in the midst of a job and started again: the same key gets both results."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from typing import Any

import pytest
import requests

from infra.local.launch import LocalStack
from tests.infra.repository import ROOT
from tests.infra.small_stack import wait_until
from tests.recordings import asset
from tests.rehearsal.customers import make_orders

DEADLINE_SECONDS = 120
JOBS = 16  # fewer than the rehearsal's first recording that breaks its engine


def _headers(ready: dict[str, Any]) -> dict[str, str]:
    return {"Authorization": f"Bearer {ready['api_key']}"}


def _submit(ready: dict[str, Any], recording: bytes) -> str:
    url = f"{ready['base_url']}/api/v1/transcribe/"
    answer = requests.post(url, headers=_headers(ready), files={"file": ("a.wav", recording)}, timeout=60)
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


def _verify_ledger(stack: LocalStack) -> None:
    command = [sys.executable, "-m", "infra.admin", "--ready-file", str(stack.ready_file), "ledger", "verify", "--all"]
    subprocess.run(command, cwd=ROOT, check=True, timeout=60)


def test_a_stack_stopped_in_the_midst_of_a_job_goes_on_where_it_was(tmp_path: Path) -> None:
    flags = ("--state", str(tmp_path / "state"), "--parameter", "LeaseSeconds=5", "--schedule-seconds", "1")
    with LocalStack(*flags) as stack:
        before = stack.ready
        recording = asset("beckett.wav").read_bytes()
        done = _submit(before, recording)
        first = _wait_for_end(before, done)
        under_way = _submit(before, recording)

    with LocalStack(*flags) as stack:
        after = stack.ready
        assert after["api_key"] == before["api_key"]
        assert after["account_id"] == before["account_id"]
        assert _get(after, done) == first
        second = _wait_for_end(after, under_way)
        assert second["status"] == "completed"
        assert second["transcript"] == first["transcript"]
        _verify_ledger(stack)
        balance = requests.get(f"{after['base_url']}/api/v1/account/", headers=_headers(after), timeout=30).json()
        assert balance["held"] == 0
        assert balance["balance"] == pytest.approx(10_000 - first["credits_used"] - second["credits_used"])


def test_a_stack_killed_in_the_midst_of_many_jobs_comes_back_as_one_that_adds_up(tmp_path: Path) -> None:
    flags = [
        *("--state", str(tmp_path / "state"), "--state-seconds", "0.3", "--parameter", "LeaseSeconds=5"),
        *("--schedule-seconds", "1", "--workers", "2", "--worker-module", "tests.rehearsal.worker"),
    ]
    orders = make_orders(JOBS, Random(1))
    stack = LocalStack(*flags)
    stack.start()
    try:
        with ThreadPoolExecutor(4) as customers:
            taken = list(customers.map(lambda order: _submit(stack.ready, order.recording), orders))
        kept = stack.log.count("[state] kept:")
        _wait_for_end(stack.ready, taken[0])
        # The second snapshot from now on was begun after all were taken in; some are done, some at work, some waiting.
        assert wait_until(lambda: stack.log.count("[state] kept:") >= kept + 2)
        stack.process.send_signal(signal.SIGKILL)
        stack.process.wait()
    finally:
        stack.stop()

    with LocalStack(*flags) as again:
        url = f"{again.ready['base_url']}/api/v1/transcribe/?limit=100"
        jobs = requests.get(url, headers=_headers(again.ready), timeout=30).json()["transcriptions"]
        assert {job["id"] for job in jobs} == set(taken)
        ended = [_wait_for_end(again.ready, job_id) for job_id in taken]
        assert {job["status"] for job in ended} == {"completed"}
        _verify_ledger(again)
        account = requests.get(f"{again.ready['base_url']}/api/v1/account/", headers=_headers(again.ready), timeout=30)
        assert account.json()["held"] == 0
        used = sum(job["credits_used"] for job in ended)
        assert account.json()["balance"] == pytest.approx(10_000 - used)
