"""Functions run as on Lambda: own process, resolved environment, time limit, death, payload limits."""

from __future__ import annotations

import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from tests.infra.small_stack import SmallStack, token, wait_until


def test_a_function_sees_the_templates_values_as_text_and_nothing_of_the_shell(small_stack: SmallStack) -> None:
    environment = requests.get(f"{small_stack.base_url}/environment", timeout=30).json()
    assert environment["TABLE"] == small_stack.output_of("Table")
    assert environment["SIZE"] == "3"
    assert environment["ALARM"] == "local-Alarm"  # what does not exist here has a name all the same
    assert environment["ALARM_URL"] == "https://local-Alarm.example.com/tiny"
    assert environment["AWS_ENDPOINT_URL"] == small_stack.ready["aws_endpoint"]
    assert "SECRET_OF_THE_SHELL" not in environment
    assert "HOME" not in environment


def test_the_context_has_the_functions_arn_and_the_time_that_remains(small_stack: SmallStack) -> None:
    answer, error = small_stack.invoke("MisbehavingFunction", {})
    assert error is None
    assert answer["arn"].endswith(":function:" + small_stack.ready["functions"]["MisbehavingFunction"])
    assert 0 < answer["remaining_ms"] <= 1000


def test_a_function_over_its_time_is_killed_and_the_next_request_finds_a_new_one(small_stack: SmallStack) -> None:
    before, _ = small_stack.invoke("MisbehavingFunction", {})
    answer, error = small_stack.invoke("MisbehavingFunction", {"do": "hang"})
    assert error == "Unhandled"
    assert answer["errorType"] == "Sandbox.Timedout"
    assert "Task timed out after 1.00 seconds" in answer["errorMessage"]
    after, error = small_stack.invoke("MisbehavingFunction", {})
    assert error is None
    assert after["pid"] != before["pid"]
    assert wait_until(lambda: not _runs(before["pid"]))


def test_a_function_that_dies_fails_its_request_and_is_started_again(small_stack: SmallStack) -> None:
    answer, error = small_stack.invoke("MisbehavingFunction", {"do": "exit"})
    assert error == "Unhandled"
    assert answer["errorType"] == "Runtime.ExitError"
    assert "exit status 7" in answer["errorMessage"]
    assert small_stack.invoke("MisbehavingFunction", {})[1] is None


@pytest.mark.skipif(sys.platform != "linux", reason="counts open files in /proc")
def test_children_killed_while_nobody_needed_them_leave_nothing_open(small_stack: SmallStack) -> None:
    files = Path(f"/proc/{small_stack.ready['pid']}/fd")

    def kill_and_ask() -> None:
        pid = small_stack.invoke("MisbehavingFunction", {})[0]["pid"]
        os.kill(pid, signal.SIGKILL)
        assert wait_until(lambda: not _runs(pid))
        assert small_stack.invoke("MisbehavingFunction", {})[1] is None

    kill_and_ask()
    before = len(list(files.iterdir()))
    for _ in range(5):
        kill_and_ask()
    assert len(list(files.iterdir())) < before + 5


def test_an_exception_is_the_answer_with_its_type(small_stack: SmallStack) -> None:
    answer, error = small_stack.invoke("ApiFunction", {"path": "/raise"})
    assert error == "Unhandled"
    assert (answer["errorType"], answer["errorMessage"]) == ("RuntimeError", "told to")


def test_an_answer_over_six_megabytes_is_an_error_and_the_function_lives_on(small_stack: SmallStack) -> None:
    answer, error = small_stack.invoke("ApiFunction", {"path": "/large"})
    assert error == "Unhandled"
    assert answer["errorType"] == "Function.ResponseSizeTooLarge"
    assert small_stack.invoke("ApiFunction", {"path": "/"})[1] is None


def test_what_a_function_prints_is_in_the_log_under_its_name(small_stack: SmallStack) -> None:
    said = token()
    small_stack.invoke("MisbehavingFunction", {"do": "say", "text": said})
    assert wait_until(lambda: f"[MisbehavingFunction] {said}" in small_stack.log)


def test_requests_at_once_share_a_few_processes_and_all_get_their_own_answer(small_stack: SmallStack) -> None:
    def ask(number: int) -> tuple[int, int]:
        answer = requests.get(f"{small_stack.base_url}/sleep/0.05", params={"number": number}, timeout=60).json()
        return number, int(answer["queryStringParameters"]["number"])

    with ThreadPoolExecutor(20) as threads:
        answers = list(threads.map(ask, range(60)))
    assert all(asked == answered for asked, answered in answers)


def test_an_unknown_function_is_resource_not_found(small_stack: SmallStack) -> None:
    client = small_stack.client("lambda")
    with pytest.raises(client.exceptions.ResourceNotFoundException, match="nobody"):
        client.invoke(FunctionName="nobody", Payload=b"{}")


def _runs(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()
