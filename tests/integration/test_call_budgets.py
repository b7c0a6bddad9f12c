"""How many AWS calls an operation may make."""

from __future__ import annotations

import pytest

from infra.admin.cost import read_inputs
from tests.benchmarks.aws_calls import measure
from tests.integration.conftest import Cloud


@pytest.fixture(scope="module")
def calls(cloud: Cloud) -> dict[str, list[str]]:
    """The calls of each operation."""
    return measure(cloud.services("SweepFunction").settings)


def test_a_submit_makes_at_most_three_calls_beside_its_upload(calls: dict[str, list[str]]) -> None:
    assert calls["submit"] == ["TransactWriteItems", "SendMessage"]
    assert calls["submit with Idempotency-Key"] == ["PutItem", "TransactWriteItems", "SendMessage"]


def test_a_process_s_first_submit_also_reads_the_key_and_the_balance(calls: dict[str, list[str]]) -> None:
    assert calls["submit, cold process"] == ["GetItem", "UpdateItem", "GetItem", "TransactWriteItems", "SendMessage"]


def test_a_poll_of_a_running_job_is_one_read(calls: dict[str, list[str]]) -> None:
    assert calls["poll"] == ["GetItem"]


def test_completing_a_job_makes_at_most_four_calls_the_result_s_own_included(calls: dict[str, list[str]]) -> None:
    assert calls["complete"] == ["PutObject", "TransactWriteItems", "PutEvents", "PutItem"]


def test_the_cost_model_counts_the_calls_that_are_made(calls: dict[str, list[str]]) -> None:
    for operation, counted in read_inputs().raw["calls"].items():
        assert calls[operation] == counted
