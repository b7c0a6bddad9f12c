"""The command: it follows the template, says when it is ready, fails with a reason, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import requests

from infra.local.launch import StackDidNotStart
from infra.local.options import REPOSITORY
from tests.infra.small_stack import FIXTURES, SmallStack, token, wait_until

TEMPLATE = FIXTURES / "template.yaml"

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads the process table from /proc")


def _changed(directory: Path, change: Callable[[str], str]) -> Path:
    text = TEMPLATE.read_text()
    changed = change(text)
    assert changed != text, "the template no longer has what the test changes"
    copy = directory / "template.yaml"
    copy.write_text(changed)
    return copy


def test_a_queue_renamed_in_a_copy_of_the_template_is_renamed_everywhere(tmp_path: Path) -> None:
    copy = _changed(tmp_path, lambda text: text.replace("${Stage}-work-in", "renamed-${Stage}"))
    with SmallStack(template=copy) as stack:
        url = stack.output_of("WorkInQueueUrl")
        assert url.endswith("/renamed-tiny")
        body = token()
        stack.client("sqs").send_message(QueueUrl=url, MessageBody=body)
        stack.wait_for_report(lambda each: body in each.get("batch", []))
        names = [each.rpartition("/")[2] for each in stack.client("sqs").list_queues()["QueueUrls"]]
        assert "renamed-tiny" in names
        assert "tiny-work-in" not in names


def test_a_parameter_and_a_condition_change_what_is_created(tmp_path: Path) -> None:
    with SmallStack("--parameter", "Stage=never") as stack:
        assert stack.output_of("Bus") == "never-bus"
        names = [each.rpartition("/")[2] for each in stack.client("sqs").list_queues()["QueueUrls"]]
        assert any("NeverQueue" in name for name in names)


def test_an_event_source_taken_out_of_the_template_polls_no_more(tmp_path: Path) -> None:
    copy = _changed(tmp_path, lambda text: text.replace("BatchSize: 10", "Enabled: false"))
    with SmallStack(template=copy) as stack:
        sqs, url = stack.client("sqs"), stack.output_of("WorkInQueueUrl")
        sqs.send_message(QueueUrl=url, MessageBody="stays", DelaySeconds=1)
        assert sqs.receive_message(QueueUrl=url, WaitTimeSeconds=10)["Messages"][0]["Body"] == "stays"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--parameter", "Nothing=1"), "the template has no parameter Nothing; it has Stage, Size"),
        (("--parameter", "Size=many"), "parameter Size=many is no number"),
        (("--parameter", "Size"), "write it as KEY=VALUE"),
        (("--template", "nowhere.yaml"), "cannot read nowhere.yaml"),
        (("--port", "80000"), "argument --port: '80000' is no whole number from 0 to 65535"),
        (("--workers", "-1"), "argument --workers: '-1' is no whole number"),
        (("--schedule-seconds", "0"), "argument --schedule-seconds: '0' is no number of seconds"),
        (("--calls-file", "/no/such/file"), "argument --calls-file: there is no folder /no/such"),
        (("--log-file", "/"), "argument --log-file: / is a folder"),
    ],
)
def test_a_stack_that_cannot_be_says_why(arguments: tuple[str, ...], reason: str) -> None:
    with pytest.raises(StackDidNotStart, match=reason):
        SmallStack(*arguments).start()


def test_a_handler_that_cannot_be_imported_stops_the_start_with_its_error(tmp_path: Path) -> None:
    copy = _changed(tmp_path, lambda text: text.replace("handlers.on_messages", "missing_module.handler"))
    with pytest.raises(StackDidNotStart, match=r"QueueFunction \(missing_module.handler\) did not start"):
        SmallStack(template=copy).start()


@pytest.mark.parametrize("flag", ["--port", "--aws-port"])
def test_a_taken_port_stops_the_start_with_what_to_do(small_stack: SmallStack, flag: str) -> None:
    port = small_stack.base_url.rpartition(":")[2]
    with pytest.raises(StackDidNotStart, match=rf"cannot start: port {port} is taken. Choose another with {flag}") as e:
        SmallStack(flag, port).start()
    assert "Traceback" not in str(e.value)


def test_a_ready_file_is_never_an_earlier_stacks_and_another_stacks_is_left_alone(tmp_path: Path) -> None:
    ready_file = tmp_path / "ready.json"
    ready_file.write_text('{"pid": 1}')  # of a stack that was killed
    arguments = ("--template", str(TEMPLATE), "--code", str(FIXTURES), "--ready-file", str(ready_file))
    with subprocess.Popen([sys.executable, "-m", "infra.local", *arguments], cwd=REPOSITORY) as process:
        assert wait_until(lambda: not ready_file.exists())
        assert wait_until(ready_file.exists)
        ready = json.loads(ready_file.read_text())
        assert ready["pid"] == process.pid
        assert requests.get(ready["base_url"], timeout=30).status_code == 200
        ready_file.write_text('{"pid": 1}')
        process.send_signal(signal.SIGINT)
    assert process.returncode == 0
    assert ready_file.exists()


def test_a_second_stack_has_ports_and_data_of_its_own(small_stack: SmallStack) -> None:
    with SmallStack() as second:
        assert requests.get(second.base_url, timeout=30).status_code == 200
        assert second.ready["aws_endpoint"] != small_stack.ready["aws_endpoint"]
        second.client("s3").create_bucket(Bucket="only-here")
        buckets = [each["Name"] for each in small_stack.client("s3").list_buckets()["Buckets"]]
        assert "only-here" not in buckets


@linux
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL])
def test_no_process_and_no_temporary_file_outlives_the_stack(
    number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    stack = SmallStack()
    stack.start()
    pids = _descendants(stack.process.pid)
    assert len(pids) >= len(stack.ready["functions"])
    ready_file = stack.ready_file
    stack.process.send_signal(number)
    status = stack.process.wait(30)
    assert wait_until(lambda: not any(_runs(pid) for pid in pids)), [p for p in pids if _runs(p)]
    if number != signal.SIGKILL:
        assert status == 0
        assert not ready_file.exists()  # what it said is no longer true
        assert not list(tmp_path.iterdir())
    stack.stop()


@linux
def test_a_stack_stopped_while_it_starts_leaves_nothing(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "infra.local", "--template", str(TEMPLATE), "--code", str(FIXTURES)],
        cwd=REPOSITORY,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    assert wait_until(lambda: bool(_descendants(process.pid)))
    pids = _descendants(process.pid)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    assert wait_until(lambda: not any(_runs(pid) for pid in pids))


def _descendants(pid: int) -> set[int]:
    found: set[int] = set()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
        if parent == pid:
            found |= {int(entry.name), *_descendants(int(entry.name))}
    return found


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_the_ready_file_names_everything_and_is_private_to_whoever_started_it(small_stack: SmallStack) -> None:
    ready = small_stack.ready
    assert requests.get(ready["base_url"], timeout=30).status_code == 200
    assert set(ready) >= {"base_url", "api_key", "account_id", "s3_endpoint", "bucket", "outputs", "worker_pids"}
    assert ready["pid"] == small_stack.process.pid
    assert set(ready["function_pids"]) == set(ready["functions"])
    assert os.stat(small_stack.ready_file).st_mode & 0o077 == 0
