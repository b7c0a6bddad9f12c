"""Our own template on the local stack: the worker, the demo account, and no second description of a queue."""

from __future__ import annotations

import io
import json
import os
import signal
import wave
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest
import requests

from infra.local.launch import LocalStack, StackDidNotStart
from infra.local.options import REPOSITORY
from tests.infra.small_stack import FIXTURES, SmallStack, wait_until


@pytest.fixture(scope="module")
def stack() -> Iterator[LocalStack]:
    """Our stack with two workers."""
    with LocalStack("--workers", "2", "--engine", "moonshine") as running:
        yield running


def test_the_demo_accounts_key_opens_the_api(stack: LocalStack) -> None:
    url = f"{stack.ready['base_url']}/api/v1/languages/"
    with_key = requests.get(url, headers={"Authorization": f"Bearer {stack.ready['api_key']}"}, timeout=30)
    assert with_key.status_code == 200
    assert requests.get(url, timeout=30).status_code == 401


def test_what_is_printed_can_be_pasted_into_a_shell(stack: LocalStack) -> None:
    assert wait_until(lambda: "curl -H" in stack.output)
    export, curl = stack.output.splitlines()[-2:]
    assert export == f"export BASE_URL={stack.ready['base_url']} API_KEY={stack.ready['api_key']}"
    assert curl.startswith(f"curl -H 'Authorization: Bearer {stack.ready['api_key']}' -F file=@")
    assert curl.endswith(f" {stack.ready['base_url']}/api/v1/transcribe/")


def test_every_function_and_worker_is_up_when_the_ready_file_is_there(stack: LocalStack) -> None:
    assert len(stack.ready["worker_pids"]) == 2
    assert all(len(pids) == 1 for pids in stack.ready["function_pids"].values())
    for pid in (*stack.ready["worker_pids"], *chain.from_iterable(stack.ready["function_pids"].values())):
        os.kill(pid, 0)


def test_a_worker_that_dies_is_started_again(stack: LocalStack) -> None:
    before = stack.ready["worker_pids"][0]
    os.kill(before, signal.SIGKILL)
    assert wait_until(lambda: f"worker-1 ended (status -{signal.SIGKILL.value})" in stack.output)
    assert wait_until(lambda: len(_workers_of(stack)) == 2)
    assert before not in _workers_of(stack)


def test_a_queue_renamed_in_a_copy_of_our_template_still_carries_the_job(tmp_path: Path) -> None:
    original = (REPOSITORY / "template.yaml").read_text()
    renamed = original.replace("audiototext-${Stage}-jobs\n", "elsewhere-${Stage}\n")
    assert renamed != original
    copy = tmp_path / "template.yaml"
    copy.write_text(renamed)
    with LocalStack("--template", str(copy), "--no-worker") as stack:
        assert stack.ready["outputs"]["JobsQueueUrl"].endswith("/elsewhere-dev")
        assert stack.ready["worker_pids"] == []
        answer = requests.post(
            f"{stack.ready['base_url']}/api/v1/transcribe/",
            headers={"Authorization": f"Bearer {stack.ready['api_key']}"},
            files={"file": ("a.wav", _second_of_silence(), "audio/wav")},
            timeout=30,
        )
        assert answer.status_code == 202, answer.text
        work = stack.client("sqs").receive_message(QueueUrl=stack.ready["outputs"]["WorkQueueUrl"], WaitTimeSeconds=20)
        assert json.loads(work["Messages"][0]["Body"])["job_id"] == answer.json()["id"]
        names = [each.rpartition("/")[2] for each in stack.client("sqs").list_queues()["QueueUrls"]]
        assert "audiototext-dev-jobs" not in names


def test_a_worker_that_cannot_start_stops_the_start_with_its_output(tmp_path: Path) -> None:
    copy = tmp_path / "template.yaml"
    copy.write_text((FIXTURES / "template.yaml").read_text() + "  WorkQueueUrl: { Value: !Ref SeenQueue }\n")
    with pytest.raises(StackDidNotStart, match=r"the worker does not start[\s\S]*gpu_jobs"):
        SmallStack(template=copy).start()


def _workers_of(stack: LocalStack) -> set[int]:
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            command = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if parent == stack.ready["pid"] and command.split(b"\0")[1:3] == [b"-m", b"gpu_jobs.worker"]:
            found.add(int(folder.name))
    return found


def _second_of_silence() -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as recording:
        recording.setnchannels(1)
        recording.setsampwidth(2)
        recording.setframerate(16_000)
        recording.writeframes(bytes(32_000))
    return file.getvalue()
